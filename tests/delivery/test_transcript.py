"""The transcript of a try: what it shows, what it hides, and its bounds."""

from __future__ import annotations

import ssl
from base64 import b64encode
from dataclasses import replace
from time import monotonic

import pytest
import trustme

from relay.delivery.courier import Courier
from relay.delivery.transcript import MAX_LINE, MAX_LINES, THEY, WE, Transcript
from relay.model.delivery import Attempt, Verdict
from relay.model.tenant import TlsMode
from tests.delivery.post import CONTENT, account_at, make_delivery, verdicts
from tests.support.smtp_server import DROP, SmtpServer, Step


def spoken(attempt: Attempt) -> list[str]:
    """The lines without their times, which never fall."""
    times = [int(line.split(" ", 1)[0]) for line in attempt.transcript]
    assert times == sorted(times)
    return [line.split(" ", 1)[1] for line in attempt.transcript]


async def test_a_new_connection_and_a_kept_one(courier: Courier, server: SmtpServer) -> None:
    account = account_at(server.port)
    first = spoken(await courier.deliver(make_delivery(), account))
    second = spoken(await courier.deliver(make_delivery(), account))

    assert first[0].startswith("* connected to ")
    assert first[1].startswith("< 220 ")
    assert first[2] == "> EHLO relay.test"
    assert first[3].startswith("< 250 ")
    assert first[4:] == second
    assert second[:3] == [
        f"> MAIL FROM:<a@sender.test> SIZE={len(CONTENT)}",
        "> RCPT TO:<b@receiver.test>",
        "> DATA",
    ]
    assert [line[:5] for line in second[3:6]] == ["< 250", "< 250", "< 354"]
    assert second[6:] == [f"> [{len(CONTENT)} octets]", "< 250 2.0.0 queued"]


async def test_secrets_are_hidden(courier: Courier, authority: trustme.CA) -> None:
    certificate = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(certificate)
    async with SmtpServer(tls=certificate, users={"relay": "s3cret"}, auth_required=True) as server:
        account = account_at(server.port, tls=TlsMode.STARTTLS, user="relay", password="s3cret")
        attempt = await courier.deliver(make_delivery(), account)
        refused = await courier.deliver(make_delivery(), replace(account, id="other", user="ann"))

    said = spoken(attempt)
    assert verdicts(attempt) == [Verdict.SENT]
    assert said.index("> STARTTLS") < said.index("> AUTH PLAIN ***") < said.index(f"* secured by {attempt.tls}")
    assert [line[:5] for line in spoken(refused)[-3:]] == ["> AUT", "< 535", "! ref"]
    for secret in ("s3cret", b64encode(b"\0relay\0s3cret").decode(), b64encode(b"s3cret").decode()):
        assert secret not in "".join(attempt.transcript + refused.transcript)


async def test_the_fault_stands_last(courier: Courier, server: SmtpServer) -> None:
    port = server.port
    await server.stop()
    refused = await courier.deliver(make_delivery(), account_at(port))
    assert spoken(refused)[-1] == "! in connect: connection refused"


def test_a_line_and_their_number_are_bounded() -> None:
    transcript = Transcript()
    transcript.add((monotonic(), WE, [f"RCPT TO:<{at}@{'long' * 100}.example>" for at in range(1000)]))
    transcript.add((monotonic(), THEY, ("250 2.0.0 ok",)))
    lines = transcript.lines()
    assert len(lines) == MAX_LINES
    assert max(map(len, lines)) == MAX_LINE
    assert " > RCPT TO:<0@long" in lines[0]
    assert lines[-21] == "… 902 lines left out"
    assert lines[-1].endswith("< 250 2.0.0 ok")


@pytest.mark.parametrize(
    ("step", "why"),
    [("data", "! in data: connection lost"), ("dot", "! connection lost after the whole message was sent")],
)
async def test_a_broken_dialogue_says_where(courier: Courier, server: SmtpServer, step: Step, why: str) -> None:
    server.on(step, DROP)
    attempt = await courier.deliver(make_delivery(), account_at(server.port))
    assert spoken(attempt)[-1].startswith(why)
