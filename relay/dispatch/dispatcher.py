"""Dispatcher: claims what is due as connections are free, attempts it, settles what came of it.

Woken by commits, outcomes and due times, never by a poll. A delivery reaches an attempt in one of two ways: handed over by
intake right after its commit (`reserve`, then `start`), or claimed from the store. Either way it is leased, and every lease
ends in `settle` or `release`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from functools import partial

from relay.clock import MILLISECOND, SECOND, Clock
from relay.contracts.queue import MessageQueue
from relay.dispatch.attempt import Attempter
from relay.dispatch.breaker import elsewhere
from relay.dispatch.lane import Ask, Lane
from relay.dispatch.lanes import FindAccount, Lanes
from relay.dispatch.leases import Lease, Leases
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

STORE_PAUSE = 1 * SECOND
"""How long to wait before asking a store again that did not answer."""
CONTENDED_PAUSE = 20 * MILLISECOND
"""How long to wait when what is due was locked by another instance's claim."""
KEPT_FREE = 10
"""One slot of so many is for accounts that use none: a few slow ones cannot take the instance."""


class Dispatcher:
    """Holds the ways, their lanes and the concurrency; satisfies contracts.Handover."""

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
        self._max_concurrent = max_concurrent
        self._kept_free = max_concurrent // KEPT_FREE
        self._active = active
        self._on_open = on_open
        self._lanes = Lanes(clock, share, find_account, self._spawn)
        self._in_flight = 0
        """Deliveries from a slot to the end of their lease, and slots of claims on their way: what the instance may hold."""
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._quiet = asyncio.Event()
        """Nothing is in flight any more, for who stops."""
        self._loop_task: asyncio.Task[None] | None = None
        self._stopping = False

    # -- what intake and the store tell -------------------------------------------------------------------------------

    def reserve(self, account: Account, queue_key: str) -> _Slot | None:
        """A slot for a delivery about to be committed, where nothing older waits for its account."""
        lane = self._lanes.find(queue_key)
        way = lane.way
        if account is not way.account:
            way.resize(account)
        if (
            way.is_limited  # its slots are taken in the store
            or not self._active
            or self._stopping
            or way.pending
            or not way.breaker.is_closed
            or self._room(way) <= 0
            or (not lane.is_idle and lane.has_backlog(self._clock.now()))
        ):
            return None
        lane.served += 1
        way.in_flight += 1
        self._in_flight += 1
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
        return LaneStanding(self._active, way.free, way.capacity, breaker.faults, breaker.ailment, breaker.open_until)

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
        return self._in_flight

    @property
    def active(self) -> bool:
        """Whether anything is attempted."""
        return self._active

    def set_active(self, active: bool) -> None:
        """Stop or start the scheduler; attempts under way go on."""
        self._active = active
        for lane in self._lanes:
            self._lanes.look(lane)

    # -- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Learn what waits in the store and begin."""
        await self.refresh()
        self._loop_task = asyncio.create_task(self._run(), name="dispatch")

    async def refresh(self) -> None:
        """Learn what waits in the store: a wake that never came, as of a commit whose fate was not known, is made good."""
        for head in await self._queue.heads():
            self.wake(head.queue_key, head.next_due)

    async def stop(self, deadline: float) -> None:
        """Claim no more; let attempts end within `deadline` seconds, then cut them; every lease is settled or released."""
        self._stopping = True
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
                while self._in_flight or self._tasks:
                    self._quiet.clear()
                    await self._quiet.wait()
        except TimeoutError:
            return False
        return True

    # -- slots ---------------------------------------------------------------------------------------------------------

    def begin(self, way: Way, delivery: LeasedDelivery) -> None:
        """Attempt a leased delivery in a slot already taken."""
        if self._stopping:
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

    # -- the loop -----------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            self._lanes.wake.clear()
            try:
                self._look_around(self._clock.now())
            except Exception:  # a bug met with one lane must not end the sending for all
                log.exception("dispatch failed; it goes on in a moment")
                await self._clock.pause(STORE_PAUSE)
                self._lanes.wake.set()
            await self._clock.wait(self._lanes.wake, self._lanes.next_timer)

    def _look_around(self, now: int) -> None:
        """Everything whose time has come, and everything that was told."""
        self._lanes.ring(now)
        # Those with the least on its way first: the room of the instance is theirs before it is the others'.
        for way in sorted(self._lanes.waiting, key=lambda way: way.in_flight):
            self._claim_for(way, now)

    def _claim_for(self, way: Way, now: int) -> None:
        """Send claims for the lanes that have something due, as far as there are slots; the others wait for an event or
        their time."""
        if not self._active or self._stopping:
            return
        for lane in [lane for lane in way.pending if not lane.may_claim(now) or way.breaker.open_until > now]:
            del way.pending[lane]
            if (at := lane.next_look(now)) is not None:
                self._lanes.look_at(lane, at)
        self._share_out(way, way.pending, now)
        if not way.pending:
            self._lanes.waiting.pop(way, None)

    def _share_out(self, way: Way, lanes: Iterable[Lane], now: int) -> None:
        slots = min(way.allowance(now), self._room(way))
        for lane, share in way.share(slots, lanes).items():
            way.pending.pop(lane, None)
            self._in_flight += share
            if (ask := lane.ask(share)) is not None:
                self._spawn(self._claim(lane, ask))

    def _room(self, way: Way) -> int:
        """How many more slots this way may take of the instance's, and of its own; below zero where it has too many."""
        room = self._max_concurrent - self._in_flight
        if way.in_flight:
            room -= self._kept_free
        return min(way.room, room)

    def _fill(self, lane: Lane, ask: Ask) -> int:
        """A claim's transaction begins: what has come free meanwhile goes along, as far as it is this lane's."""
        if ask is lane.open_ask:
            way, now = lane.way, self._clock.now()
            if self._active and not self._stopping:
                self._share_out(way, [one for one in {**way.asking, **way.pending} if one.may_claim(now)], now)
            lane.begin(ask)
            if lane.is_long:
                self._lanes.join(lane)
        return ask.slots

    async def _claim(self, lane: Lane, ask: Ask) -> None:
        claim = None
        try:
            claim = await self._queue.claim(lane.queue_key, partial(self._fill, lane, ask))
        except StoreUnavailable as error:
            log.warning("claim of %s: %s", lane.queue_key, error)
        except Exception:  # a bug must not leave the lane's mail waiting for ever
            log.exception("claim of %s failed", lane.queue_key)
        finally:
            now = self._clock.now()
            self._in_flight -= lane.end(ask, claim, now)
        if claim is None:
            self._lanes.look_at(lane, now + STORE_PAUSE)
        elif lane.is_due(now) and not (claim.deliveries or claim.again) and claim.blocked_until is None:
            self._lanes.look_at(lane, now + CONTENDED_PAUSE)
        else:
            self._lanes.look(lane)
        self._lanes.offer_room()
        for delivery in claim.deliveries if claim else ():
            self.begin(lane.way, delivery)

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
                    self._claim_for(way, self._clock.now())
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
        self._in_flight -= 1
        self._lanes.offer_room()
        if self._stopping:
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
        if self._stopping:
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
