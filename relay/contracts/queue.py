"""The queue, and the outbound pool as intake sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from relay.model.delivery import Claim, LeasedDelivery, NewMessage, QueueHead, Settlement
from relay.model.explanation import LimitStanding
from relay.model.message import QueueId
from relay.model.quick import quick
from relay.model.tenant import Account


@quick
@dataclass(frozen=True, slots=True)
class Accepted:
    """The queue's answer: the message's id; `replayed` when it had come before, as its key tells."""

    id: QueueId
    replayed: bool = False
    replaces: QueueId | None = None
    """It is an edit of this one, which had its client id and was still queued; that one is gone."""
    suppressed: frozenset[str] = frozenset()
    """Recipients that stand on the tenant's list, and are not sent to."""


class MessageQueue(Protocol):
    """The durable queue. Leases are held by this instance; their clock is the store's own affair."""

    def accept(self, new: NewMessage) -> asyncio.Future[Accepted]:
        """Commit a message with its recipients, content, delivery and events; durable when this is done.

        One whose client id a message has that was never attempted takes its place; of one that failed or was cancelled it
        takes the client id. Raises Rejected (DUPLICATE_CLIENT_ID, IDEMPOTENCY_MISMATCH). Not undone when who
        waits is cancelled.
        """

    async def keep_refused(self, refused: NewMessage) -> bool:
        """Write down, as failed, a message that was not accepted, for its client's reports. False: a message has its client
        id and does not give it up, so nothing was written."""

    async def claim(self, queue_key: str, limit: int | Callable[[], int]) -> Claim:
        """Lease up to `limit` due deliveries of one queue: by priority, then by due time. Their attempt number rises.
        A function is asked for it right before they are looked for, perhaps more than once. What is committed while it runs
        it may see or not: whoever waits for that is told of it apart."""

    async def claim_expired(self, limit: int) -> Claim:
        """Lease up to `limit` deliveries that wait although their message has expired, of any queue, earliest first. The
        claim's `next_due` is when the next one expires."""

    async def claim_overdue(self, queue_key: str, wait: int, limit: int) -> Claim:
        """Lease up to `limit` deliveries of one queue that have been due for `wait` µs, without regard to its limits."""

    def settle(self, settlement: Settlement) -> asyncio.Future[bool]:
        """Write what an attempt brought, in the next transaction: on its way when this returns, answered by its commit.
        False: the lease had been lost, and nothing was written."""

    async def release(self, deliveries: Sequence[LeasedDelivery]) -> None:
        """Give leases back untried: ready again as of their due time, the attempt not counted."""

    async def renew(self, deliveries: Sequence[LeasedDelivery]) -> frozenset[str]:
        """Extend leases; answers the ids of those still held."""

    async def recover(self) -> int:
        """Make the deliveries of dead leases ready again; answers how many."""

    async def heads(self) -> Sequence[QueueHead]:
        """Every queue with ready deliveries and when its earliest is due; costs the number of queues, not of messages."""

    async def limits(self, queue_key: str) -> Sequence[LimitStanding]:
        """How the limits of a queue stand for one more delivery."""

    async def open_deliveries(self) -> int:
        """How many deliveries are not done (a start-up count; not for the hot path)."""


class Slot(Protocol):
    """A place in the outbound pool, kept free for one delivery."""

    def start(self, delivery: LeasedDelivery) -> None:
        """Attempt it now. The slot is used up."""

    def give_back(self) -> None:
        """Not needed after all: nothing was committed as leased."""

    def abandon(self, delivery: LeasedDelivery) -> None:
        """Whether the commit happened is not known (cancelled, connection lost): release the lease if there is one."""


class Handover(Protocol):
    """How intake hands a delivery to dispatch without a detour through the store."""

    def reserve(self, account: Account, queue_key: str) -> Slot | None:
        """A slot where the account has a free connection and nothing older waits for it; else None."""

    def wake(self, queue_key: str, due: int, expires_at: int | None = None) -> None:
        """A delivery of this queue was committed as ready, is due at `due` and too late at `expires_at`."""
