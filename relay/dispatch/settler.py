"""Settler: writes what attempts brought, and tells of it once it stands.

What follows from the commit hangs on the commit, and not on the attempt: its connection is free for the next one meanwhile,
and nobody is there to be cut. What a server has said must not be forgotten for a store's hiccup: a settlement that could not
be written is tried again, as long as its lease can last.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from relay.clock import SECOND, Clock
from relay.contracts.queue import MessageQueue
from relay.dispatch.leases import Lease, Leases
from relay.dispatch.untried import hold_back
from relay.errors import StoreUnavailable
from relay.maillog import MailLog
from relay.metrics import Metrics
from relay.model.delivery import LeasedDelivery, Settlement

log = logging.getLogger(__name__)

SETTLE_PAUSE = 1 * SECOND

Settled = Callable[[Lease, Settlement | None], None]
"""Told what was written; None when the lease had been lost, or the store does not answer."""


class Settler:
    """Every settlement of this instance goes through it."""

    def __init__(self, queue: MessageQueue, leases: Leases, clock: Clock, log: MailLog, metrics: Metrics) -> None:
        self._queue = queue
        self._leases = leases
        self._clock = clock
        self._log = log
        self._metrics = metrics
        self._insisting: set[asyncio.Task[None]] = set()
        self._giving_up = asyncio.Event()

    def settle(self, lease: Lease, settlement: Settlement, then: Settled) -> None:
        """Put it into the store's next transaction; what has an outcome is not cut any more."""
        lease.task = None
        try:
            writing = self._queue.settle(settlement)
        except Exception as fault:  # of what is to be written, found before it was on its way
            self._begin_to_insist(lease, settlement, then, fault)
        else:
            writing.add_done_callback(partial(self._written, lease, settlement, then))

    async def settle_untried(self, delivery: LeasedDelivery, settlement: Settlement) -> Settlement | None:
        """Of a lease that is not to be attempted: what was written, as Settled is told it."""
        done: asyncio.Future[Settlement | None] = asyncio.get_running_loop().create_future()

        def tell(_: Lease, written: Settlement | None) -> None:
            if not done.done():  # else nobody waits any more
                done.set_result(written)

        self.settle(self._leases.add(delivery), settlement, tell)
        return await done

    def give_up(self) -> None:
        """The end of a stop: what could not be written is left to the end of its lease."""
        self._giving_up.set()

    def _written(self, lease: Lease, settlement: Settlement, then: Settled, writing: asyncio.Future[bool]) -> None:
        try:
            held = writing.result()
        except Exception as fault:
            self._begin_to_insist(lease, settlement, then, fault)
        else:
            self._conclude(lease, settlement, then, held=held)

    def _conclude(self, lease: Lease, settlement: Settlement, then: Settled, *, held: bool) -> None:
        self._leases.remove(lease)
        if held:
            self._log.events(settlement.events)
            self._metrics.events(settlement.events)
            then(lease, settlement)
            return
        self._metrics.leases_lost.inc()
        log.warning(
            "%s: lease had been lost; the outcome of attempt %d was not written",
            settlement.delivery,
            settlement.attempt,
        )
        then(lease, None)

    def _begin_to_insist(self, lease: Lease, settlement: Settlement, then: Settled, fault: Exception) -> None:
        task = asyncio.create_task(self._insist(lease, settlement, then, fault))
        self._insisting.add(task)
        task.add_done_callback(self._insisting.discard)

    async def _insist(self, lease: Lease, settlement: Settlement, then: Settled, fault: Exception) -> None:
        """It could not be written: again and again, or, where it is at fault itself, nothing of it but that it waits."""
        give_up_at = self._clock.boot() + self._leases.lease * 2 // 3
        held_back = False
        while True:
            if isinstance(fault, StoreUnavailable):
                if self._clock.boot() >= give_up_at or await self._clock.pause(SETTLE_PAUSE, self._giving_up):
                    break
            elif held_back:
                break
            else:  # sent again and again with nothing written: there is no worse relay
                log.error(
                    "%s: outcome cannot be written; the delivery is held back", settlement.delivery, exc_info=fault
                )
                settlement, held_back = hold_back(settlement), True
            try:
                held = await self._queue.settle(settlement)
            except Exception as error:
                fault = error
            else:
                self._conclude(lease, settlement, then, held=held)
                return
        log.warning("%s: not settled (%s); it is taken up again when its lease has run out", settlement.delivery, fault)
        self._leases.remove(lease)
        then(lease, None)
