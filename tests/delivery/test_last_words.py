"""A server that says something and is gone: what it said counts, however close behind it the end of the connection comes."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import cast

import pytest
import trustme

from relay.clock import SystemClock
from relay.contracts.content import ContentStore
from relay.delivery.courier import Courier
from relay.delivery.pool import Pool
from relay.model.delivery import Attempt, Category, Phase, Verdict
from relay.model.message import QueueId
from relay.model.tenant import TlsMode
from tests.delivery.post import account_at, make_delivery, verdicts
from tests.support.smtp_server import EXTENSIONS, Action, SmtpServer, Step

ONE, TWO = "one@receiver.test", "two@receiver.test"
STEPWISE = tuple(name for name in EXTENSIONS if name != "PIPELINING")
USERS = {"relay": "s3cret"}
LINE = b"x" * 70 + b"\r\n"
ABRUPT = (
    b"220 receiver.test",
    b"250-receiver.test\r\n250 PIPELINING",
    b"250 ok\r\n250 one\r\n354 go",
    b"250 queued",
)


GONE = "451 4.4.2"


def told(attempt: Attempt) -> list[tuple[Verdict, str]]:
    """What each recipient was told: the verdict, and the reply it comes from."""
    return [(outcome.verdict, str(outcome.reply)) for outcome in attempt.outcomes]


@pytest.fixture(params=["pipelined", "stepwise"])
def extensions(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return EXTENSIONS if request.param == "pipelined" else STEPWISE


@pytest.fixture(params=[TlsMode.NONE, TlsMode.IMPLICIT])
def tls(request: pytest.FixtureRequest) -> TlsMode:
    return cast("TlsMode", request.param)


@pytest.fixture(params=["FIN", "RST"])
def end(request: pytest.FixtureRequest) -> Action:
    """How the connection ends, without a word."""
    return Action(drop=request.param == "FIN", reset=request.param == "RST")


@pytest.fixture
async def server(tls: TlsMode, authority: trustme.CA) -> AsyncIterator[SmtpServer]:
    """It closes at once after it has spoken: with TLS, both come in one record's breath."""
    context = None
    if tls is not TlsMode.NONE:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(context)
    async with SmtpServer(tls=context, implicit_tls=tls is TlsMode.IMPLICIT, users=USERS) as server:
        yield server


@pytest.mark.parametrize(
    ("step", "reply", "expected"),
    [
        ("mail", "550 5.7.1 not you", [Verdict.FAILED] * 2),
        ("mail", "450 4.3.0 not now", [Verdict.DEFERRED] * 2),
        ("mail", "421 4.3.2 closing", [Verdict.DEFERRED] * 2),
        (f"rcpt {ONE}", "550 5.1.1 nobody", [Verdict.FAILED, None]),
        (f"rcpt {TWO}", "550 5.1.1 nobody", [None, Verdict.FAILED]),
        (f"rcpt {TWO}", "450 4.2.0 not now", [None, Verdict.DEFERRED]),
        (f"rcpt {TWO}", "421 4.3.2 closing", [Verdict.DEFERRED] * 2),
        ("data", "554 5.7.1 no", [Verdict.FAILED] * 2),
        ("data", "450 4.3.0 not now", [Verdict.DEFERRED] * 2),
        ("data", "421 4.3.2 closing", [Verdict.DEFERRED] * 2),
        ("dot", "250 2.0.0 queued", [Verdict.SENT] * 2),
        ("dot", "554 5.7.1 spam", [Verdict.FAILED] * 2),
        ("dot", "450 4.3.0 not now", [Verdict.DEFERRED] * 2),
        ("dot", "421 4.3.2 closing", [Verdict.DEFERRED] * 2),
    ],
)
async def test_in_a_mail(
    courier: Courier,
    server: SmtpServer,
    extensions: tuple[str, ...],
    tls: TlsMode,
    end: Action,
    step: str,
    reply: str,
    expected: list[Verdict | None],
) -> None:
    """None: nobody said anything of that recipient."""
    server.extensions = extensions
    verb, _, address = step.partition(" ")
    action = replace(end, reply=reply)
    if address:
        server.to(address, action)
    else:
        server.on(cast("Step", verb), action)

    attempt = await courier.deliver(make_delivery(ONE, TWO), account_at(server.port, tls=tls))

    assert attempt.fault is None
    for outcome, verdict in zip(attempt.outcomes, expected, strict=True):
        assert outcome.verdict is (verdict or Verdict.DEFERRED)
        assert str(outcome.reply).startswith(GONE if verdict is None else reply)


@pytest.mark.parametrize(("reply", "verdict"), [("550 no", Verdict.FAILED), ("450 no", Verdict.DEFERRED)])
async def test_nobody_is_known(
    courier: Courier,
    server: SmtpServer,
    extensions: tuple[str, ...],
    tls: TlsMode,
    end: Action,
    reply: str,
    verdict: Verdict,
) -> None:
    server.extensions = extensions
    server.to(ONE, reply)
    server.to(TWO, replace(end, reply=reply))

    attempt = await courier.deliver(make_delivery(ONE, TWO), account_at(server.port, tls=tls))

    assert told(attempt) == [(verdict, reply)] * 2


@pytest.mark.parametrize("step", ["mail", "data", "dot"])
async def test_without_a_word_nothing_is_known(
    courier: Courier, server: SmtpServer, extensions: tuple[str, ...], tls: TlsMode, end: Action, step: Step
) -> None:
    """The control."""
    server.extensions = extensions
    server.on(step, end)

    attempt = await courier.deliver(make_delivery(), account_at(server.port, tls=tls))

    [outcome] = attempt.outcomes
    assert outcome.verdict is (Verdict.UNKNOWN if step == "dot" else Verdict.DEFERRED)
    assert (outcome.category, str(outcome.reply)[:9]) == (Category.CONNECTION, GONE)


@pytest.mark.parametrize(
    ("step", "reply", "category"),
    [
        ("connect", "554 5.7.1 no service for you", Category.POLICY),
        ("connect", "421 4.3.2 too busy", Category.CONNECTION),
        ("ehlo", "550 5.7.1 bad name", Category.POLICY),
        ("ehlo", "502 5.5.1 not here", Category.POLICY),  # HELO might do, if it could still be said
        ("ehlo", "421 4.3.2 too busy", Category.CONNECTION),
        ("auth", "535 5.7.8 wrong", Category.AUTH),
        ("auth", "504 5.5.4 not that way", Category.AUTH),
        ("auth", "421 4.3.2 too busy", Category.AUTH),
    ],
)
async def test_before_any_mail(
    courier: Courier, server: SmtpServer, tls: TlsMode, end: Action, step: Step, reply: str, category: Category
) -> None:
    server.on(step, replace(end, reply=reply))

    account = account_at(server.port, tls=tls, user="relay", password="s3cret")
    attempt = await courier.deliver(make_delivery(ONE, TWO), account)

    assert attempt.outcomes == ()
    assert attempt.fault is not None
    assert (str(attempt.fault.reply), attempt.fault.category) == (reply, category)


async def test_starttls_is_refused(courier: Courier, end: Action) -> None:
    async with SmtpServer(tls=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)) as server:
        server.on("starttls", replace(end, reply="454 4.7.0 not now"))

        attempt = await courier.deliver(make_delivery(), account_at(server.port, tls=TlsMode.STARTTLS))

    assert attempt.fault is not None
    assert (str(attempt.fault.reply), attempt.fault.category) == ("454 4.7.0 not now", Category.TLS)


# -- before the content is out -----------------------------------------------------------------------------------------


class Abrupt:
    """A server whose connections end when the test says so, at the very moment it likes."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._peers: list[socket.socket] = []
        self._task = asyncio.create_task(self._serve())

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            peer, _ = await loop.sock_accept(self._listener)
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a reset throws away what has not left
            self._peers.append(peer)
            for line in ABRUPT:
                await loop.sock_sendall(peer, line + b"\r\n")
                await loop.sock_recv(peer, 1 << 16)

    def end(self, words: bytes = b"") -> None:
        """Say that and reset the connection: at once, since all of it is on this machine."""
        self._task.cancel()
        self._task = asyncio.create_task(self._serve())
        peer = self._peers.pop()
        if words:
            peer.send(words)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        for one in (self._listener, *self._peers):
            one.close()


@pytest.fixture
async def abrupt() -> AsyncIterator[Abrupt]:
    server = Abrupt()
    yield server
    await server.close()


@pytest.mark.parametrize(
    ("words", "verdict"),
    [("554 5.7.1 no", Verdict.FAILED), ("450 4.3.1 no room", Verdict.DEFERRED), ("421 bye", Verdict.DEFERRED)],
)
async def test_said_before_the_content_could_be_written(
    courier: Courier, abrupt: Abrupt, words: str, verdict: Verdict
) -> None:
    """Writing fails, and the reason lies unread."""

    def is_ours() -> bool:
        abrupt.end(f"{words}\r\n".encode())
        return True

    attempt = await courier.deliver(make_delivery(), account_at(abrupt.port, host="127.0.0.1"), is_ours)

    assert told(attempt) == [(verdict, words)]
    assert words in str(attempt.transcript)


@pytest.mark.parametrize("words", [b"", b"250 2.0.0 queued\r\n", b"554 5.7.1 n", b"250 a\r\n554 b\r\n", b"\xff\r\n"])
async def test_what_could_not_be_written_is_not_answered(courier: Courier, abrupt: Abrupt, words: bytes) -> None:
    """The control: only a refusal can be meant without the content."""

    def is_ours() -> bool:
        abrupt.end(words)
        return True

    attempt = await courier.deliver(make_delivery(), account_at(abrupt.port, host="127.0.0.1"), is_ours)

    assert verdicts(attempt) == [Verdict.UNKNOWN]


class Interrupted:
    """A content store whose content is interrupted in the middle."""

    def __init__(self, interrupt: Callable[[], None]) -> None:
        self._interrupt = interrupt

    async def read(self, message: QueueId) -> AsyncIterator[bytes]:
        yield LINE * 100
        self._interrupt()
        yield LINE * 100


@pytest.mark.parametrize(
    ("words", "verdict"),
    [
        ("552 5.3.4 too big", Verdict.FAILED),
        ("450 4.3.1 no room", Verdict.DEFERRED),
        ("421 4.3.2 closing", Verdict.DEFERRED),
        ("250 2.0.0 fine", None),
    ],
)
async def test_said_in_the_middle_of_the_content(
    pool: Pool, abrupt: Abrupt, words: str, verdict: Verdict | None
) -> None:
    contents = Interrupted(lambda: abrupt.end(f"{words}\r\n".encode()))
    courier = Courier(pool, cast("ContentStore", contents), SystemClock())
    delivery = make_delivery(content=None, size=200 * len(LINE))

    attempt = await courier.deliver(delivery, account_at(abrupt.port, host="127.0.0.1"))

    [outcome] = attempt.outcomes
    assert outcome.verdict is (verdict or Verdict.DEFERRED)
    assert outcome.phase is Phase.BODY
    assert (str(outcome.reply) == words) is (verdict is not None)


@pytest.mark.parametrize(
    ("words", "verdict"),
    [("552 5.3.4 too big", Verdict.FAILED), ("421 4.3.2 closing", Verdict.DEFERRED)],
)
async def test_a_server_that_has_read_enough(
    courier: Courier, server: SmtpServer, extensions: tuple[str, ...], tls: TlsMode, words: str, verdict: Verdict
) -> None:
    """It closes with most of the content unread, which resets the connection."""
    server.extensions = extensions
    server.on("body", Action(words, drop=True))

    attempt = await courier.deliver(make_delivery(content=LINE * 400_000), account_at(server.port, tls=tls))

    assert told(attempt) == [(verdict, words)]
    assert server.messages == []


@pytest.mark.parametrize("words", [b"", b"421 4.4.2 idle too long\r\n", b"554 5.7.0 what else\r\n"])
async def test_said_before_the_mail_could_be_begun(courier: Courier, abrupt: Abrupt, words: bytes) -> None:
    """It is not about this mail, which goes by another connection."""
    account = account_at(abrupt.port, host="127.0.0.1")
    first = await courier.deliver(make_delivery(), account)
    abrupt.end(words)

    second = await courier.deliver(make_delivery(), account)

    assert verdicts(first) == verdicts(second) == [Verdict.SENT]
    assert "421 4.4.2" in str(second.transcript) or b"421" not in words


# -- 421 behind a reply, as of a server that has counted enough errors ---------------------------------------------------

TOO_MANY = b"421 4.7.0 too many errors\r\n"


async def test_421_behind_a_refusal_of_the_content(
    courier: Courier, server: SmtpServer, extensions: tuple[str, ...], tls: TlsMode
) -> None:
    server.extensions = extensions
    server.on("data", Action(b"554 5.7.1 no\r\n" + TOO_MANY, drop=True))

    attempt = await courier.deliver(make_delivery(), account_at(server.port, tls=tls))

    assert told(attempt) == [(Verdict.FAILED, "554 5.7.1 no")]


async def test_421_behind_a_refusal_of_a_recipient(
    courier: Courier, server: SmtpServer, extensions: tuple[str, ...], tls: TlsMode
) -> None:
    server.extensions = extensions
    server.to(TWO, Action(b"550 5.1.1 nobody\r\n" + TOO_MANY, drop=True))

    attempt = await courier.deliver(make_delivery(ONE, TWO), account_at(server.port, tls=tls))

    assert told(attempt) == [(Verdict.DEFERRED, "421 4.7.0 too many errors"), (Verdict.FAILED, "550 5.1.1 nobody")]


async def test_421_behind_354(courier: Courier, server: SmtpServer, extensions: tuple[str, ...], tls: TlsMode) -> None:
    server.extensions = extensions
    server.on("data", Action(b"354 go ahead\r\n" + TOO_MANY, drop=True))

    attempt = await courier.deliver(make_delivery(), account_at(server.port, tls=tls))

    assert told(attempt) == [(Verdict.DEFERRED, "421 4.7.0 too many errors")]


async def test_421_behind_the_final_reply(
    courier: Courier, server: SmtpServer, extensions: tuple[str, ...], tls: TlsMode
) -> None:
    server.extensions = extensions
    server.on("dot", Action(b"250 2.0.0 queued\r\n" + TOO_MANY, drop=True))

    attempt = await courier.deliver(make_delivery(), account_at(server.port, tls=tls))

    assert told(attempt) == [(Verdict.SENT, "250 2.0.0 queued")]
