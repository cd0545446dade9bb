"""The dispatcher at work: real store, real courier, a scripted server, and a clock that moves when it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest

from relay.clock import HOUR, MINUTE
from relay.dispatch.retry import RetryPolicy
from relay.model.control import Controls
from relay.model.delivery import Claim, Settlement
from relay.model.message import MessageState, Priority, RecipientState
from storage.work import Work
from tests.support import postgres
from tests.support.clock import START, FakeClock
from tests.support.core import Core, running_core
from tests.support.gate import Gate
from tests.support.smtp_server import OK, Action, SmtpServer

R = RecipientState
EXACT = RetryPolicy(jitter=0)


def subject(content: bytes) -> str:
    return next(line[9:].decode() for line in content.split(b"\r\n") if line.startswith(b"Subject: "))


def titled(name: str) -> bytes:
    return f"Subject: {name}\r\n\r\nbody\r\n".encode()


async def test_a_message_goes_out_at_once_and_is_settled(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port)
    accepted = await core.submit("bob@b.example", "cyd@b.example")
    [received] = await server.wait_for(1)
    assert received.recipients == ("bob@b.example", "cyd@b.example")
    await core.log.wait_for(accepted.id, "sent", count=2)
    detail = await core.detail(accepted)
    assert detail.message.state is MessageState.SENT
    assert [str(recipient.reply) for recipient in detail.recipients] == ["250 2.0.0 queued"] * 2
    assert core.admission.depth == 0
    assert core.dispatcher.in_flight == 0


async def test_one_is_sent_one_refused_and_one_sent_after_its_retry(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port)
    server.to("no@b.example", "550 5.1.1 no such mailbox")
    server.to("later@b.example", "450 4.2.0 later", "450 4.2.0 later", OK)
    accepted = await core.submit("yes@b.example", "no@b.example", "later@b.example")
    await core.log.wait_for(accepted.id, "deferred")
    assert await core.states(accepted) == [R.SENT, R.FAILED, R.DEFERRED]
    assert core.admission.depth == 1
    await core.fake.until_slept(START + 1 * MINUTE)
    core.fake.advance(1 * MINUTE)
    await core.log.wait_for(accepted.id, "deferred", count=2)
    await core.fake.until_slept(START + 6 * MINUTE)
    core.fake.advance(5 * MINUTE)
    await core.log.wait_for(accepted.id, "to=later@b.example", "sent")
    detail = await core.detail(accepted)
    assert [recipient.state for recipient in detail.recipients] == [R.SENT, R.FAILED, R.SENT]
    assert [recipient.attempts for recipient in detail.recipients] == [1, 1, 3]
    assert [message.recipients for message in server.messages] == [("yes@b.example",), ("later@b.example",)]
    attempts = await core.store.archive.attempts("acme", accepted.id)
    assert [attempt.started_at for attempt in attempts] == [START, START + MINUTE, START + 6 * MINUTE]


async def test_after_five_retries_it_has_failed(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port)
    server.on("rcpt", "450 4.2.0 later")
    accepted = await core.submit()
    at = START
    for number, delay in enumerate(EXACT.schedule, 1):
        await core.log.wait_for(accepted.id, "deferred", count=number)
        at += delay
        await core.fake.until_slept(at)
        core.fake.advance(delay)
    [line] = await core.log.wait_for(accepted.id, "failed")
    assert "given up after 6 attempts" in line
    assert await core.states(accepted) == [R.FAILED]


async def test_what_is_to_be_sent_later_waits_and_costs_nothing(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port)
    accepted = await core.submit(controls=Controls(not_before=START + HOUR))
    at_once = await core.submit()  # mail that is not due yet is no backlog
    await core.log.wait_for(at_once.id, "sent")
    await core.fake.until_slept(START + HOUR)
    core.fake.advance(HOUR - 1)
    assert await core.states(accepted) == [R.QUEUED]
    core.fake.advance(1)
    [line] = await core.log.wait_for(accepted.id, "sent")
    assert "delay_ms=0" in line.split()


async def test_what_expires_before_its_turn_is_never_sent(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port)
    core.dispatcher.set_active(False)
    accepted = await core.submit(controls=Controls(expires_at=START + MINUTE))
    lasting = await core.submit(controls=Controls(expires_at=START + HOUR))
    core.fake.advance(MINUTE)
    core.dispatcher.set_active(True)
    await core.log.wait_for(lasting.id, "sent")
    await core.log.wait_for(accepted.id, "expired")
    assert await core.states(accepted) == [R.EXPIRED]
    assert len(server.messages) == 1
    assert core.admission.depth == 0


async def test_what_would_expire_before_its_retry_expires_now(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port)
    server.on("rcpt", "450 4.2.0 later")
    accepted = await core.submit(controls=Controls(expires_at=START + MINUTE))
    [line] = await core.log.wait_for(accepted.id, "expired")
    assert "450 4.2.0 later" in line


async def test_priority_first_then_first_come_first_served(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port, max_connections=1)
    gate = Gate()
    server.on("dot", Action("250 2.0.0 ok", when=gate), OK)
    await core.submit(content=titled("first"))
    await server.wait_for(1)
    for name, priority in (("low", 3), ("m1", 2), ("high", 1), ("m2", 2), ("now", 0), ("m3", 2)):
        await core.submit(content=titled(name), controls=Controls(Priority(priority)))
        core.fake.advance(1)
    gate.set()
    received = await server.wait_for(7)
    assert [subject(one.content) for one in received] == ["first", "now", "high", "m1", "m2", "m3", "low"]
    assert len(server.sessions) == 1


async def test_new_mail_does_not_overtake_what_waits(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port, max_connections=2)
    core.dispatcher.set_active(False)
    for name in ("a", "b", "c", "d"):
        await core.submit(content=titled(name))
        core.fake.advance(1)
    core.dispatcher.set_active(True)
    await core.submit(content=titled("e"))
    received = await server.wait_for(5)
    assert subject(received[4].content) == "e"


async def test_a_lane_has_no_more_connections_than_its_account(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port, max_connections=3)
    gate = Gate()
    server.on("dot", Action("250 2.0.0 ok", when=gate))
    for _ in range(9):
        await core.submit()
    await server.wait_for(3)
    assert (len(server.sessions), core.dispatcher.in_flight) == (3, 3)
    gate.set()
    await server.wait_for(9)
    assert len(server.sessions) == 3


@pytest.mark.parametrize("max_concurrent", [10, 1])
async def test_a_connection_is_free_while_its_outcome_is_written(
    tmp_path: Path, server: SmtpServer, monkeypatch: pytest.MonkeyPatch, max_concurrent: int
) -> None:
    """What is held at once is bounded all the same, up to the settlement."""
    async with running_core(tmp_path, clock=FakeClock(), max_concurrent=max_concurrent) as core:
        await core.add_account(server.port, max_connections=1)
        written, settle = asyncio.Event(), core.store.queue.settle
        held: list[int] = []

        async def settle_late(settlement: Settlement) -> bool:
            held.append(core.dispatcher.in_flight)
            await written.wait()
            return await settle(settlement)

        monkeypatch.setattr(core.store.queue, "settle", lambda one: asyncio.ensure_future(settle_late(one)))
        for _ in range(4):
            await core.submit()
        most = min(max_concurrent, 2)  # one connection, and one outcome beside it
        await server.wait_for(most)
        written.set()
        await core.log.wait_for("sent", count=4)
        assert len(server.sessions) == 1
        assert max(held) == most


async def test_what_goes_next_is_claimed_together_with_the_settlement_of_the_last(
    core: Core, server: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await core.add_account(server.port, max_connections=1)
    core.dispatcher.set_active(False)
    for _ in range(20):
        await core.submit()
    transactions: list[None] = []
    write = core.store._database.write

    def counted(work: Work[object]) -> Awaitable[object]:
        transactions.append(None)
        return write(work)

    monkeypatch.setattr(core.store._database, "write", counted)
    core.dispatcher.set_active(True)
    await core.log.wait_for("sent", count=20)
    assert len(server.sessions) == 1
    assert len(transactions) <= 24, "a transaction for each claim beside those of the settlements makes it 40"


async def test_a_lane_found_at_the_start_grows_without_waiting_for_its_first_attempt(
    tmp_path: Path, server: SmtpServer
) -> None:
    async with running_core(tmp_path, clock=FakeClock(), active=False) as core:
        await core.add_account(server.port, max_connections=4)
        for _ in range(8):
            await core.submit()
    gate = Gate()
    server.on("dot", Action("250 2.0.0 ok", when=gate))
    async with running_core(tmp_path, clock=FakeClock()) as core:
        await server.wait_for(4)  # while the very first is still under way
        gate.set()
        await core.log.wait_for("sent", count=8)


async def test_a_slot_that_comes_free_reaches_the_lane_that_waits_for_it(tmp_path: Path, server: SmtpServer) -> None:
    """The lane that frees it has mail of its own, but not due for a minute: nothing else would wake the other."""
    async with running_core(tmp_path, clock=FakeClock(), retry=EXACT, max_concurrent=1) as core:
        await core.add_account(server.port)
        await core.add_account(server.port, "other")
        server.to("later@b.example", "450 4.2.0 later")
        deferred = await core.submit("later@b.example")
        await core.log.wait_for(deferred.id, "deferred")
        await core.fake.until_slept(START + MINUTE)
        gate = Gate()
        server.on("dot", Action("250 2.0.0 ok", when=gate), OK)
        first = await core.submit()
        await server.wait_for(1)
        waiting = await core.submit(controls=Controls(account="other"))
        gate.set()
        await core.log.wait_for(first.id, "sent")
        await core.log.wait_for(waiting.id, "sent")


async def test_nothing_is_asked_of_the_store_while_nothing_is_due(
    core: Core, server: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await core.add_account(server.port)
    for hours in (1, 2, 3):
        await core.submit(controls=Controls(not_before=START + hours * HOUR))
    await core.fake.until_slept(START + HOUR)
    calls: list[str] = []
    claim = core.store.queue.claim

    async def watched(queue_key: str, limit: Callable[[], int]) -> Claim:
        calls.append(queue_key)
        return await claim(queue_key, limit)

    monkeypatch.setattr(core.store.queue, "claim", watched)
    for _ in range(59):
        core.fake.advance(MINUTE)
        await asyncio.sleep(0)
    assert calls == []
    core.fake.advance(MINUTE)
    await server.wait_for(1)
    await core.fake.until_slept(START + 2 * HOUR)
    assert calls == ["acme/main/acme"]


@pytest.mark.postgres
async def test_what_another_has_locked_is_claimed_as_soon_as_it_lets_go(tmp_path: Path, server: SmtpServer) -> None:
    """It is due, and no claim finds it: nobody will tell, so it is looked for again."""
    url = postgres.new_database()
    other = await asyncpg.connect(url)
    try:
        async with running_core(tmp_path, url=url, active=False) as core:
            await core.add_account(server.port)
            accepted = await core.submit()
            await other.execute("BEGIN")
            await other.execute("SELECT number FROM deliveries FOR UPDATE")
            claims, claimed = core.store.queue.claim, asyncio.Semaphore(0)

            async def claim(queue_key: str, limit: int | Callable[[], int]) -> Claim:
                found = await claims(queue_key, limit)
                claimed.release()
                return found

            core.store.queue.claim = claim  # type: ignore[method-assign]
            core.dispatcher.set_active(True)
            for _ in range(2):
                async with asyncio.timeout(20):
                    await claimed.acquire()
            await other.execute("ROLLBACK")
            await core.log.wait_for(accepted.id, "sent")
            assert core.dispatcher.in_flight == 0
    finally:
        await other.close()
        postgres.drop_database(url)
