"""The content on its way: the same octets, little memory, and nothing sent that is not what was accepted."""

from __future__ import annotations

import asyncio
import hashlib
import tracemalloc
from collections.abc import AsyncIterator

import pytest

from relay.delivery.courier import Courier
from relay.delivery.pool import Pool
from relay.delivery.transaction import WrongSize
from relay.errors import NotFound
from relay.model.delivery import Category, Phase, Verdict
from relay.model.message import QueueId
from tests.delivery.post import Contents, account_at, make_delivery, verdicts
from tests.support.smtp_server import SmtpServer

MIB = 1 << 20


async def test_25_mb_cost_little_memory(courier: Courier, server: SmtpServer, contents: Contents) -> None:
    server.keep_content = False
    size, digest = 25 * MIB, hashlib.sha256()

    async def read(message: QueueId) -> AsyncIterator[bytes]:
        for number in range(25):
            piece = (b"%062d\r\n" % number) * (MIB // 64)
            digest.update(piece)
            yield piece

    contents.read = read  # type: ignore[method-assign]
    account = account_at(server.port)
    await courier.deliver(make_delivery(), account)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        attempt = await courier.deliver(make_delivery(content=None, size=size), account)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert verdicts(attempt) == [Verdict.SENT]
    assert (server.messages[1].size, server.messages[1].sha256) == (size, digest.hexdigest())
    # One piece of the reader's own, one in the making, slices; the server's share is in it too.
    assert peak - before < 4 * MIB


async def test_a_loop_with_something_else_to_do(courier: Courier, server: SmtpServer) -> None:
    """While a large mail goes out, others get their turn: its writes wait for the peer."""
    server.keep_content = False
    turns = 0
    task = asyncio.create_task(
        courier.deliver(make_delivery(content=(b"x" * 62 + b"\r\n") * (8 * MIB // 64)), account_at(server.port))
    )
    while not task.done():
        turns += 1
        await asyncio.wait([task], timeout=0)

    assert verdicts(task.result()) == [Verdict.SENT]
    assert turns > 8


@pytest.mark.parametrize("stored", [b"Subject: cut\r\n\r\nshort\r\n", b"Subject: long\r\n\r\n" + b"x" * 100 + b"\r\n"])
async def test_what_was_not_accepted_is_not_sent(
    courier: Courier, pool: Pool, server: SmtpServer, contents: Contents, stored: bytes
) -> None:
    contents.pieces = [stored]

    with pytest.raises(WrongSize, match="Q1"):
        await courier.deliver(make_delivery(content=None, size=50), account_at(server.port))

    async with asyncio.timeout(20):
        await server.sessions[0].ended.wait()
    assert server.messages == []
    assert pool.idle_count == 0


async def test_content_that_is_gone(courier: Courier, server: SmtpServer) -> None:
    with pytest.raises(NotFound):
        await courier.deliver(make_delivery(content=None, size=50), account_at(server.port))

    assert server.messages == []


@pytest.mark.parametrize("offered", [True, False])
@pytest.mark.parametrize("eight_bit", [True, False])
async def test_8bitmime(courier: Courier, server: SmtpServer, offered: bool, eight_bit: bool) -> None:
    server.extensions = ("8BITMIME",) if offered else ()
    content = "Subject: x\r\n\r\ngr\u00fc\u00dfe\r\n".encode()

    await courier.deliver(make_delivery(content=content, eight_bit=eight_bit), account_at(server.port))

    assert server.messages[0].parameters == ("BODY=8BITMIME" if offered and eight_bit else "")
    assert server.messages[0].content == content


@pytest.mark.parametrize(
    ("sender", "recipients", "header", "parameters"),
    [
        ("a@s.test", ("b@r.test",), False, ""),
        ("a@s.test", ("b@r.test",), True, "SMTPUTF8"),
        ("\u00e4@s.test", ("b@r.test",), False, "SMTPUTF8"),
        ("a@s.test", ("b@r.test", "\u00f6@r.test"), False, "SMTPUTF8"),
    ],
)
async def test_smtputf8_offered(
    courier: Courier, server: SmtpServer, sender: str, recipients: tuple[str, ...], header: bool, parameters: str
) -> None:
    server.extensions = ("SMTPUTF8",)

    attempt = await courier.deliver(make_delivery(*recipients, sender=sender, smtputf8=header), account_at(server.port))

    assert set(verdicts(attempt)) == {Verdict.SENT}
    assert server.messages[0].parameters == parameters
    assert server.messages[0].sender == sender
    assert server.messages[0].recipients == recipients


@pytest.mark.parametrize(
    ("sender", "header", "expected"),
    [
        ("a@s.test", False, [Verdict.SENT, Verdict.FAILED]),
        ("a@s.test", True, [Verdict.FAILED, Verdict.FAILED]),
        ("\u00e4@s.test", False, [Verdict.FAILED, Verdict.FAILED]),
    ],
)
async def test_smtputf8_not_offered(
    courier: Courier, server: SmtpServer, sender: str, header: bool, expected: list[Verdict]
) -> None:
    server.extensions = ("PIPELINING",)

    attempt = await courier.deliver(
        make_delivery("b@r.test", "\u00f6@r.test", sender=sender, smtputf8=header), account_at(server.port)
    )

    assert verdicts(attempt) == expected
    failed = attempt.outcomes[1]
    assert failed.reply is not None
    assert (failed.reply.enhanced, failed.category, failed.phase) == ("5.6.7", Category.CONTENT, Phase.MAIL)
    assert sum(len(message.recipients) for message in server.messages) == expected.count(Verdict.SENT)


async def test_an_address_never_becomes_a_command(courier: Courier, server: SmtpServer) -> None:
    """No door lets such an address in; here is the last wall."""
    with pytest.raises(ValueError, match="line end"):
        await courier.deliver(make_delivery("a@r.test>\r\nRCPT TO:<evil@r.test"), account_at(server.port))

    assert server.messages == []
