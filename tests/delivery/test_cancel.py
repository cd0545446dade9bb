"""An attempt cut short: before the dot nothing has happened, after it something must be told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from relay.delivery.courier import Courier
from relay.delivery.pool import Pool
from relay.model.delivery import Attempt, Verdict
from relay.model.message import QueueId
from tests.delivery.post import Contents, account_at, make_delivery, verdicts
from tests.support.smtp_server import EXTENSIONS, Action, SmtpServer, Step

STEPWISE = tuple(name for name in EXTENSIONS if name != "PIPELINING")


async def _cut_at(courier: Courier, server: SmtpServer, step: Step, **kind: object) -> asyncio.Task[Attempt]:
    """Cancel a delivery while the server is silent at `step`."""
    gate = asyncio.Event()
    server.on(step, Action("250 2.0.0 too late", when=gate))
    task = asyncio.create_task(
        courier.deliver(make_delivery("no@receiver.test", "b@receiver.test", **kind), account_at(server.port))  # type: ignore[arg-type]
    )
    if step == "dot":
        await server.wait_for(1)
    else:
        await server.wait_for_command({"mail": "MAIL", "rcpt": "RCPT", "data": "DATA", "rset": "RSET"}[step])
    task.cancel()
    await asyncio.wait([task], timeout=5)
    gate.set()
    return task


@pytest.mark.parametrize("extensions", [EXTENSIONS, STEPWISE], ids=["pipelined", "stepwise"])
@pytest.mark.parametrize("step", ["mail", "rcpt", "data"])
async def test_before_the_dot(
    courier: Courier, pool: Pool, server: SmtpServer, step: Step, extensions: tuple[str, ...]
) -> None:
    server.extensions = extensions

    task = await _cut_at(courier, server, step)

    assert task.cancelled()
    assert pool.idle_count == 0
    async with asyncio.timeout(20):
        await server.sessions[0].ended.wait()
    assert server.messages == []


@pytest.mark.parametrize("extensions", [EXTENSIONS, STEPWISE], ids=["pipelined", "stepwise"])
async def test_after_the_dot(courier: Courier, pool: Pool, server: SmtpServer, extensions: tuple[str, ...]) -> None:
    server.extensions = extensions
    server.to("no@receiver.test", "550 5.1.1 no")

    task = await _cut_at(courier, server, "dot")

    assert verdicts(task.result()) == [Verdict.FAILED, Verdict.UNKNOWN]
    assert task.cancelling() == 0
    assert pool.idle_count == 0


async def test_while_the_refused_envelope_is_reset(courier: Courier, server: SmtpServer) -> None:
    """Everybody has an answer already: it is told."""
    server.on("rcpt", "550 5.1.1 no")

    task = await _cut_at(courier, server, "rset")

    assert verdicts(task.result()) == [Verdict.FAILED, Verdict.FAILED]


async def test_in_the_middle_of_the_content(courier: Courier, server: SmtpServer, contents: Contents) -> None:
    started, never = asyncio.Event(), asyncio.Event()

    async def read(message: QueueId) -> AsyncIterator[bytes]:
        yield b"Subject: half\r\n\r\n"
        started.set()
        await never.wait()

    contents.read = read  # type: ignore[method-assign]
    task = asyncio.create_task(courier.deliver(make_delivery(content=None, size=100), account_at(server.port)))
    await started.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(20):
        await server.sessions[0].ended.wait()
    assert server.messages == []


async def test_the_reply_that_came_meanwhile_counts(courier: Courier, server: SmtpServer) -> None:
    """The reply is in our hands when the cancellation arrives: SENT, not UNKNOWN."""
    gate = asyncio.Event()
    server.on("dot", Action("250 2.0.0 queued", when=gate))
    task = asyncio.create_task(courier.deliver(make_delivery(), account_at(server.port)))
    await server.wait_for(1)
    connection = next(iter(courier._pool._open))
    connection.dialogue.data_received(b"250 2.0.0 queued\r\n")
    task.cancel()

    assert verdicts(await task) == [Verdict.SENT]
