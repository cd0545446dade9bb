"""Leases: renews those whose attempts take long, and cuts an attempt whose lease was lost.

An attempt is short against a lease (milliseconds against minutes), so most are never renewed. One that is still running
after a third of the lease is renewed every third; the store alone says whether it is still ours. Where it cannot be asked,
or we were frozen, our own clock says whether it can be: without a lease no attempt sends its final dot, because another
instance may have begun one.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from relay.clock import Clock
from relay.contracts import MessageQueue
from relay.errors import StoreUnavailable
from relay.metrics import Metrics
from relay.model.delivery import LeasedDelivery

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Held:
    delivery: LeasedDelivery
    task: asyncio.Task[None] | None
    since: int
    """When it was taken or last renewed, as counted from boot."""


class Leases:
    """The leases this instance holds."""

    def __init__(self, queue: MessageQueue, clock: Clock, metrics: Metrics, lease: int) -> None:
        """`lease` in µs."""
        self.lease = lease
        self._queue = queue
        self._clock = clock
        self._metrics = metrics
        self._held: dict[str, _Held] = {}

    def add(self, delivery: LeasedDelivery) -> None:
        """The current task attempts it from now on."""
        before = self._held.get(delivery.id)
        self._held[delivery.id] = _Held(delivery, asyncio.current_task(), self._clock.boot())
        if before is not None:  # its lease ran out unrenewed, and has come back to us
            self._cut(before)

    def conclude(self, delivery: LeasedDelivery) -> None:
        """It has an outcome: the lease is renewed until that is written, and nothing is cut any more."""
        held = self._held.get(delivery.id)
        if held is not None and held.delivery.attempt == delivery.attempt:
            held.task = None

    def holds(self, delivery: LeasedDelivery) -> bool:
        """Whether the lease can still be ours, by a clock that counts the time in which we were frozen."""
        held = self._held.get(delivery.id)
        return (
            held is not None
            and held.delivery.attempt == delivery.attempt
            and self._clock.boot() - held.since < self.lease * 9 // 10  # a tenth for the commit that began it
        )

    def remove(self, delivery: LeasedDelivery) -> None:
        """It is settled or released."""
        held = self._held.get(delivery.id)
        if (
            held is not None and held.delivery.attempt == delivery.attempt
        ):  # not of a lease taken after this one was lost
            del self._held[delivery.id]

    async def run(self) -> None:
        """Renew for ever."""
        while True:
            await self._clock.pause(self.lease // 3)
            await self.renew()

    async def renew(self) -> None:
        """Renew what has been held for a third of the lease; cut the attempts of what was lost."""
        began = self._clock.boot()
        old = [held for held in self._held.values() if began - held.since >= self.lease // 3]
        if not old:
            return
        try:
            kept = await self._queue.renew([held.delivery for held in old])
        except StoreUnavailable as error:
            log.warning("leases of %d running attempts not renewed: %s", len(old), error)
            return
        for held in old:
            if held.delivery.id in kept:
                held.since = began
            elif self._held.get(held.delivery.id) is held:
                self._cut(held)

    def _cut(self, held: _Held) -> None:
        if held.task is None:  # whoever writes its outcome is told by the store
            return
        log.warning("%s: lease lost while it was attempted; the attempt is cut", held.delivery.id)
        self._metrics.leases_lost.inc()
        held.task.cancel()
