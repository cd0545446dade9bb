"""Limiting: slots under a limit, taken by a claim and stamped or given back by what ends its lease.

All of it happens under the limit's own lock (`begin`), which a transaction takes before any other row lock and, where it
takes several, in one order: so no two transactions wait for each other. What is in flight has no number in the send log: it
gets one with its stamp, so that numbers have no gaps and stamps rise with them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from relay.model.delivery import LeasedDelivery, Settlement
from relay.model.tenant import NO_LIMITS, Limits
from storage.windows import Grant, Standing, Window, grant, places
from storage.work import Execute, Lock, Values, Work, execute, execute_together, fetch, fetch_one, notify

Slot = tuple[str, int, int, str]
"""Message id, number of the delivery, attempt, limit key."""

_ACCOUNT = "account:"
PRUNED_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Ended:
    """A lease that ends: its slots are stamped or, where the receiver cannot have got the mail, given back."""

    message: str
    number: int
    attempt: int
    slots: Sequence[str]
    spent: bool


def account_key(queue_key: str) -> str:
    """The key of an account's limit. Other things that may have limits get prefixes of their own."""
    return f"{_ACCOUNT}{queue_key}"


def queue_key_of(limit_key: str) -> str:
    """The queue that an account's limit keeps back."""
    return limit_key.removeprefix(_ACCOUNT)


def find_limits(queue_key: str) -> Work[Limits]:
    """What the account of a queue may send; no limits where there is no such account."""
    owner, _, account = queue_key.partition("/")
    row = yield from fetch_one("account_limits", {"owner": owner, "account": account})
    return Limits(*row) if row else NO_LIMITS


def make_limit(limit_key: str) -> Work[None]:
    """The row that is the limit's lock: there before anybody wants to lock it."""
    yield from execute("make_limit", {"limit_key": limit_key})


def begin(limit_keys: Iterable[str]) -> Work[None]:
    """Lock limits until the end of the transaction."""
    if keys := sorted(set(limit_keys)):
        yield Lock("lock_limits", [(key,) for key in keys])


def grant_slots(limit_key: str, windows: Sequence[Window], wanted: int, lease: Values) -> Work[tuple[Grant, int]]:
    """How many slots are open, by the store's clock, which comes along."""
    row = yield from fetch_one("limit_standing", {**lease, "limit_key": limit_key})
    assert row is not None  # noqa: S101 - make_limit has run, and nobody removes what it made
    last, in_flight, now = row
    standing = Standing(last, in_flight)
    known = yield from fetch("send_stamps", given=[(limit_key, *span) for span in places(windows, standing, wanted)])
    return grant(windows, standing, {number: at for number, at in known}, wanted, now), now  # noqa: C416 - records


def take_slots(slots: Sequence[Slot]) -> Work[None]:
    """By deliveries that were claimed under the same lock."""
    yield from execute("take_slots", given=slots)


def end_slots(ended: Sequence[Ended], lease: Values) -> Work[None]:
    """Stamp slots or give them back. One stamped at the recovery of its lease, whose holder speaks up after all, is stamped
    again: the receiver may have seen that attempt later than the first stamp says."""
    slots = [(one.message, one.number, one.attempt, key) for one in ended for key in one.slots]
    if not slots:
        return
    spent = Counter(key for one in ended if one.spent for key in one.slots)
    yield from execute_together(
        Execute("drop_slots", given=slots), Execute("number_sends", lease, sorted(spent.items()))
    )
    yield from execute("log_sends", given=[(key, back) for key in sorted(spent) for back in range(spent[key])])
    given_back = {key for one in ended if not one.spent for key in one.slots}
    yield from notify([f"open {queue_key_of(key)}" for key in sorted(given_back)])


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
    locked = {limit_key for *_, limit_key in found}
    yield from begin(locked)
    by_lease: dict[tuple[str, int, int], list[str]] = defaultdict(list)
    for message, number, attempt, limit_key in (yield from fetch("stray_slots")):  # some may have ended before the lock
        if limit_key in locked:
            by_lease[message, number, attempt].append(limit_key)
    yield from end_slots([Ended(*key, slots, spent=True) for key, slots in by_lease.items()], lease)
    return sum(map(len, by_lease.values()))


def prune(limit_key: str, age: int, lease: Values) -> Work[bool]:
    """Remove some sends that have left the longest window; whether there may be more."""
    values: Mapping[str, object] = {**lease, "limit_key": limit_key, "age": age, "count": PRUNED_AT_ONCE}
    return (yield from execute("prune_send_log", values)) == PRUNED_AT_ONCE
