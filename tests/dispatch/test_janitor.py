"""The janitor and the renewal of leases: work by the clock, one failure ends nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relay.clock import HOUR, MINUTE
from relay.dispatch.janitor import Chore, Janitor
from relay.errors import StoreUnavailable
from tests.support.clock import START, FakeClock
from tests.support.core import LEASE, Core, running_core
from tests.support.gate import Gate
from tests.support.smtp_server import Action, SmtpServer


class Diary:
    """What was done when."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.lines: list[tuple[str, int]] = []
        self._written = asyncio.Condition()

    def chore(self, name: str, every: int, error: Exception | None = None) -> Chore:
        async def do() -> None:
            async with self._written:
                self.lines.append((name, (self._clock.now() - START) // MINUTE))
                self._written.notify_all()
            if error is not None:
                raise error

        return Chore(name, every, do)

    async def reaches(self, count: int) -> None:
        async with asyncio.timeout(10), self._written:
            await self._written.wait_for(lambda: len(self.lines) >= count)


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[tuple[FakeClock, Diary]]:
    clock = FakeClock()
    diary = Diary(clock)
    chores = (
        diary.chore("often", 1 * MINUTE, StoreUnavailable("away")),
        diary.chore("seldom", 3 * MINUTE, RuntimeError("a bug")),
    )
    task = asyncio.create_task(Janitor(clock, chores).run())
    await clock.until_slept(START + MINUTE)
    yield clock, diary
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_each_chore_has_its_time_and_a_failed_one_comes_again(running: tuple[FakeClock, Diary]) -> None:
    clock, diary = running
    for minute in range(1, 7):
        clock.advance(MINUTE)
        await clock.until_slept(START + (minute + 1) * MINUTE)
    assert [at for name, at in diary.lines if name == "often"] == [1, 2, 3, 4, 5, 6]
    assert [at for name, at in diary.lines if name == "seldom"] == [3, 6]


async def test_a_machine_that_slept_does_not_make_up_for_every_turn(running: tuple[FakeClock, Diary]) -> None:
    clock, diary = running
    clock.advance(HOUR)
    await diary.reaches(2)
    await clock.until_slept(START + HOUR + MINUTE)
    assert diary.lines == [("often", 60), ("seldom", 60)]


async def test_a_wall_clock_that_is_put_back_delays_nothing(running: tuple[FakeClock, Diary]) -> None:
    """Else nobody took over what a dead instance holds, for as long as the clock was ahead."""
    clock, diary = running
    clock.step_back(HOUR)
    clock.advance(MINUTE)
    await diary.reaches(1)
    assert diary.lines == [("often", -59)]


async def test_without_chores_it_ends() -> None:
    await asyncio.wait_for(Janitor(FakeClock(), ()).run(), 1)


async def test_leases_are_renewed_by_the_clock(tmp_path: Path) -> None:
    gate = Gate()
    async with SmtpServer() as server, running_core(tmp_path, clock=FakeClock()) as core:
        await _hold_an_attempt(core, server, gate)
        renewing = asyncio.create_task(core.leases.run())
        at = START
        for _ in range(9):  # three leases long
            at += LEASE // 3
            await core.fake.until_slept(at)
            core.fake.advance(LEASE // 3)
            await core.fake.until_slept(at + LEASE // 3)
            assert await core.store.queue.recover() == 0
        gate.set()
        await core.log.wait_for("sent")
        assert len(server.messages) == 1
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)


async def test_leases_are_renewed_although_the_wall_clock_is_put_back(tmp_path: Path) -> None:
    gate = Gate()
    async with SmtpServer() as server, running_core(tmp_path, clock=FakeClock()) as core:
        await _hold_an_attempt(core, server, gate)
        renewing = asyncio.create_task(core.leases.run())
        await core.fake.until_slept(START + LEASE // 3)
        core.fake.step_back(HOUR)
        for at in range(1, 5):
            core.fake.advance(LEASE // 3)
            await core.fake.until_slept(START - HOUR + (at + 1) * LEASE // 3)
            assert await core.store.queue.recover() == 0
        gate.set()
        await core.log.wait_for("sent")
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)


async def _hold_an_attempt(core: Core, server: SmtpServer, gate: Gate) -> None:
    await core.add_account(server.port)
    server.on("dot", Action("250 2.0.0 ok", when=gate))
    await core.submit()
    await gate.reached()
