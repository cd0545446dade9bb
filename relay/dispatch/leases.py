"""Leases: renews those whose attempts take long, and cuts an attempt whose lease was lost.

An attempt is short against a lease (milliseconds against minutes), so most are never renewed. One that is still running
after a third of the lease is renewed every third; the store alone says whether it is still ours. Where it cannot be asked,
or we were frozen, our own clock says whether it can be: without a lease no attempt sends its final dot, because another
instance may have begun one.
"""

from __future__ import annotations

import asyncio
import logging

from relay.clock import Clock
from relay.contracts.queue import MessageQueue
from relay.errors import StoreUnavailable
from relay.metrics import Metrics
from relay.model.delivery import LeasedDelivery

log = logging.getLogger(__name__)


class Lease:
    """One that is held, from the claim until the outcome is written."""

    __slots__ = ("delivery", "since", "superseded", "task")

    def __init__(self, delivery: LeasedDelivery, since: int) -> None:
        self.delivery = delivery
        self.since = since
        """When it was taken or last renewed, as counted from boot."""
        self.superseded = False
        """It ran out unrenewed, and was taken anew by us."""
        self.task: asyncio.Task[None] | None = None
        """Its attempt. None: it has an outcome; the lease is renewed until that is written, and nothing is cut any more."""


class Leases:
    """The leases this instance holds."""

    def __init__(self, queue: MessageQueue, clock: Clock, metrics: Metrics, lease: int) -> None:
        """`lease` in µs."""
        self.lease = lease
        self._queue = queue
        self._clock = clock
        self._metrics = metrics
        self._trusted = lease * 9 // 10  # a tenth for the commit that began it
        self._held: dict[str, Lease] = {}

    def add(self, delivery: LeasedDelivery) -> Lease:
        """It is ours from now on."""
        before = self._held.get(delivery.id)
        lease = self._held[delivery.id] = Lease(delivery, self._clock.boot())
        if before is not None:
            before.superseded = True
            self._cut(before)
        return lease

    def holds(self, lease: Lease) -> bool:
        """Whether it can still be ours, by a clock that counts the time in which we were frozen."""
        return not lease.superseded and self._clock.boot() - lease.since < self._trusted

    def remove(self, lease: Lease) -> None:
        """It is settled or released, once."""
        if not lease.superseded:
            del self._held[lease.delivery.id]

    def cut_all(self) -> int:
        """Cut what is still attempted; answers how many attempts that were."""
        running = [lease.task for lease in self._held.values() if lease.task is not None]
        for task in running:
            task.cancel()
        return len(running)

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

    def _cut(self, held: Lease) -> None:
        if held.task is None:  # whoever writes its outcome is told by the store
            return
        log.warning("%s: lease lost while it was attempted; the attempt is cut", held.delivery.id)
        self._metrics.leases_lost.inc()
        held.task.cancel()
