"""Lanes: the queues that dispatch knows of, the accounts behind them, and which of them are to be looked at, and when."""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterator

from relay.clock import Clock
from relay.dispatch.lane import Lane
from relay.dispatch.way import Way
from relay.errors import StoreUnavailable
from relay.model.queue_key import account_key_of
from relay.model.tenant import Account

log = logging.getLogger(__name__)

FindAccount = Callable[[str], Awaitable[Account | None]]


class Lanes:
    """`wake` is set when something is to be looked at before the next timer."""

    def __init__(
        self,
        clock: Clock,
        share: Callable[[int, str], int] | None,
        find_account: FindAccount | None,
        spawn: Callable[[Coroutine[None, None, None]], None],
    ) -> None:
        """`share` and `find_account` as the Dispatcher has them; `spawn` does something in the background."""
        self._clock = clock
        self._share = share
        self._find_account = find_account
        self._spawn = spawn
        self._ways: dict[str, Way] = {}
        self._lanes: dict[str, Lane] = {}
        self._timers: list[tuple[int, str]] = []
        self.waiting: dict[Way, None] = {}
        """Ways with lanes that have something due, as far as is known."""
        self.wake = asyncio.Event()

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes.values())

    def find(self, queue_key: str) -> Lane:
        """The lane of a queue."""
        lane = self._lanes.get(queue_key)
        if lane is None:
            lane = self._lanes[queue_key] = Lane(queue_key, self.way(account_key_of(queue_key)))
        return lane

    def way(self, account_key: str) -> Way:
        """The way of an account."""
        way = self._ways.get(account_key)
        if way is None:
            way = self._ways[account_key] = Way(account_key, self.offer_room, self._share)
            self.learn(way)
        return way

    @property
    def ways(self) -> Iterator[Way]:
        """Those known."""
        return iter(self._ways.values())

    def peek(self, account_key: str) -> Way:
        """The way of an account, to look at: a new one is not remembered."""
        return self._ways.get(account_key) or Way(account_key)

    def of(self, way: Way) -> list[Lane]:
        """Those that use it."""
        return [lane for lane in self._lanes.values() if lane.way is way]

    # -- who is looked at ----------------------------------------------------------------------------------------------

    def look(self, lane: Lane) -> None:
        """Something of the lane has changed: look at it now if anything is due, else when it is."""
        if lane.next_due is None:
            return
        if lane.next_due <= self._clock.now():
            self.join(lane)
            self.wake.set()
        else:
            self.look_at(lane, lane.next_due)

    def look_at(self, lane: Lane, at: int) -> None:
        """Look at the lane again at `at`, unless that is to happen earlier anyway."""
        if lane.timer is None or at < lane.timer:
            lane.timer = at
            heapq.heappush(self._timers, (at, lane.queue_key))
            self.wake.set()

    def join(self, lane: Lane) -> None:
        """It has something due: look at it with the others."""
        lane.way.join(lane)
        self.waiting[lane.way] = None

    def offer_room(self) -> None:
        """A slot may be free: lanes that wait for one are looked at again."""
        if self.waiting:
            self.wake.set()

    def ring(self, now: int) -> None:
        """The time of some has come."""
        while self._timers and self._timers[0][0] <= now:
            at, queue_key = heapq.heappop(self._timers)
            lane = self.find(queue_key)
            if lane.timer == at:  # else an earlier one took its place
                lane.timer = None
                self.join(lane)

    @property
    def next_timer(self) -> int | None:
        """When the next one's time comes."""
        return self._timers[0][0] if self._timers else None

    # -- how many connections there are ---------------------------------------------------------------------------------

    def learn(self, way: Way) -> None:
        """What the account may have, where it cannot be learnt by sending: no connection of it may be ours yet."""
        if self._find_account is not None:
            self._spawn(self._resize(way, self._find_account))

    async def _resize(self, way: Way, find_account: FindAccount) -> None:
        try:
            account = await find_account(way.account_key)
        except StoreUnavailable as error:
            log.warning("account %s: %s", way.account_key, error)
            return
        if account is not None:
            way.resize(account)
