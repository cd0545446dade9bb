"""Leasing: claiming what is due with all that an attempt needs, renewing, and taking up what dead instances left.

A claim takes the first deliveries of one queue and then looks closer: what is suspended is put aside, marked so that no
later claim meets it again; what its limits let through takes its slots; the rest goes back to its place. All of it is one
transaction.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from relay.clock import MINUTE
from relay.model.delivery import Claim, LeasedDelivery, QueueHead, delivery_id
from relay.model.limit import Slots
from relay.model.message import Recipient
from relay.model.queue_key import QueueKey
from relay.model.quick import quick
from relay.model.suppression import Suppression
from storage.limiting import read_meter, take_slots
from storage.rows import read_message, read_recipient
from storage.settling import DeliveryKey, fences
from storage.suppressing import find_suppressed
from storage.windows import Division, Limit, Meter, divide
from storage.work import Chain, Fetch, Follow, Lock, Row, Values, Work, execute, fetch

log = logging.getLogger(__name__)

AGEING = 3 * MINUTE
"""What one level of priority is worth in waiting: mail that has waited so much longer goes before the next higher level, so
that none starves. Level 0 goes before all, always."""


Suppressed = tuple[tuple[int, Suppression], ...]
"""Recipients by position, and why they are not to be sent to."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A claim: up to `limit` deliveries of a queue."""

    queue_key: str
    limit: int
    limits: tuple[Limit, ...] = ()
    """Under which its mail goes; the caller has locked them."""
    suspends: bool = False
    """Whether the queue's tenant has suspended anything."""
    suppresses: bool = False
    """Whether the queue's tenant has put any address on its list of suppressions."""

    @property
    def is_ordinary(self) -> bool:
        """Nothing of the queue has to be looked at closer."""
        return not (self.limits or self.suspends or self.suppresses)


@quick
@dataclass(frozen=True, slots=True)
class _Taken:
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


@dataclass(slots=True)
class _Catch:
    """What one claim brought so far; `line` is in order."""

    want: Wanted
    line: list[_Taken]
    drained: bool = False
    """The queue had less than was asked for."""
    again: bool = False
    division: Division | None = None
    blocked_until: int | None = None


def claim(wants: Sequence[Wanted], lease: Values) -> Work[Sequence[Claim]]:
    """Lease what is due; `lease`: holder, length, and the clocks where they are ours. Limits have been locked."""
    if all(want.is_ordinary for want in wants):
        return (yield from _claim_plain(wants, lease))
    catches: list[_Catch] = []
    for want in wants:
        catch = yield from (_catch_limited(want, lease) if want.limits else _catch(want, want.limit, lease))
        catches.append(catch)
    line = [one for catch in catches for one in catch.line]
    recipients = yield from _fetch_recipients(line)
    suppressed = yield from _find_suppressed(catches, recipients, lease)
    for catch in catches:
        if catch.want.limits and catch.line:
            yield from _take_slots(catch, recipients, lease)
    leased = dict.fromkeys(one.message for catch in catches for _, one in _leased(catch))
    messages = yield from fetch("claimed_messages", given=[(key,) for key in leased])
    dues = yield _next_dues(wants, lease)
    return _claims(catches, recipients, suppressed, messages, dues, lease)


def _claim_plain(wants: Sequence[Wanted], lease: Values) -> Work[Sequence[Claim]]:
    """The same of queues where nothing has to be looked at closer."""
    places = range(len(wants))
    *caught, recipients, messages, dues = yield Chain(
        [
            *(_claim_of(want, want.limit, lease) for want in wants),
            Follow("claimed_recipients", places, _Taken.KEY),
            Follow("claimed_messages", places, _Taken.KEY[:1]),
            _next_dues(wants, lease),
        ]
    )
    catches = [_read_catch(want, want.limit, rows) for want, rows in zip(wants, caught, strict=True)]
    line = [one for catch in catches for one in catch.line]
    return _claims(catches, _read_recipients(line, recipients), {}, messages, dues, lease)


def _claims(
    catches: Sequence[_Catch],
    recipients: Mapping[DeliveryKey, Sequence[Recipient]],
    suppressed: Mapping[DeliveryKey, Suppressed],
    messages: Sequence[Row],
    dues: Sequence[Row],
    lease: Values,
) -> Sequence[Claim]:
    known = {row[2]: row for row in messages}
    next_due = {key: by_our_clock(due, now, lease) for key, due, now in dues if due is not None}
    return [
        Claim(
            legible(
                (one.message, partial(_lease, catch, place, one, known[one.message], recipients, suppressed))
                for place, one in _leased(catch)
            ),
            next_due.get(catch.want.queue_key),
            catch.blocked_until,
            catch.again,
        )
        for catch in catches
    ]


def legible(reads: Iterable[tuple[str, Callable[[], LeasedDelivery]]]) -> tuple[LeasedDelivery, ...]:
    """What can be read, by message; the others, damaged or of a later version, stay leased, so that they hold up nobody."""
    found: list[LeasedDelivery] = []
    for message, read in reads:
        try:
            found.append(read())
        except Exception:
            log.exception("message %s cannot be read; it is tried again when its lease has run out", message)
    return tuple(found)


def _leased(catch: _Catch) -> Sequence[tuple[int, _Taken]]:
    division = catch.division
    if division is None:
        return list(enumerate(catch.line))
    return [(place, one) for place, one in enumerate(catch.line) if place in division.granted or place in division.over]


def _lease(
    catch: _Catch,
    place: int,
    one: _Taken,
    row: Row,
    recipients: Mapping[DeliveryKey, Sequence[Recipient]],
    suppressed: Mapping[DeliveryKey, Suppressed],
) -> LeasedDelivery:
    content, addressed, message = row[0], row[1], read_message(row, 2)
    key, division = one.key, catch.division
    found = recipients[key]
    slots: tuple[Slots, ...] = division.granted.get(place, ()) if division else ()
    return LeasedDelivery(
        delivery_id(message.id, one.number),
        message,
        catch.want.queue_key,
        one.attempt,
        tuple(found),
        content,
        one.due,
        slots,
        division.over.get(place) if division else None,
        whole=len(found) == addressed,
        suppressed=suppressed.get(key, ()),
    )


def _find_suppressed(
    catches: Sequence[_Catch], recipients: dict[DeliveryKey, list[Recipient]], lease: Values
) -> Work[dict[DeliveryKey, Suppressed]]:
    """Recipients that came to stand on their tenant's list while they waited: one look-up for all that was caught."""
    asked: dict[str, list[DeliveryKey]] = defaultdict(list)
    for catch in catches:
        if catch.want.suppresses:
            asked[QueueKey.parse(catch.want.queue_key).tenant] += [one.key for one in catch.line]
    found = yield from find_suppressed(
        {tenant: [one.address for key in keys for one in recipients[key]] for tenant, keys in asked.items()}, lease
    )
    return {
        key: tuple((one.position, of[one.address]) for one in recipients[key] if one.address in of)
        for tenant, of in found.items()
        for key in asked[tenant]
    }


def _catch(want: Wanted, count: int, lease: Values) -> Work[_Catch]:
    """The first of the queue, without what is suspended."""
    caught = _read_catch(want, count, (yield _claim_of(want, count, lease)))
    line = caught.line
    if not (want.suspends and line):
        return caught
    yield Lock(
        "share_suspensions", [(QueueKey.parse(want.queue_key).tenant,)]
    )  # a resumption waits, and lifts our marks
    suspended = yield from fetch("suspended_of", given=[one.key for one in line])
    aside = {(message, number): batch for message, number, batch in suspended}
    yield from execute("put_aside", given=sorted((*one.fence, aside[one.key]) for one in line if one.key in aside))
    return _Catch(want, [one for one in line if one.key not in aside], caught.drained, again=bool(aside))


def _claim_of(want: Wanted, count: int, lease: Values) -> Fetch:
    return Fetch("claim", {**lease, "queue_key": want.queue_key, "limit": count, "ageing": AGEING})


def _read_catch(want: Wanted, count: int, rows: Sequence[Row]) -> _Catch:
    line = sorted([_Taken(*row) for row in rows], key=_Taken.place)
    return _Catch(want, line, drained=len(line) < count)


def _catch_limited(want: Wanted, lease: Values) -> Work[_Catch]:
    """The same, but no more than can have a slot where that is known beforehand: where one delivery is one slot."""
    count = want.limit
    if not any(limit.rejects or limit.counts_recipients for limit in want.limits):
        meters, now = yield from _read_meters(want.limits, count, lease)
        open_slots = divide(meters, (1,) * count, now)
        count = len(open_slots.granted)
        if not count:
            return _Catch(want, [], blocked_until=_blocked(open_slots, now, lease))
    return (yield from _catch(want, count, lease))


def _take_slots(catch: _Catch, recipients: dict[DeliveryKey, list[Recipient]], lease: Values) -> Work[None]:
    """Give slots to those who may go, and the others back to the queue."""
    sizes = [len(recipients[one.key]) for one in catch.line]
    if not catch.drained:
        sizes.append(1)  # stands for the next one in the queue: when may that go?
    wanted = max(sum(limit.cost(size) for size in sizes) for limit in catch.want.limits)
    meters, now = yield from _read_meters(catch.want.limits, wanted, lease)
    division = divide(meters, sizes, now)
    catch.division = division
    catch.blocked_until = _blocked(division, now, lease)
    yield from take_slots(
        [(*one.fence, *slots) for place, one in enumerate(catch.line) for slots in division.granted.get(place, ())]
    )
    left = {place for place, _ in _leased(catch)}
    yield from fetch(
        "release_deliveries",
        lease,
        sorted(one.fence for place, one in enumerate(catch.line) if place not in left),
    )


def _read_meters(limits: Sequence[Limit], wanted: int, lease: Values) -> Work[tuple[list[Meter], int]]:
    meters: list[Meter] = []
    now = 0
    for limit in limits:
        meter, now = yield from read_meter(limit, wanted, lease)
        meters.append(meter)
    return meters, now


def _blocked(division: Division, now: int, lease: Values) -> int | None:
    return None if division.next_at is None else by_our_clock(division.next_at, now, lease)


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
    taken = [(row[0], _Taken(*row[1:])) for row in rows]
    recipients = yield from _fetch_recipients([one for _, one in taken])
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


def _fetch_recipients(taken: Sequence[_Taken]) -> Work[dict[DeliveryKey, list[Recipient]]]:
    return _read_recipients(taken, (yield from fetch("claimed_recipients", given=[one.key for one in taken])))


def _read_recipients(taken: Sequence[_Taken], rows: Sequence[Row]) -> dict[DeliveryKey, list[Recipient]]:
    due = {one.key: one.due for one in taken}
    recipients: dict[DeliveryKey, list[Recipient]] = defaultdict(list)
    for row in rows:
        key = (row[0], row[1])
        recipients[key].append(read_recipient(row, 2, due[key]))
    return recipients


def _next_dues(wants: Sequence[Wanted], lease: Values) -> Fetch:
    return Fetch("next_dues", lease, [(key,) for key in sorted({want.queue_key for want in wants})])


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
