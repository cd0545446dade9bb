"""What the door overrides or leans on in aiosmtpd and asyncio, as it was when it was read.

A new version that changes one of these fails here: read the change, see whether the override must follow (a limit, a
guard, a reset of state), then write the new digest. `python -m tests.ingress.test_upstream` prints them.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import sys

import aiosmtpd
import pytest
from aiosmtpd.smtp import SMTP

from relay.ingress.command_loop import CommandLoop
from relay.ingress.connection import Connection
from relay.ingress.inbox import Inbox
from relay.ingress.session import Session

READ = "1.4.6"
DIGESTS = {
    "__del__": "bdfddff9796a4d50",
    "__init__": "8a9ca80f23ad9bf2",
    "_create_envelope": "54afceea638744d4",
    "_create_session": "22b243e82ff1c7a4",
    "_handle_client": "0e4d096403af6c74",
    "_reset_timeout": "fef19b94d28dff31",
    "_set_rset_state": "9ff64b71daa68e63",
    "_timeout_cb": "10a7351f9bec2818",
    "connection_lost": "d3bf6349bc3c25c1",
    "connection_made": "77a45df5065bba34",
    "eof_received": "baab5aaf93160933",
    "smtp_AUTH": "79078b308377ac48",
    "smtp_DATA": "3a33f30d3fd6d02f",
    "smtp_EHLO": "1d91592dd954c4cd",
    "smtp_EXPN": "6b2762e1ca53a846",
    "smtp_HELO": "c61e63948c38ce28",
    "smtp_HELP": "658586a0cbd741b7",
    "smtp_MAIL": "80dd938e7791acfb",
    "smtp_NOOP": "3b50ce77fba2859a",
    "smtp_QUIT": "554a1cef086ee3ac",
    "smtp_RCPT": "a0d6605883c0e608",
    "smtp_RSET": "12a5581e3d84104e",
    "smtp_STARTTLS": "6565289f4131fa13",
    "smtp_VRFY": "3fc88a3b6c62da09",
}
RELIED_UPON = {"connection_made", "connection_lost", "_create_session", "_create_envelope", "__del__"}
"""Methods of SMTP that run as they are."""
STOOD_IN_FOR = {name for name in vars(SMTP) if name.startswith("smtp_")}
"""Those that nothing calls any more, since a command of ours does what they did."""


def digest(name: str) -> str:
    method = inspect.getattr_static(SMTP, name)
    return hashlib.sha256(inspect.getsource(method).encode()).hexdigest()[:16]


def watched() -> list[str]:
    """All that SMTP has of its own and a session overrides, stands in for, or uses as it is."""
    own = {name for name, value in vars(SMTP).items() if inspect.isfunction(value)}
    ours = {name for kind in Session.__mro__[: Session.__mro__.index(SMTP)] for name in vars(kind)}
    return sorted(own & (ours | RELIED_UPON | STOOD_IN_FOR))


def test_this_is_the_version_that_was_read() -> None:
    assert aiosmtpd.__version__ == READ


@pytest.mark.parametrize("name", watched())
def test_upstream_is_as_it_was_read(name: str) -> None:
    assert digest(name) == DIGESTS.get(name), f"SMTP.{name} has changed"


def test_every_command_is_ours() -> None:
    """None of aiosmtpd's own commands can be reached: its replies have no enhanced codes, its DATA no bounds."""
    assert set(Session.verbs) == {name.removeprefix("smtp_").encode() for name in STOOD_IN_FOR}
    assert "_handle_client" in vars(CommandLoop)  # the only one that looks for a method named smtp_*
    assert not STOOD_IN_FOR & {method.__name__ for method in Session.verbs.values()}


async def test_what_is_used_of_asyncio_is_there() -> None:
    """Names with an underscore promise nothing; of these we know what they do in every version we run on."""
    inbox = Inbox(asyncio.get_running_loop())
    for name in ("_buffer", "_eof", "_exception", "_paused", "_transport", "_waiter"):
        assert hasattr(inbox, name)
    for name in ("_drain_helper", "pause_writing", "resume_writing"):
        assert hasattr(Connection, name)
    inbox.feed_data(b"one\r\ntwo")
    buffer = inbox.buffer
    assert (inbox.take_line(), inbox.take_line()) == (b"one\r\n", None)
    arrival = inbox.arrival()
    inbox.feed_data(b"\n")
    assert await arrival
    assert inbox.take_line() == b"two\n"
    assert inbox.buffer is buffer
    arrival = inbox.arrival()
    inbox.feed_eof()
    assert not await arrival
    assert not await inbox.arrival()


if __name__ == "__main__":
    for method in watched():
        sys.stdout.write(f'    "{method}": "{digest(method)}",\n')
