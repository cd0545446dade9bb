"""The pulse: a store that does not answer is known, nothing is asked of one that is well, and one that comes back is known
at once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from relay.clock import SECOND
from relay.errors import StoreUnavailable
from storage.database import Database, Hearing
from storage.pulse import PATIENCE, PROBE_EVERY, Pulse
from storage.sqlite import open_sqlite
from storage.statements import Dialect
from storage.work import T, Work, script
from tests.support.clock import FakeClock


class Wire:
    """A real database behind a wire that can be cut, or hold what goes over it."""

    dialect: Dialect = "sqlite"
    groups_at_most = 2
    claims_at_once = False

    def __init__(self, database: Database) -> None:
        self._database = database
        self.cut = False
        self.holds: list[asyncio.Event] = []
        self.writes = 0

    async def write(self, work: Work[T]) -> T:
        self.writes += 1
        if self.holds:
            await self.holds.pop(0).wait()
        if self.cut:
            work.close()
            raise StoreUnavailable("the wire is cut")
        return await self._database.write(work)

    async def read(self, work: Work[T]) -> T:
        return await self._database.read(work)

    async def equip(self) -> None: ...

    async def listen(self, hearing: Hearing) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        await self._database.close()


@pytest.fixture
async def wire(tmp_path: Path) -> Any:
    wire = Wire(await open_sqlite(tmp_path / "store.db"))
    await wire.write(script("CREATE TABLE settings (name TEXT, value TEXT);"))
    wire.writes = 0
    yield wire
    await wire.close()


async def test_nothing_is_asked_of_a_store_that_is_well(wire: Wire) -> None:
    clock = FakeClock()
    pulse = Pulse(wire, clock)
    await pulse.write(script("INSERT INTO settings VALUES ('a', 'b');"))
    clock.advance(3600 * SECOND)
    assert pulse.ailment(clock.boot()) is None
    assert (wire.writes, clock.sleeping_until) == (1, ())


async def test_a_failure_is_known_until_the_store_answers_again(wire: Wire) -> None:
    clock = FakeClock()
    pulse = Pulse(wire, clock)
    wire.cut = True
    with pytest.raises(StoreUnavailable):
        await pulse.write(script("SELECT 1;"))
    await clock.until_slept(clock.now() + PROBE_EVERY)
    assert pulse.ailment(clock.boot()) == "the wire is cut"
    writes = wire.writes
    clock.advance(PROBE_EVERY)
    await clock.until_slept(clock.now() + PROBE_EVERY)
    assert pulse.ailment(clock.boot()) == "the wire is cut"
    assert wire.writes == writes + 1, "it asks once at a time, and takes its time"
    wire.cut = False
    probe = pulse._probe
    assert probe is not None
    clock.advance(PROBE_EVERY)
    await probe
    assert pulse.ailment(clock.boot()) is None
    assert clock.sleeping_until == ()


async def test_one_failure_of_a_store_that_answers_ails_nobody(wire: Wire) -> None:
    clock = FakeClock()
    pulse = Pulse(wire, clock)
    wire.cut = True
    with pytest.raises(StoreUnavailable):
        await pulse.write(script("SELECT 1;"))
    wire.cut = False
    assert pulse.ailment(clock.boot()) is None
    assert pulse._probe is not None
    await pulse._probe
    assert pulse.ailment(clock.boot()) is None


async def test_a_store_that_is_silent_is_ill_after_a_while(wire: Wire) -> None:
    clock = FakeClock()
    pulse = Pulse(wire, clock)
    first, probe = asyncio.Event(), asyncio.Event()
    wire.holds = [first, probe]
    waiting = asyncio.create_task(pulse.write(script("SELECT 1;")))
    await asyncio.sleep(0)
    clock.advance(PATIENCE - 1)
    assert pulse.ailment(clock.boot()) is None
    clock.advance(1)
    assert pulse.ailment(clock.boot()) == "a transaction has not been answered for 5 s"
    first.set()
    await waiting
    assert pulse.ailment(clock.boot()) is None
    probe.set()
    assert pulse._probe is not None
    await pulse._probe


async def test_one_transaction_that_hangs_while_others_are_answered_ails_nobody(wire: Wire) -> None:
    clock = FakeClock()
    pulse = Pulse(wire, clock)
    hangs = asyncio.Event()
    wire.holds = [hangs]
    waiting = asyncio.create_task(pulse.write(script("SELECT 1;")))
    await asyncio.sleep(0)
    clock.advance(PATIENCE)
    assert pulse.ailment(clock.boot()) is not None  # and another is asked
    assert pulse._probe is not None
    await pulse._probe
    clock.advance(3600 * SECOND)
    assert pulse.ailment(clock.boot()) is None
    hangs.set()
    await waiting


async def test_closing_ends_the_asking(wire: Wire) -> None:
    clock = FakeClock()
    pulse = Pulse(wire, clock)
    wire.cut = True
    with pytest.raises(StoreUnavailable):
        await pulse.write(script("SELECT 1;"))
    await clock.until_slept(clock.now() + PROBE_EVERY)
    await pulse.close()
    with pytest.raises(StoreUnavailable):
        await pulse.write(script("SELECT 1;"))
    assert clock.sleeping_until == ()
    assert pulse._probe is None
