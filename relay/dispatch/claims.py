"""Claims: what is due in the store is leased as connections come free, shared out among the lanes that wait for them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Iterable
from functools import partial

from relay.clock import MILLISECOND, SECOND, Clock
from relay.contracts.queue import MessageQueue
from relay.dispatch.lane import Ask, Lane
from relay.dispatch.lanes import Lanes
from relay.dispatch.room import Room
from relay.dispatch.way import Way
from relay.errors import StoreUnavailable
from relay.model.delivery import LeasedDelivery

log = logging.getLogger(__name__)

STORE_PAUSE = 1 * SECOND
"""How long to wait before asking a store again that did not answer, and after an error of ours."""
CONTENDED_PAUSE = 20 * MILLISECOND
"""How long to wait when what is due was locked by another instance's claim."""


class Claims:
    """Those of all lanes."""

    def __init__(
        self,
        queue: MessageQueue,
        lanes: Lanes,
        room: Room,
        clock: Clock,
        spawn: Callable[[Coroutine[None, None, None]], None],
        begin: Callable[[Way, LeasedDelivery], None],
    ) -> None:
        """`spawn` does something in the background; `begin` attempts a leased delivery in a slot already taken."""
        self._queue = queue
        self._lanes = lanes
        self._room = room
        self._clock = clock
        self._spawn = spawn
        self._begin = begin

    async def run(self) -> None:
        """For ever: claim what can be claimed, then wait until there is more or its time has come."""
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
            self.claim_for(way, now)

    def claim_for(self, way: Way, now: int) -> None:
        """Send claims for the lanes that have something due, as far as there are slots; the others wait for an event or
        their time."""
        if not self._room.active or self._room.stopping:
            return
        for lane in [lane for lane in way.pending if not lane.may_claim(now) or way.breaker.open_until > now]:
            del way.pending[lane]
            if (at := lane.next_look(now)) is not None:
                self._lanes.look_at(lane, at)
        self._share_out(way, way.pending, now)
        if not way.pending:
            self._lanes.waiting.pop(way, None)

    def _share_out(self, way: Way, lanes: Iterable[Lane], now: int) -> None:
        slots = min(way.allowance(now), self._room.left(way))
        for lane, share in way.share(slots, lanes).items():
            way.pending.pop(lane, None)
            self._room.in_flight += share
            if (ask := lane.ask(share)) is not None:
                self._spawn(self._claim(lane, ask))

    def _fill(self, lane: Lane, ask: Ask) -> int:
        """A claim's transaction begins: what has come free meanwhile goes along, as far as it is this lane's."""
        if ask is lane.open_ask:
            way, now = lane.way, self._clock.now()
            if self._room.active and not self._room.stopping:
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
            self._room.in_flight -= lane.end(ask, claim, now)
        if claim is None:
            self._lanes.look_at(lane, now + STORE_PAUSE)
        elif lane.is_due(now) and not (claim.deliveries or claim.again) and claim.blocked_until is None:
            self._lanes.look_at(lane, now + CONTENDED_PAUSE)
        else:
            self._lanes.look(lane)
        self._lanes.offer_room()
        for delivery in claim.deliveries if claim else ():
            self._begin(lane.way, delivery)
