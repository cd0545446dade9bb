"""Leasing: claiming what is due with all that an attempt needs, renewing, and taking up what dead instances left."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from relay.model.delivery import Claim, LeasedDelivery, QueueHead, delivery_id
from relay.model.message import Recipient
from storage.accepting import ready_notes
from storage.limiting import account_key, grant_slots, take_slots
from storage.rows import read_message, read_recipient
from storage.settling import DeliveryKey, fences
from storage.windows import Window
from storage.work import Values, Work, fetch, notify


@dataclass(frozen=True, slots=True)
class Wanted:
    """A claim: up to `limit` deliveries of a queue, as far as its windows let them."""

    queue_key: str
    limit: int
    windows: tuple[Window, ...] = ()

    @property
    def slots(self) -> tuple[str, ...]:
        """The keys of the limits under which each delivery takes a slot."""
        return (account_key(self.queue_key),) if self.windows else ()


@dataclass(frozen=True, slots=True)
class _Taken:
    """A delivery just leased."""

    priority: int
    due: int
    message: str
    number: int
    attempt: int

    @property
    def place(self) -> tuple[int, int, str, int]:
        return self.priority, self.due, self.message, self.number


def claim(wants: Sequence[Wanted], lease: Values) -> Work[Sequence[Claim]]:
    """Lease what is due; `lease`: holder, length, and the clocks where they are ours. Limits have been locked."""
    taken: list[list[_Taken]] = []
    blocked: list[int | None] = []
    for want in wants:
        some, blocked_until = yield from (_take_limited if want.windows else _take)(want, want.limit, lease)
        taken.append(some)
        blocked.append(blocked_until)
    everything = [one for some in taken for one in some]
    messages = yield from fetch(
        "claimed_messages", given=[(key,) for key in dict.fromkeys(t.message for t in everything)]
    )
    known = {row[1]: (read_message(row, 1), row[0]) for row in messages}
    recipients = yield from _fetch_recipients(everything)
    next_due = yield from _fetch_next_dues({want.queue_key for want in wants}, lease)
    claims = []
    for want, some, blocked_until in zip(wants, taken, blocked, strict=True):
        leased = []
        for one in some:
            message, content = known[one.message]
            leased.append(
                LeasedDelivery(
                    delivery_id(message.id, one.number),
                    message,
                    want.queue_key,
                    one.attempt,
                    tuple(recipients[one.message, one.number]),
                    content,
                    one.due,
                    want.slots,
                )
            )
        claims.append(Claim(tuple(leased), next_due.get(want.queue_key), blocked_until))
    return claims


def _take(want: Wanted, count: int, lease: Values) -> Work[tuple[list[_Taken], int | None]]:
    rows = yield from fetch("claim", {**lease, "queue_key": want.queue_key, "limit": count})
    return sorted((_Taken(*row) for row in rows), key=lambda one: one.place), None


def _take_limited(want: Wanted, count: int, lease: Values) -> Work[tuple[list[_Taken], int | None]]:
    """As many as slots are open, and until when that was all."""
    some: list[_Taken] = []
    granted, now = yield from grant_slots(account_key(want.queue_key), want.windows, count, lease)
    if granted.slots:
        some, _ = yield from _take(want, granted.slots, lease)
        yield from take_slots([(one.message, one.number, one.attempt, key) for one in some for key in want.slots])
    if granted.next_at is None or len(some) < granted.slots:
        return some, None
    return some, _by_our_clock(granted.next_at, now, lease)


def _fetch_recipients(taken: Sequence[_Taken]) -> Work[dict[DeliveryKey, list[Recipient]]]:
    rows = yield from fetch("claimed_recipients", given=[(one.message, one.number) for one in taken])
    due = {(one.message, one.number): one.due for one in taken}
    recipients: dict[DeliveryKey, list[Recipient]] = defaultdict(list)
    for row in rows:
        key = (row[0], row[1])
        recipients[key].append(read_recipient(row, 2, due[key]))
    return recipients


def _fetch_next_dues(queue_keys: set[str], lease: Values) -> Work[dict[str, int]]:
    rows = yield from fetch("next_dues", lease, [(key,) for key in sorted(queue_keys)])
    return {key: _by_our_clock(due, now, lease) for key, due, now in rows if due is not None}


def _by_our_clock(due: int, now: int, lease: Values) -> int:
    """Our clock's time when the store's shows `due`, so that a clock that is off costs no idle claim."""
    ours = lease["now"]
    assert isinstance(ours, int)  # noqa: S101 - for the type checker: `lease` is ours
    return due if due <= now else due + ours - now


def heads(lease: Values) -> Work[Sequence[QueueHead]]:
    """Every queue with ready deliveries."""
    rows = yield from fetch("heads", lease)
    return [QueueHead(key, _by_our_clock(due, now, lease)) for key, due, now in rows]


def renew(deliveries: Sequence[LeasedDelivery], lease: Values) -> Work[frozenset[str]]:
    """Extend leases; the ids of those still held."""
    rows = yield from fetch("renew_deliveries", lease, fences(deliveries))
    return frozenset(delivery_id(message, number) for message, number in rows)


def recover(statement: str, lease: Values) -> Work[Sequence[tuple[str, int]]]:
    """Make the deliveries of dead leases ready again: queue key and due time of each."""
    rows = yield from fetch(statement, lease)
    ready = [(queue_key, due) for queue_key, due in rows]
    yield from notify(ready_notes(ready))
    return ready
