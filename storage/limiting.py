"""Limiting: slots under limits, taken by a claim and stamped or given back by what ends its lease.

All of it happens under the limit's own lock (`begin`), which a transaction takes before any other row lock and, where it
takes several, in one order: so no two transactions wait for each other. What is in flight has no number in the send log: it
gets one with its stamp, so that numbers have no gaps and stamps rise with them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from relay.model.delivery import LeasedDelivery, Settlement
from relay.model.explanation import LimitStanding, WindowStanding
from relay.model.limit import Limits, Slots, account_limit, domain_limit, tenant_limit
from relay.model.queue_key import QueueKey
from storage.configuration_rows import read_limits
from storage.windows import Lengths, Limit, Meter, Stamps, Standing, places, windows_of
from storage.work import Execute, Lock, Row, Values, Work, execute, execute_together, fetch, fetch_one, notify

Slot = tuple[str, int, int, str, int]
"""Message id, number of the delivery, attempt, limit key, how many."""

PRUNED_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Ended:
    """A lease that ends: its slots are stamped or, where the receiver cannot have got the mail, given back."""

    message: str
    number: int
    attempt: int
    slots: Sequence[Slots]
    spent: bool


def find_limits(queue_key: str, lengths: Lengths) -> Work[tuple[Limit, ...]]:
    """Under which limits the mail of a queue goes."""
    key = QueueKey.parse(queue_key)
    owner, _, account = key.account_key.partition("/")
    found = [
        (
            account_limit(key.account_key),
            (yield from fetch_one("account_limits", {"owner": owner, "account": account})),
        ),
        (tenant_limit(key.tenant), (yield from fetch_one("tenant_limits", {"tenant": key.tenant}))),
    ]
    if key.domain:
        values = {"tenant": key.tenant, "domain": key.domain}
        found.append((domain_limit(key.tenant, key.domain), (yield from fetch_one("domain_limit", values))))
    return tuple(limit_of(limit_key, limits, lengths) for limit_key, row in found if (limits := _limits(row)))


def _limits(row: Row | None) -> Limits | None:
    limits = read_limits(row, 0) if row else None
    return limits if limits and limits.is_set else None


def make_limits(limits: Sequence[Limit]) -> Work[None]:
    """The rows that are the limits' locks: there before anybody wants to lock them."""
    for limit in limits:
        yield from execute("make_limit", {"limit_key": limit.key})


def begin(limit_keys: Iterable[str]) -> Work[None]:
    """Lock limits until the end of the transaction."""
    if keys := sorted(set(limit_keys)):
        yield Lock("lock_limits", [(key,) for key in keys])


def read_meter(limit: Limit, wanted: int, lease: Values) -> Work[tuple[Meter, int]]:
    """How a limit stands for `wanted` more slots, by the store's clock, which comes along."""
    row = yield from fetch_one("limit_standing", {**lease, "limit_key": limit.key})
    assert row is not None  # noqa: S101 - make_limits has run, and nobody removes what it made
    last, in_flight, now = row
    standing = Standing(last, int(in_flight))
    rows = yield from fetch("send_stamps", given=[(limit.key, *span) for span in places(limit, standing, wanted)])
    return Meter(limit, standing, Stamps(rows)), now


def standings(limits: Sequence[Limit], lengths: Lengths, lease: Values) -> Work[Sequence[LimitStanding]]:
    """How limits stand for one more slot, for somebody who asks."""
    asked = [(limit.key, window.length) for limit in limits for window in limit.windows]
    sent = {(row[0], row[1]): int(row[2]) for row in (yield from fetch("sent_within", lease, asked))}
    found = []
    for limit in limits:
        in_flight, opens, now = 0, 0, 0
        if any(key == limit.key for key, _ in sent):  # else nothing was ever to go under it
            meter, now = yield from read_meter(limit, 1, lease)
            in_flight, opens = meter.standing.in_flight, meter.opens(1, now)
        windows = tuple(
            WindowStanding(lengths.name_of(one.length), one.most, sent.get((limit.key, one.length), 0) + in_flight)
            for one in limit.windows
        )
        found.append(LimitStanding(limit.key, in_flight, opens if opens > now else None, windows))
    return found


def limit_of(key: str, limits: Limits, lengths: Lengths) -> Limit:
    """A limit as a claim meets it."""
    return Limit(key, windows_of(limits, lengths), limits.unit, limits.on_limit)


def take_slots(slots: Sequence[Slot]) -> Work[None]:
    """By deliveries that were claimed under the same lock."""
    yield from execute("take_slots", given=slots)


def end_slots(ended: Sequence[Ended], lease: Values) -> Work[None]:
    """Stamp slots or give them back. One stamped at the recovery of its lease, whose holder speaks up after all, is stamped
    again: the receiver may have seen that attempt later than the first stamp says."""
    dropped = [(one.message, one.number, one.attempt, slots.limit) for one in ended for slots in one.slots]
    if not dropped:
        return
    spent: dict[str, list[int]] = defaultdict(list)
    for one in ended:
        for slots in one.slots if one.spent else ():
            spent[slots.limit].append(slots.taken)
    yield from execute_together(
        Execute("drop_slots", given=dropped),
        Execute("number_sends", lease, [(key, sum(spent[key])) for key in sorted(spent)]),
    )
    yield from execute("log_sends", given=[row for key in sorted(spent) for row in _log_rows(key, spent[key])])
    given_back = {slots.limit for one in ended if not one.spent for slots in one.slots}
    yield from notify([f"open {key}" for key in sorted(given_back)])


def _log_rows(key: str, weights: Sequence[int]) -> Iterable[tuple[str, int, int]]:
    """One for each send: how far its last number lies behind the limit's, and how many numbers it takes."""
    behind = 0
    for weight in weights:
        yield key, behind, weight
        behind += weight


def ended_by(settlement: Settlement, message: str, number: int) -> Ended:
    """By the outcome of an attempt."""
    return Ended(message, number, settlement.attempt, settlement.slots, settlement.spent)


def released(delivery: LeasedDelivery, message: str, number: int) -> Ended:
    """Untried, or cut before the final dot."""
    return Ended(message, number, delivery.attempt, delivery.slots, spent=False)


def stamp_strays(lease: Values) -> Work[int]:
    """Stamp the slots of leases that were taken from their holders: what became of those attempts nobody knows. A
    transaction of its own, since it locks limits while recovery has locked deliveries."""
    found = yield from fetch("stray_slots")
    if not found:
        return 0
    locked = {row[3] for row in found}
    yield from begin(locked)
    by_lease: dict[tuple[str, int, int], list[Slots]] = defaultdict(list)
    for message, number, attempt, limit_key, weight in (
        yield from fetch("stray_slots")
    ):  # some may have ended meanwhile
        if limit_key in locked:
            by_lease[message, number, attempt].append(Slots(limit_key, weight))
    yield from end_slots([Ended(*key, slots, spent=True) for key, slots in by_lease.items()], lease)
    return sum(map(len, by_lease.values()))


def prune(limit_key: str, age: int, lease: Values) -> Work[bool]:
    """Remove some sends that have left the longest window; whether there may be more."""
    values: Mapping[str, object] = {**lease, "limit_key": limit_key, "age": age, "count": PRUNED_AT_ONCE}
    return (yield from execute("prune_send_log", values)) == PRUNED_AT_ONCE
