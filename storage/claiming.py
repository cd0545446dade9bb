"""Claiming: leasing what is due in queues, as far as suspensions, suppressions and limits let it go.

A claim takes the first deliveries of one queue and then looks closer: what is suspended is put aside, marked so that no
later claim meets it again; what its limits let through takes its slots; the rest goes back to its place. All of it is one
transaction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from relay.model.delivery import Claim, LeasedDelivery, delivery_id
from relay.model.limit import Slots
from relay.model.message import Recipient
from relay.model.queue_key import QueueKey
from relay.model.suppression import Suppression
from storage.leasing import AGEING, Taken, by_our_clock, fetch_recipients, legible, read_recipients
from storage.limiting import read_meter, take_slots
from storage.rows import read_message
from storage.settling import DeliveryKey
from storage.suppressing import find_suppressed
from storage.windows import Division, Limit, Meter, divide
from storage.work import Chain, Fetch, Follow, Lock, Row, Values, Work, execute, fetch

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


@dataclass(slots=True)
class _Catch:
    """What one claim brought so far; `line` is in order."""

    want: Wanted
    line: list[Taken]
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
    recipients = yield from fetch_recipients(line)
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
            Follow("claimed_recipients", places, Taken.KEY),
            Follow("claimed_messages", places, Taken.KEY[:1]),
            _next_dues(wants, lease),
        ]
    )
    catches = [_read_catch(want, want.limit, rows) for want, rows in zip(wants, caught, strict=True)]
    line = [one for catch in catches for one in catch.line]
    return _claims(catches, read_recipients(line, recipients), {}, messages, dues, lease)


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


def _leased(catch: _Catch) -> Sequence[tuple[int, Taken]]:
    division = catch.division
    if division is None:
        return list(enumerate(catch.line))
    return [(place, one) for place, one in enumerate(catch.line) if place in division.granted or place in division.over]


def _lease(
    catch: _Catch,
    place: int,
    one: Taken,
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
    line = sorted([Taken(*row) for row in rows], key=Taken.place)
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


def _next_dues(wants: Sequence[Wanted], lease: Values) -> Fetch:
    return Fetch("next_dues", lease, [(key,) for key in sorted({want.queue_key for want in wants})])
