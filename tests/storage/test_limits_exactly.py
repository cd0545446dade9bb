"""Limits are exact: whatever comes, goes, fails, crashes or is frozen, the receiver never sees one more than the limit in
any window, and no open slot is withheld from a claim. Counted by hand beside the store."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from relay.clock import MILLISECOND, SECOND
from relay.model.delivery import LeasedDelivery
from relay.model.limit import Limits
from relay.model.message import RecipientState
from storage import Store, open_store
from storage.windows import Lengths, Window, windows_of
from tests.storage.conftest import Open, furnish
from tests.storage.mail import CLOCK, QUEUE, mail, settled
from tests.support.clock import FakeClock

SHORT = Lengths(minute=50, hour=120, day=400)
LEASE = 60
Action: TypeAlias = tuple[str, int]


@dataclass(slots=True)
class Simulation:
    """A store in a time of its own, and what a patient observer has written down."""

    directory: Path
    limits: Limits
    clock: FakeClock = field(default_factory=FakeClock)
    in_flight: dict[str, tuple[LeasedDelivery, int]] = field(default_factory=dict)
    frozen: list[LeasedDelivery] = field(default_factory=list)
    ready: int = 0
    stamps: list[int] = field(default_factory=list)
    received: list[int] = field(default_factory=list)

    @property
    def windows(self) -> tuple[Window, ...]:
        return windows_of(self.limits, SHORT)

    async def open(self) -> Store:
        return await open_store(
            f"sqlite://{self.directory}/stagepost.db",
            holder="one",
            lease=LEASE,
            clock=self.clock,
            key_file=self.directory / "key",
            lengths=SHORT,
        )

    async def run(self, actions: Sequence[Action]) -> None:
        store = await self.open()
        try:
            await furnish(store, self.limits)
            for action, amount in actions:
                store = await self.act(store, action, amount)
        finally:
            await store.close()

    async def act(self, store: Store, action: str, amount: int) -> Store:
        """One action; answers the store, which is another after a crash."""
        match action:
            case "arrive":
                for _ in range(amount):
                    await store.queue.accept(mail(due=self.clock.now()))
                    self.ready += 1
            case "wait":
                self.clock.advance(amount)
            case "claim":
                await self.claim(store, amount)
            case "crash":
                await store.close()
                store = await self.open()
                self.lose(list(self.in_flight), speaks=False)
            case "recover":
                await store.queue.recover()
                now = self.clock.now()
                self.lose([one for one, (_, at) in self.in_flight.items() if at + LEASE <= now], speaks=True)
            case "late" if self.frozen:
                await self.speak_up(store, amount)
            case "sent" | "refused" | "release" if self.in_flight:
                await self.end(store, action, amount)
        return store

    async def claim(self, store: Store, wanted: int) -> None:
        now = self.clock.now()
        used = [window.most - len(self.in_flight) - self.within(window, now) for window in self.windows]
        slots = max(0, min(used))
        found = await store.queue.claim(QUEUE, wanted)
        assert len(found.deliveries) == min(wanted, slots, self.ready)
        assert (found.blocked_until is None) == (slots > wanted or self.ready < min(wanted, slots))
        assert found.blocked_until is None or found.blocked_until > now
        self.ready -= len(found.deliveries)
        self.in_flight |= {one.id: (one, now) for one in found.deliveries}

    def within(self, window: Window, now: int) -> int:
        return sum(stamp + window.length > now for stamp in self.stamps)

    async def end(self, store: Store, how: str, amount: int) -> None:
        key = sorted(self.in_flight)[amount % len(self.in_flight)]
        delivery, since = self.in_flight.pop(key)
        now = self.clock.now()
        if how == "release":
            await store.queue.release([delivery])
        else:
            state = RecipientState.DEFERRED if how == "refused" else RecipientState.SENT
            assert await store.queue.settle(settled(delivery, state, due=now, spent=how == "sent"))
        if how == "sent":
            self.stamps.append(now)
            self.received.append(since + amount * 7 % (now - since + 1))
        else:
            self.ready += 1

    def lose(self, keys: list[str], *, speaks: bool) -> None:
        for key in keys:
            delivery, since = self.in_flight.pop(key)
            self.stamps.append(self.clock.now())
            self.received.append(since + len(key) * 7 % (self.clock.now() - since + 1))
            self.ready += 1
            if speaks:
                self.frozen.append(delivery)

    async def speak_up(self, store: Store, amount: int) -> None:
        delivery = self.frozen.pop()
        if amount % 2:
            await store.queue.release([delivery])
        else:
            assert not await store.queue.settle(settled(delivery))
            self.stamps.append(self.clock.now())


ACTIONS = st.one_of(
    st.tuples(st.just("arrive"), st.integers(1, 5)),
    st.tuples(st.just("wait"), st.integers(0, 70)),
    st.tuples(st.just("claim"), st.integers(1, 6)),
    st.tuples(st.sampled_from(["sent", "sent", "sent", "refused", "release"]), st.integers(0, 50)),
    st.tuples(st.sampled_from(["claim", "recover", "late"]), st.integers(1, 6)),
    st.tuples(st.sampled_from(["wait", "claim", "crash"]), st.integers(1, 6)),
)
MOST = st.one_of(st.none(), st.integers(1, 5))
LIMITS = st.builds(Limits, MOST, MOST, MOST).filter(lambda limits: limits.is_set)


def never_one_more(received: Sequence[int], windows: Sequence[Window]) -> bool:
    """In no window, wherever it begins."""
    times = sorted(received)
    return all(
        later - earlier >= window.length
        for window in windows
        for earlier, later in zip(times, times[window.most :], strict=False)
    )


@settings(
    max_examples=20,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(limits=LIMITS, actions=st.lists(ACTIONS, min_size=20, max_size=60))
def test_never_one_more_and_no_slot_wasted(limits: Limits, actions: list[Action]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        simulation = Simulation(Path(directory), limits)
        asyncio.run(simulation.run(actions))
    assert never_one_more(simulation.received, simulation.windows)


@pytest.mark.parametrize("seed", range(3))
def test_the_same_under_load(seed: int) -> None:
    """Long and busy, as hypothesis would not be."""
    chance = random.Random(seed)
    kinds = [
        "arrive",
        "wait",
        "claim",
        "claim",
        "sent",
        "sent",
        "sent",
        "refused",
        "release",
        "recover",
        "late",
        "crash",
    ]
    weights = [4, 6, 5, 5, 6, 6, 6, 2, 1, 1, 1, 0.3]
    actions = [(kind, chance.randint(1, 30)) for kind in chance.choices(kinds, weights, k=600)]
    with tempfile.TemporaryDirectory() as directory:
        simulation = Simulation(Path(directory), Limits(4, 7, 15))
        asyncio.run(simulation.run(actions))
    assert len(simulation.received) > 20
    assert never_one_more(simulation.received, simulation.windows)


def test_the_observer_would_notice() -> None:
    assert never_one_more([0, 10, 50, 60], [Window(50, 2)])
    assert not never_one_more([0, 10, 49], [Window(50, 2)])


@pytest.mark.postgres
@pytest.mark.parametrize("backend", ["postgres"])
async def test_two_instances_never_send_one_more_between_them(opened: Open) -> None:
    lengths = Lengths(minute=300 * MILLISECOND, hour=2 * SECOND, day=60 * SECOND)
    limits = Limits(per_minute=20, per_hour=90)
    stores = [await opened(holder="one", lengths=lengths)]
    await furnish(stores[0], limits)
    stores.append(await opened(holder="two", lengths=lengths))
    await asyncio.gather(*(stores[0].queue.accept(mail()) for _ in range(400)))
    received: list[int] = []
    end = CLOCK.now() + 4 * SECOND

    async def attempt(store: Store, delivery: LeasedDelivery, chance: random.Random) -> None:
        await asyncio.sleep(chance.random() / 100)
        if chance.random() < 0.2:
            refused = settled(delivery, RecipientState.DEFERRED, due=CLOCK.now(), spent=False)
            assert await store.queue.settle(refused)
            return
        received.append(CLOCK.now())
        await asyncio.sleep(chance.random() / 100)
        assert await store.queue.settle(settled(delivery))

    async def send(store: Store, seed: int) -> None:
        chance = random.Random(seed)
        while CLOCK.now() < end:
            found = await store.queue.claim(QUEUE, chance.randint(1, 8))
            await asyncio.gather(*(attempt(store, one, chance) for one in found.deliveries))
            await asyncio.sleep(0.001)

    await asyncio.gather(*(send(stores[seed % 2], seed) for seed in range(6)))
    assert never_one_more(received, windows_of(limits, lengths))
    assert len(received) >= 100  # in 4 s two "hours" of 90; that none is wasted at all, the simulation shows
