"""Expiry: mail whose time passes while it waits is settled when its time comes, not when its turn comes.

Its turn may be far off: behind a long queue, a paused account, a limit, a suspension. The store finds it by its time, so
that this costs what has expired and never what waits; a timer is set for the next one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from relay.clock import SECOND, Clock
from relay.contracts.queue import MessageQueue
from relay.dispatch.attempt import Attempter
from relay.dispatch.recipient import waited_too_long
from relay.dispatch.settler import Settler
from relay.dispatch.untried import settle_expired
from relay.errors import StoreUnavailable
from relay.model.delivery import Claim, LeasedDelivery
from relay.model.message import DeliveryState

log = logging.getLogger(__name__)

AT_ONCE = 100
STORE_PAUSE = 1 * SECOND
"""How long to wait where the store does not answer, or others hold what is late."""
_NEVER = 1 << 62


class Expiry:
    """`note` whatever waits and has a time; `run` for ever."""

    def __init__(
        self,
        queue: MessageQueue,
        attempter: Attempter,
        settler: Settler,
        clock: Clock,
        on_done: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_done` is called for each delivery that has expired."""
        self._queue = queue
        self._attempter = attempter
        self._settler = settler
        self._clock = clock
        self._on_done = on_done
        self._next = 0
        self._sooner = asyncio.Event()

    def note(self, expires_at: int | None) -> None:
        """A delivery waits in the store, and will be too late then."""
        if expires_at is not None and expires_at < self._next:
            self._next = expires_at
            self._sooner.set()

    def look_again(self) -> None:
        """There may be some that were not noted: of an instance that is no more."""
        self.note(0)

    async def run(self) -> None:
        """Settle what has expired, when it does."""
        while True:
            if self._next <= self._clock.now():
                self._next = _NEVER
                try:
                    self.note(await self._expire_late())
                except StoreUnavailable as error:
                    log.warning("expired mail: %s", error)
                    self.note(self._clock.now() + STORE_PAUSE)
                except Exception:  # a bug met with one must not keep the others waiting for ever
                    log.exception("expired mail could not be settled; tried again in a moment")
                    self.note(self._clock.now() + STORE_PAUSE)
            self._sooner.clear()
            await self._clock.wait(self._sooner, self._next if self._next < _NEVER else None)

    async def _expire_late(self) -> int | None:
        """Everything that is late; when the next will be."""
        while True:
            claim = await self._queue.claim_expired(AT_ONCE)
            await self._settle(claim)
            if not claim.deliveries:
                # What is late and cannot be claimed, another instance is just settling.
                return claim.next_due and max(claim.next_due, self._clock.now() + STORE_PAUSE // 10)

    async def expire_behind(self, paused: Iterable[tuple[str, str]]) -> None:
        """Settle what has waited too long for paused accounts: the queues of each, and what ails it."""
        for queue_key, ailment in paused:
            wait = await self._attempter.longest_wait(queue_key)
            while (claim := await self._queue.claim_overdue(queue_key, wait, AT_ONCE)).deliveries:
                await self._settle(claim, waited_too_long(ailment))

    async def _settle(self, claim: Claim, reason: str | None = None) -> None:
        await asyncio.gather(*(self._expire(delivery, reason) for delivery in claim.deliveries))

    async def _expire(self, delivery: LeasedDelivery, reason: str | None) -> None:
        expired = settle_expired(delivery, self._clock.now(), reason)
        settlement = await self._settler.settle_untried(delivery, expired)
        if settlement is not None and settlement.state is DeliveryState.DONE:
            self._on_done()
