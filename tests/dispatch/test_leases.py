"""Leases from claim to settlement, and the end of a dispatcher: nothing is lost, nothing is sent twice without need."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from relay.clock import HOUR
from relay.delivery.timeouts import Timeouts
from relay.model.delivery import Settlement
from relay.model.message import RecipientState
from tests.support.clock import FakeClock
from tests.support.core import LEASE, Core, running_core
from tests.support.gate import Gate
from tests.support.smtp_server import OK, Action, SmtpServer, Step

R = RecipientState


async def test_a_lost_lease_writes_nothing_and_the_one_who_has_it_does(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port)
    gate = Gate()
    server.on("dot", Action("550 5.0.0 from the lost one", when=gate), OK)
    accepted = await core.submit()
    await server.wait_for(1)
    core.fake.advance(LEASE)
    assert await core.store.queue.recover() == 1
    await core.log.wait_for(accepted.id, "sent")
    gate.set()
    await core.dispatcher.stop(20)
    assert await core.states(accepted) == [R.SENT]
    assert core.log.lines(accepted.id, "failed") == []


async def test_a_long_attempt_keeps_its_lease(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port)
    gate = Gate()
    server.on("dot", Action("250 2.0.0 ok", when=gate))
    accepted = await core.submit()
    await server.wait_for(1)
    for _ in range(7):
        core.fake.advance(LEASE // 3)
        await core.leases.renew()
        assert await core.store.queue.recover() == 0
    gate.set()
    await core.log.wait_for(accepted.id, "sent")
    assert len(server.messages) == 1


async def test_an_attempt_whose_lease_was_lost_is_cut(tmp_path: Path, server: SmtpServer) -> None:
    gate = Gate()
    server.on("mail", Action("250 2.1.0 ok", when=gate), OK)
    async with running_core(tmp_path, clock=FakeClock(), timeouts=Timeouts()) as core:
        await core.add_account(server.port, max_connections=1)
        accepted = await core.submit()
        await gate.reached()
        core.fake.advance(LEASE)
        assert await core.store.queue.recover() == 1
        await core.leases.renew()
        await core.log.wait_for(accepted.id, "sent")
        assert len(server.messages) == 1


@pytest.mark.parametrize("size", [100, 200_000])
async def test_no_dot_is_sent_when_the_lease_has_run_out_meanwhile(core: Core, server: SmtpServer, size: int) -> None:
    """As after a freeze, or a time without the store: whoever looks first may be the attempt and not the renewal."""
    await core.add_account(server.port)
    gate = Gate()
    server.on("data", Action("354 go on", when=gate))
    accepted = await core.submit(content=b"Subject: x\r\n\r\n" + b"\r\n" * (size // 2))
    await gate.reached()
    core.dispatcher.set_active(False)
    core.fake.advance(LEASE)
    assert await core.store.queue.recover() == 1
    server.on("data")
    gate.set()
    await server.sessions[0].ended.wait()
    assert server.messages == []
    core.dispatcher.set_active(True)
    await core.log.wait_for(accepted.id, "sent")
    assert len(server.messages) == 1
    [sent] = (await core.store.archive.message("acme", accepted.id)).recipients
    assert sent.attempts == 1, "what could not be sent was no attempt"


async def test_with_its_lease_the_same_dot_is_sent(core: Core, server: SmtpServer) -> None:
    """The control of the test above."""
    await core.add_account(server.port)
    gate = Gate()
    server.on("data", Action("354 go on", when=gate))
    accepted = await core.submit()
    await gate.reached()
    core.fake.advance(LEASE)
    await core.leases.renew()
    gate.set()
    await core.log.wait_for(accepted.id, "sent")
    assert len(server.sessions) == 1


async def test_a_lease_that_comes_back_to_us_cuts_our_own_former_attempt(core: Core, server: SmtpServer) -> None:
    """After a time without the store, recovery may come before renewal: two attempts of ours, side by side."""
    await core.add_account(server.port, max_connections=2)
    gate = Gate()
    server.on("mail", Action("250 2.1.0 ok", when=gate), OK)
    accepted = await core.submit()
    await gate.reached()
    core.fake.advance(LEASE)
    assert await core.store.queue.recover() == 1
    await core.log.wait_for(accepted.id, "sent")
    await asyncio.wait_for(core.dispatcher.stop(20), 3)  # it does not wait for the server that is silent
    gate.set()
    assert len(server.messages) == 1


async def test_an_outcome_is_not_cut_with_its_lease(
    core: Core, server: SmtpServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The renewal finds the lease gone because the settlement has just been written."""
    await core.add_account(server.port)
    written, seen = asyncio.Event(), asyncio.Event()
    settle = core.store.queue.settle

    async def settle_and_wait(settlement: Settlement) -> bool:
        held = await settle(settlement)
        written.set()
        await seen.wait()
        return held

    monkeypatch.setattr(core.store.queue, "settle", lambda one: asyncio.ensure_future(settle_and_wait(one)))
    accepted = await core.submit()
    await written.wait()
    core.fake.advance(LEASE // 2)
    await core.leases.renew()
    seen.set()
    await core.log.wait_for(accepted.id, "sent")
    assert "lease lost" not in caplog.text


async def test_stop_lets_attempts_end(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port)
    gate = Gate()
    server.on("dot", Action("250 2.0.0 ok", when=gate))
    accepted = await core.submit()
    await server.wait_for(1)
    stopping = asyncio.create_task(core.dispatcher.stop(20))
    await asyncio.sleep(0)
    late = await core.submit()
    gate.set()
    await stopping
    assert await core.states(accepted) == [R.SENT]
    assert await core.states(late) == [R.QUEUED]
    assert len(server.messages) == 1


@pytest.mark.parametrize(
    ("step", "state", "next_attempt"),
    [("connect", R.QUEUED, 1), ("mail", R.QUEUED, 1), ("rcpt", R.QUEUED, 1), ("dot", R.UNKNOWN, 2)],
)
async def test_stop_cuts_what_does_not_end_and_returns_its_lease(
    core: Core, server: SmtpServer, step: Step, state: RecipientState, next_attempt: int
) -> None:
    await core.add_account(server.port)
    gate = Gate()
    server.on(step, Action(OK.reply, when=gate))
    accepted = await core.submit()
    await gate.reached()
    await core.dispatcher.stop(0)
    assert await core.states(accepted) == [state]
    core.fake.advance(HOUR)
    [again] = (await core.store.queue.claim("acme/main/acme", 10)).deliveries
    assert (again.attempt, again.message.id) == (next_attempt, accepted.id)


def watch(monkeypatch: pytest.MonkeyPatch, owner: object, method: str) -> asyncio.Event:
    """Set as soon as that method of the store is called."""
    called = asyncio.Event()
    real: Callable[..., Awaitable[object]] = getattr(owner, method)

    def watched(*values: object) -> Awaitable[object]:
        called.set()
        return real(*values)

    monkeypatch.setattr(owner, method, watched)
    return called


async def test_stop_does_not_cut_an_outcome_on_its_way_to_the_store(
    core: Core, server: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await core.add_account(server.port)
    settling = watch(monkeypatch, core.store.queue, "settle")
    accepted = await core.submit()
    await settling.wait()
    await core.dispatcher.stop(0)
    assert await core.states(accepted) == [R.SENT]
    assert len(core.log.lines(accepted.id, "sent")) == 1
    assert core.admission.depth == 0


async def test_an_outcome_that_is_cut_on_its_way_and_refused_is_not_reported(
    core: Core, server: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease was lost before: nothing was written, so nothing may be told or counted."""
    await core.add_account(server.port)
    gate = Gate()
    server.on("dot", Action(OK.reply, when=gate))
    accepted = await core.submit()
    await gate.reached()
    await core.store.take_over("test")
    settling = watch(monkeypatch, core.store.queue, "settle")
    gate.set()
    await settling.wait()
    await core.dispatcher.stop(0)
    assert await core.states(accepted) == [R.QUEUED]
    assert core.log.lines(accepted.id, "sent") == []
    assert core.admission.depth == 1


@pytest.mark.parametrize("method", ["accept", "claim"])
async def test_what_is_leased_while_we_stop_is_given_back_untried(
    core: Core, server: SmtpServer, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    await core.add_account(server.port)
    core.dispatcher.set_active(method == "accept")
    called = watch(monkeypatch, core.store.queue, method)
    task = asyncio.create_task(core.submit())
    if method == "claim":
        await task
        core.dispatcher.set_active(True)
    await called.wait()
    await core.dispatcher.stop(20)
    accepted = await task
    await core.dispatcher.stop(20)
    assert await core.states(accepted) == [R.QUEUED]
    [counts] = await core.store.archive.counts()
    assert (counts.ready, counts.leased) == (1, 0)
    assert server.messages == []
    assert core.dispatcher.in_flight == 0


async def test_what_a_former_life_left_is_taken_up(tmp_path: Path, server: SmtpServer) -> None:
    async with running_core(tmp_path, clock=FakeClock(), active=False) as core:
        account = await core.add_account(server.port)
        accepted = await core.submit()
        [left] = (await core.store.queue.claim(f"{account.key}/acme", 1)).deliveries
        assert left.attempt == 1
    async with running_core(tmp_path, clock=FakeClock()) as core:
        await core.log.wait_for(accepted.id, "sent")
        assert len(server.messages) == 1


async def test_an_outcome_that_cannot_be_written_does_not_send_again_and_again(
    core: Core, server: SmtpServer, tmp_path: Path
) -> None:
    await core.add_account(server.port)
    with contextlib.closing(sqlite3.connect(tmp_path / "relay.db")) as other:
        other.execute("CREATE TRIGGER broken BEFORE INSERT ON attempts BEGIN SELECT RAISE(ABORT, 'broken'); END")
    accepted = await core.submit()
    await server.wait_for(1)
    await core.dispatcher.stop(20)
    [head] = await core.store.archive.counts()
    assert (head.ready, head.leased, head.held) == (0, 0, 1)
    assert await core.states(accepted) == [R.QUEUED]
