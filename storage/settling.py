"""Settling: what attempts and operators change, many in one transaction, each by the holder of its lease alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from relay.errors import RelayError
from relay.model.delivery import LeasedDelivery, Part, RecipientChange, Settlement
from relay.model.event import Event
from relay.model.message import TRANSITIONS, MessageState, RecipientState, derive_state
from storage.limiting import end_slots, ended_by, released
from storage.notices import ready_notes, settled_notes
from storage.rows import write_attempt, write_event, write_reply
from storage.suppressing import note_found
from storage.work import Execute, Given, Values, Work, execute, execute_together, fetch, fetch_one, notify

DeliveryKey = tuple[str, int]
"""Message id and number: what a delivery's id is made of."""

NO_STATES: Mapping[str, MessageState] = {}

SOURCES: Mapping[RecipientState, str] = {
    state: " ".join(source for source, targets in TRANSITIONS.items() if state in targets) for state in RecipientState
}
"""From which states a recipient may pass into one: the table of transitions, read backwards, for SQL's LIKE."""


class IllegalTransition(RelayError):
    """A recipient was to pass into a state that cannot follow on its own: a bug of the caller; nothing was written."""


class LeaseLost(RelayError):
    """Some leases of a group were lost. It happens so seldom that asking which of them would cost more than it brings: the
    group commit takes the group apart."""


@dataclass(frozen=True, slots=True)
class Change:
    """A recipient of a message, changed at a time."""

    message: str
    to: RecipientChange
    at: int


def key_of(delivery: str) -> DeliveryKey:
    """The key in a delivery's id."""
    message, _, number = delivery.rpartition(".")
    return message, int(number)


def settle(settlements: Sequence[Settlement], lease: Values) -> Work[Sequence[bool]]:
    """Write them and say for each whether its lease was still held; LeaseLost where that is not so of several.

    `lease`: holder and clock. Of a lease that was lost nothing is written, but that its slots have been used.
    """
    holder = str(lease["holder"])
    places: dict[DeliveryKey, int] = {}
    for place, settlement in enumerate(settlements):
        places.setdefault(key_of(settlement.delivery), place)  # a second one of the same lease comes too late
    first = {key: settlements[place] for key, place in places.items()}
    given = [write_settlement(settlement) for settlement in first.values()]
    held = yield from execute("settle_deliveries", {"holder": holder}, given)
    if held < len(given):
        if len(given) > 1:
            raise LeaseLost(f"{len(given) - held} of {len(given)} leases were lost: each is settled alone")
        yield from _end_slots(first, lease)
        return [False] * len(settlements)
    yield from _end_slots(first, lease)
    for key, one in first.items():
        if one.parts:
            yield from _divide(key, one.parts)
    yield from change_recipients(
        [Change(one.message, change, one.at) for one in first.values() for change in one.recipients],
        [event for settlement in first.values() for event in settlement.events],
        [
            write_attempt(message, number, settlement.attempt, holder, settlement.record)
            for (message, number), settlement in first.items()
            if settlement.record is not None
        ],
        {one.message: derive_state(frozenset(c.state for c in one.recipients)) for one in first.values() if one.whole},
    )
    yield from note_found([each for one in first.values() for each in one.suppressions], lease)
    yield from notify(settled_notes(first.values(), holder))
    written = set(places.values())
    return [place in written for place in range(len(settlements))]


def _end_slots(settlements: Mapping[DeliveryKey, Settlement], lease: Values) -> Work[None]:
    yield from end_slots([ended_by(one, *key) for key, one in settlements.items() if one.slots], lease)


def _divide(key: DeliveryKey, parts: Sequence[Part]) -> Work[None]:
    """New deliveries for recipients that leave one, each as ready and due as that."""
    message, number = key
    row = yield from fetch_one("last_delivery", {"message": message})
    assert row is not None  # noqa: S101 - the one that is divided
    numbered = list(enumerate(parts, int(row[0]) + 1))
    yield from execute("add_deliveries", given=[(message, number, new, part.queue_key) for new, part in numbered])
    moved = [(message, position, new) for new, part in numbered for position in part.positions]
    yield from execute("move_recipients", given=moved)


def write_settlement(one: Settlement) -> tuple[object, ...]:
    """`rows:` of settle_deliveries."""
    uncounted = 0 if one.counts else 1
    return *key_of(one.delivery), one.attempt, one.queue_key, one.state._value_, one.due, uncounted


def change_recipients(
    changes: Sequence[Change],
    events: Iterable[Event],
    attempts: Given = (),
    states: Mapping[str, MessageState] = NO_STATES,
) -> Work[None]:
    """New states, the events and attempts they come from, and what follows for the messages, which the caller has locked.

    `states`: of messages all of whose recipients are among the changes. The state of the others is read from their rows,
    which costs a fifth of a settlement.
    """
    changed = yield from execute_together(
        Execute("insert_attempts", given=attempts),
        Execute("insert_events", given=[write_event(event) for event in events]),
        Execute("change_recipients", given=[write_change(one.message, one.to, one.at) for one in changes]),
    )
    if changed != len(changes):
        asked = ", ".join(f"{change.message}/{change.to.position} to {change.to.state}" for change in changes)
        raise IllegalTransition(f"only {changed} of these transitions are legal: {asked}")
    yield from execute("set_message_states", given=[(key, state.value) for key, state in sorted(states.items())])
    others = sorted({change.message for change in changes}.difference(states))
    yield from execute("derive_message_states", given=[(key,) for key in others])


def write_change(message: str, to: RecipientChange, at: int) -> tuple[object, ...]:
    """`rows:` of change_recipients."""
    sources = SOURCES[to.state]
    return to.state._value_, *write_reply(to.reply), to.category, to.attempts, at, message, to.position, sources


def release(deliveries: Sequence[LeasedDelivery], lease: Values) -> Work[None]:
    """Give leases back untried, and their slots."""
    rows = yield from fetch("release_deliveries", lease, fences(deliveries))
    yield from end_slots([released(one, *key_of(one.id)) for one in deliveries if one.slots], lease)
    yield from notify(ready_notes([(queue_key, due) for queue_key, due in rows]))


def fences(deliveries: Sequence[LeasedDelivery]) -> list[tuple[object, ...]]:
    """What proves a lease besides its holder, in an order in which no two transactions wait for each other."""
    return sorted({(*key_of(delivery.id), delivery.attempt) for delivery in deliveries})
