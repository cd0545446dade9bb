"""Dispatcher: has what is due claimed as connections are free, attempts it, settles what came of it.

Woken by commits, outcomes and due times, never by a poll. A delivery reaches an attempt in one of two ways: handed over by
intake right after its commit (`reserve`, then `start`), or claimed from the store (relay.dispatch.claims). Either way it is
leased, and every lease ends in `settle` or `release`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial

from relay.clock import Clock
from relay.contracts.queue import MessageQueue
from relay.dispatch.attempt import Attempter
from relay.dispatch.breaker import elsewhere
from relay.dispatch.claims import Claims
from relay.dispatch.lanes import FindAccount, Lanes
from relay.dispatch.leases import Lease, Leases
from relay.dispatch.room import Room
from relay.dispatch.settler import Settler
from relay.dispatch.way import Way
from relay.errors import StoreUnavailable
from relay.model.delivery import LeasedDelivery, Settlement
from relay.model.explanation import LaneStanding
from relay.model.health import AccountHealth
from relay.model.message import DeliveryState
from relay.model.queue_key import account_key_of
from relay.model.tenant import Account

log = logging.getLogger(__name__)


class Dispatcher:
    """Holds the lanes, and every delivery from its slot to the end of its lease; satisfies contracts.Handover."""

    def __init__(
        self,
        *,
        queue: MessageQueue,
        attempter: Attempter,
        leases: Leases,
        settler: Settler,
        clock: Clock,
        max_concurrent: int,
        active: bool = True,
        on_open: Callable[[int], None] = lambda _: None,
        on_expiry: Callable[[int | None], None] = lambda _: None,
        share: Callable[[int, str], int] | None = None,
        find_account: FindAccount | None = None,
    ) -> None:
        """`on_open` is told how many more deliveries are open than before, or fewer; `on_expiry` when one that waits will be
        too late. Where other processes send for the same instance, `share` says how many of an account's connections are
        ours (relay.workers.share), which may be none until `find_account` has been asked for it by its key."""
        self._on_expiry = on_expiry
        self._queue = queue
        self._attempter = attempter
        self._leases = leases
        self._settler = settler
        self._clock = clock
        self._on_open = on_open
        self._room = Room(max_concurrent, active=active)
        self._lanes = Lanes(clock, share, find_account, self._spawn)
        self._claims = Claims(queue, self._lanes, self._room, clock, self._spawn, self.begin)
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._quiet = asyncio.Event()
        """Nothing is in flight any more, for who stops."""
        self._loop_task: asyncio.Task[None] | None = None

    # -- what intake and the store tell -------------------------------------------------------------------------------

    def reserve(self, account: Account, queue_key: str) -> _Slot | None:
        """A slot for a delivery about to be committed, where nothing older waits for its account."""
        lane = self._lanes.find(queue_key)
        way = lane.way
        if account is not way.account:
            way.resize(account)
        if (
            way.is_limited  # its slots are taken in the store
            or not self._room.active
            or self._room.stopping
            or way.pending
            or not way.breaker.is_closed
            or self._room.left(way) <= 0
            or (not lane.is_idle and lane.has_backlog(self._clock.now()))
        ):
            return None
        lane.served += 1
        way.in_flight += 1
        self._room.in_flight += 1
        return _Slot(self, way)

    def wake(self, queue_key: str, due: int, expires_at: int | None = None) -> None:
        """A delivery of this queue is ready in the store, due at `due` and too late at `expires_at`."""
        self._on_expiry(expires_at)
        lane = self._lanes.find(queue_key)
        lane.note_due(due)
        self._lanes.look(lane)

    def reopen(self, limit_key: str) -> None:
        """A slot under this limit was given back."""
        for lane in self._lanes:
            if limit_key in lane.limit_keys:
                lane.reopen()
                self._lanes.look(lane)

    def hear_of_account(self, health: AccountHealth) -> None:
        """Another process of this instance has found an account out of order, or well again."""
        way = self._lanes.way(health.account_key)
        way.breaker = elsewhere(health)
        for lane in self._lanes.of(way):
            self._lanes.look(lane)

    def look_again(self) -> None:
        """The configuration has changed: paused accounts are tried at once, since what ailed them may be mended, and so is
        what had reached a limit or was suspended."""
        for way in self._lanes.ways:
            self._lanes.learn(way)
            if not way.breaker.is_closed:
                way.breaker = way.breaker.try_now()
        for lane in self._lanes:
            lane.reopen()
            self._lanes.look(lane)

    def standing(self, queue_key: str) -> LaneStanding:
        """How dispatch stands towards a queue."""
        way = self._lanes.peek(account_key_of(queue_key))
        breaker = way.breaker
        return LaneStanding(
            self._room.active, way.free, way.capacity, breaker.faults, breaker.ailment, breaker.open_until
        )

    @property
    def paused(self) -> list[tuple[str, str]]:
        """The queues behind paused accounts, and what ails each account."""
        return [(lane.queue_key, lane.way.breaker.ailment) for lane in self._lanes if not lane.way.breaker.is_closed]

    @property
    def paused_accounts(self) -> int:
        """How many accounts are paused by a fault of their own."""
        return sum(not way.breaker.is_closed for way in self._lanes.ways)

    @property
    def in_flight(self) -> int:
        """Deliveries held, or about to be."""
        return self._room.in_flight

    @property
    def active(self) -> bool:
        """Whether anything is attempted."""
        return self._room.active

    def set_active(self, active: bool) -> None:
        """Stop or start the scheduler; attempts under way go on."""
        self._room.active = active
        for lane in self._lanes:
            self._lanes.look(lane)

    # -- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Learn what waits in the store and begin."""
        await self.refresh()
        self._loop_task = asyncio.create_task(self._claims.run(), name="dispatch")

    async def refresh(self) -> None:
        """Learn what waits in the store: a wake that never came, as of a commit whose fate was not known, is made good."""
        for head in await self._queue.heads():
            self.wake(head.queue_key, head.next_due)

    async def stop(self, deadline: float) -> None:
        """Claim no more; let attempts end within `deadline` seconds, then cut them; every lease is settled or released."""
        self._room.stopping = True
        if self._loop_task is not None:
            self._loop_task.cancel()
            await asyncio.gather(self._loop_task, return_exceptions=True)
        if not await self._calm_down(deadline):
            if cut := self._leases.cut_all():
                log.warning("%d attempts did not end within %.0f s and are cut", cut, deadline)
            self._settler.give_up()
            for task in self._tasks:
                task.cancel()
            await self._calm_down(5)

    async def _calm_down(self, deadline: float) -> bool:
        """Wait until nothing is under way; whether it came to that."""
        try:
            async with asyncio.timeout(deadline):
                while self._room.in_flight or self._tasks:
                    self._quiet.clear()
                    await self._quiet.wait()
        except TimeoutError:
            return False
        return True

    # -- slots ---------------------------------------------------------------------------------------------------------

    def begin(self, way: Way, delivery: LeasedDelivery) -> None:
        """Attempt a leased delivery in a slot already taken."""
        if self._room.stopping:
            self.give_back(way)
            self.release(delivery)
        else:
            lease = self._leases.add(delivery)
            lease.task = self._loop.create_task(self._attempt(way, lease))

    def give_back(self, way: Way) -> None:
        """A slot that was not used."""
        way.in_flight -= 1
        self._end_one()

    def release(self, delivery: LeasedDelivery) -> None:
        """Give a lease back in the background."""
        self._spawn(self._release(delivery))

    # -- attempts ------------------------------------------------------------------------------------------------------

    async def _attempt(self, way: Way, lease: Lease) -> None:
        """One leased delivery from here to its outcome. Then its slot is free; the settlement is on its way to the store."""
        settlement = None
        try:
            settlement = await self._attempter.attempt(way, lease)
        except Exception:
            log.exception("%s: attempt failed; it is taken up again when its lease has run out", lease.delivery.id)
        finally:
            way.in_flight -= 1
            if settlement is not None:
                way.settling += 1
            try:
                if way.pending:  # then the claim of what goes next shares a transaction with this settlement
                    self._claims.claim_for(way, self._clock.now())
            finally:
                if settlement is not None:
                    self._settler.settle(lease, settlement, partial(self._settled, way))
                else:
                    self._leases.remove(lease)
                    self._end_one()

    def _settled(self, way: Way, lease: Lease, settlement: Settlement | None) -> None:
        """It is written, or its lease was lost."""
        way.settling -= 1
        if settlement is not None:
            if settlement.state is DeliveryState.DONE:
                self._on_open(-1)
            elif settlement.state is DeliveryState.READY:
                self.wake(settlement.queue_key, settlement.due, lease.delivery.message.expires_at)
                for part in settlement.parts:
                    self._on_open(1)
                    self.wake(part.queue_key, settlement.due)
        self._end_one()

    def _end_one(self) -> None:
        """One less is in flight."""
        self._room.in_flight -= 1
        self._lanes.offer_room()
        if self._room.stopping:
            self._quiet.set()

    async def _release(self, delivery: LeasedDelivery) -> None:
        """Give a lease back, as long as it takes: a store that does not answer keeps it until it runs out."""
        try:
            await self._queue.release([delivery])
            self.wake(delivery.queue_key, delivery.due, delivery.message.expires_at)
        except StoreUnavailable as error:
            log.warning("%s: lease not given back (%s); it is taken up again when it has run out", delivery.id, error)

    # -- small change -------------------------------------------------------------------------------------------------

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._room.stopping:
            self._quiet.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("dispatch task failed", exc_info=error)


class _Slot:
    """A place kept for one delivery; exactly one of its methods is called, once."""

    __slots__ = ("_dispatcher", "_way")

    def __init__(self, dispatcher: Dispatcher, way: Way) -> None:
        self._dispatcher = dispatcher
        self._way = way

    def start(self, delivery: LeasedDelivery) -> None:
        """Attempt it now."""
        self._dispatcher.begin(self._way, delivery)

    def give_back(self) -> None:
        """Nothing was committed."""
        self._dispatcher.give_back(self._way)

    def abandon(self, delivery: LeasedDelivery) -> None:
        """It may have been committed: release the lease if there is one."""
        self._dispatcher.give_back(self._way)
        self._dispatcher.release(delivery)
