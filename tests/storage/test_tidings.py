"""Tidings of events: whoever waits hears of what is written, in every process; nobody is told of it while nobody waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import asyncpg
import pytest

from relay.clock import SECOND, SystemClock
from relay.contracts.feed import FeedFilter
from relay.model.event import EventKind
from relay.workers.wakes import Wakes
from storage import Store
from storage.listening import CHANNEL
from storage.tidings import SAID_EVERY, TOLD_EVERY, WAITING, WRITTEN
from tests.storage.conftest import Open, furnish
from tests.storage.mail import mail
from tests.support.clock import FakeClock


@dataclass
class Ear:
    """What goes over the wire between processes. Satisfies storage.database.Hearing."""

    words: list[str] = field(default_factory=list)
    """Tidings alone."""
    others: int = 0
    """How many other words."""
    heard_some: asyncio.Event = field(default_factory=asyncio.Event)

    def began(self) -> None: ...

    def ended(self) -> None: ...

    def heard(self, payload: str) -> None:
        if payload in {WAITING, WRITTEN}:
            self.words.append(payload)
        else:
            self.others += 1
        self.heard_some.set()

    async def until(self, payload: str) -> None:
        """Anything of this, however it comes."""
        await self._until(lambda: payload in self.words)

    async def until_another(self) -> None:
        """A word that is no tidings."""
        await self._until(lambda: self.others > 0)

    async def _until(self, has_come: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not has_come():
                self.heard_some.clear()
                await self.heard_some.wait()


@dataclass
class Pair:
    """Two processes on a store, and an ear."""

    one: Store
    two: Store
    ear: Ear
    clock: SystemClock


@pytest.fixture
async def pair(opened: Open, url: str) -> AsyncIterator[Pair]:
    clock = SystemClock()
    parent = await opened(holder="x")
    await furnish(parent)
    await parent.close()
    wakes, ear = Wakes(3), Ear()
    one = await opened(holder="x.0.1", former="x.0", peers=wakes.seat(0), clock=clock)
    two = await opened(holder="x.1.1", former="x.1", peers=wakes.seat(1), clock=clock)
    if url.startswith("sqlite"):
        wakes.seat(2).listen(ear)
        yield Pair(one, two, ear, clock)
        asyncio.get_running_loop().remove_reader(wakes.pipes[2][0])
        return
    connection = await asyncpg.connect(url)
    await connection.add_listener(CHANNEL, lambda *told: ear.heard(str(told[-1]).partition(" ")[2]))
    yield Pair(one, two, ear, clock)
    await connection.close()


async def accepted(store: Store) -> None:
    """One message, handed over in memory: nobody is told that it is ready."""
    await store.queue.accept(mail(leased=True))


async def test_who_waits_hears_of_it_in_its_own_process(store: Store) -> None:
    wake = asyncio.Event()
    with store.feed.watch(wake):
        wake.clear()
        await accepted(store)
        assert wake.is_set()
        wake.clear()
        await store.directory.change_tenant("acme", lambda tenant: tenant)  # as a token that is revoked
        assert wake.is_set()
    wake.clear()
    await accepted(store)
    assert not wake.is_set()


async def test_who_waits_hears_of_it_in_another_process(pair: Pair) -> None:
    wake = asyncio.Event()
    with pair.two.feed.watch(wake):
        await pair.ear.until(WRITTEN)  # as the others answer who begins to wait, for what came before
        await asyncio.wait_for(wake.wait(), 5)
        wanted = FeedFilter()
        for _ in range(5):
            wake.clear()
            await accepted(pair.one)
            page = await pair.two.feed.page(wanted)
            while not page.events:
                await asyncio.wait_for(wake.wait(), SAID_EVERY / SECOND / 2)  # long before it would look unasked
                wake.clear()
                page = await pair.two.feed.page(wanted)
            assert [event.kind for event in page.events] == [EventKind.ACCEPTED]
            wanted = FeedFilter(after=page.cursor)


async def test_who_waits_hears_of_a_change_of_the_configuration(pair: Pair) -> None:
    """As of a token that is revoked: the stream must end."""
    wake = asyncio.Event()
    with pair.two.feed.watch(wake):
        await pair.ear.until(WRITTEN)
        await asyncio.wait_for(wake.wait(), 5)
        wake.clear()
        await pair.one.directory.set_default_account("acme", "main")
        await asyncio.wait_for(wake.wait(), SAID_EVERY / SECOND / 2)


async def test_nobody_is_told_while_nobody_waits(pair: Pair) -> None:
    for _ in range(20):
        await accepted(pair.one)
    await pair.one.directory.set_default_account(
        "acme", "main"
    )  # a mark behind what was said before by the same process
    await pair.ear.until_another()
    assert pair.ear.words == []
    with pair.two.feed.watch(asyncio.Event()):  # the control
        await accepted(pair.one)
        await pair.ear.until(WRITTEN)


async def test_many_transactions_are_told_of_together(pair: Pair) -> None:
    count = 300
    with pair.two.feed.watch(asyncio.Event()):
        await pair.ear.until(WRITTEN)
        began, before = pair.clock.boot(), len(pair.ear.words)
        for _ in range(count):
            await accepted(pair.one)
        took = pair.clock.boot() - began
        said = len(pair.ear.words) - before
    assert 0 < said <= took // TOLD_EVERY + 3
    assert said < count


async def test_now_and_then_it_is_looked_without_a_word(opened: Open) -> None:
    clock = FakeClock()
    store = await opened(clock=clock)
    wake = asyncio.Event()
    with store.feed.watch(wake):
        for _ in range(3):
            await clock.until_slept(clock.now() + SAID_EVERY)
            wake.clear()
            clock.advance(SAID_EVERY)
            await asyncio.wait_for(wake.wait(), 5)


async def test_the_newest_is_behind_all_that_is_there(store: Store) -> None:
    assert await store.feed.newest() == 0
    await accepted(store)
    newest = await store.feed.newest()
    page = await store.feed.page(FeedFilter())
    assert page.cursor == newest > 0
    await accepted(store)
    assert len((await store.feed.page(FeedFilter(after=newest))).events) == 1
