"""Leasing: what is taken from a queue, in which order, and how it is read; what has waited too long; renewing.

Claims of queues are made by storage.claiming.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from relay.clock import MINUTE
from relay.model.delivery import Claim, LeasedDelivery, QueueHead, delivery_id
from relay.model.message import Recipient
from relay.model.quick import quick
from storage.rows import read_message, read_recipient
from storage.settling import DeliveryKey, fences
from storage.work import Row, Values, Work, fetch

log = logging.getLogger(__name__)

AGEING = 3 * MINUTE
"""What one level of priority is worth in waiting: mail that has waited so much longer goes before the next higher level, so
that none starves. Level 0 goes before all, always."""


@quick
@dataclass(frozen=True, slots=True)
class Taken:
    """A delivery just leased, as the claim answers it."""

    KEY: ClassVar = (2, 3)
    """Where in such a row its key stands."""

    priority: int
    due: int
    message: str
    number: int
    attempt: int

    @property
    def key(self) -> DeliveryKey:
        return self.message, self.number

    @property
    def fence(self) -> tuple[str, int, int]:
        return self.message, self.number, self.attempt

    def place(self) -> tuple[bool, int, DeliveryKey]:
        """As the claim orders them."""
        return place(self.priority, self.due, self.key)


def place(priority: int, due: int, key: DeliveryKey) -> tuple[bool, int, DeliveryKey]:
    """Of a delivery in its queue."""
    return priority > 0, due + priority * AGEING, key


def legible(reads: Iterable[tuple[str, Callable[[], LeasedDelivery]]]) -> tuple[LeasedDelivery, ...]:
    """What can be read, by message; the others, damaged or of a later version, stay leased, so that they hold up nobody."""
    found: list[LeasedDelivery] = []
    for message, read in reads:
        try:
            found.append(read())
        except Exception:
            log.exception("message %s cannot be read; it is tried again when its lease has run out", message)
    return tuple(found)


def fetch_recipients(taken: Sequence[Taken]) -> Work[dict[DeliveryKey, list[Recipient]]]:
    return read_recipients(taken, (yield from fetch("claimed_recipients", given=[one.key for one in taken])))


def read_recipients(taken: Sequence[Taken], rows: Sequence[Row]) -> dict[DeliveryKey, list[Recipient]]:
    due = {one.key: one.due for one in taken}
    recipients: dict[DeliveryKey, list[Recipient]] = defaultdict(list)
    for row in rows:
        key = (row[0], row[1])
        recipients[key].append(read_recipient(row, 2, due[key]))
    return recipients


def claim_expired(limit: int, lease: Values) -> Work[Claim]:
    """Lease what waits although it has expired, wherever; and when the next expires."""
    rows = yield from fetch("claim_expired", {**lease, "limit": limit})
    deliveries = yield from _lease_late(rows)
    ((expires_at, now),) = yield from fetch("next_expiry", lease)
    return Claim(deliveries, None if expires_at is None else by_our_clock(expires_at, now, lease))


def claim_overdue(queue_key: str, wait: int, limit: int, lease: Values) -> Work[Claim]:
    """Lease what has been due in a queue for `wait`."""
    rows = yield from fetch("claim_overdue", {**lease, "queue_key": queue_key, "wait": wait, "limit": limit})
    return Claim((yield from _lease_late(rows)), None)


def _lease_late(rows: Sequence[Row]) -> Work[tuple[LeasedDelivery, ...]]:
    """They are not to be attempted: without content, and no limit is asked."""
    taken = [(row[0], Taken(*row[1:])) for row in rows]
    recipients = yield from fetch_recipients([one for _, one in taken])
    found = yield from fetch("late_messages", given=[(key,) for key in dict.fromkeys(one.message for _, one in taken)])
    known = {row[0]: read_message(row) for row in found}
    return tuple(
        LeasedDelivery(
            delivery_id(known[one.message].id, one.number),
            known[one.message],
            queue_key,
            one.attempt,
            tuple(recipients[one.key]),
            None,
            one.due,
        )
        for queue_key, one in taken
    )


def by_our_clock(due: int, now: int, lease: Values) -> int:
    """Our clock's time when the store's shows `due`, so that a clock that is off costs no idle claim."""
    ours = lease["now"]
    assert isinstance(ours, int)  # noqa: S101 - for the type checker: `lease` is ours
    return due if due <= now else due + ours - now


def heads(lease: Values) -> Work[Sequence[QueueHead]]:
    """Every queue with ready deliveries."""
    rows = yield from fetch("heads", lease)
    return [QueueHead(key, by_our_clock(due, now, lease)) for key, due, now in rows]


def renew(deliveries: Sequence[LeasedDelivery], lease: Values) -> Work[frozenset[str]]:
    """Extend leases; the ids of those still held."""
    rows = yield from fetch("renew_deliveries", lease, fences(deliveries))
    return frozenset(delivery_id(message, number) for message, number in rows)
