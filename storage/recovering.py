"""Recovering: taking back what a process held that is dead, and stopping a message that may be what kills it.

A delivery whose holder dies is tried again at once; one that has seen two die in a row, by itself, some seconds apart from
the next such: so the third death is the culprit's alone, and not that of whoever was on its way beside it. Then it is held
until somebody has looked. What cannot be read (storage.leasing.legible) goes the same way: its leases end without outcome.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from relay.clock import SECOND
from relay.model.delivery import RecipientChange
from relay.model.event import Event, EventKind
from relay.model.message import QueueId, RecipientState
from storage.notices import ready_notes
from storage.rows import read_recipient
from storage.settling import Change, change_recipients
from storage.work import Values, Work, execute, fetch, notify

DEATHS = 3
"""In a row, without an outcome in between, after which a delivery is held."""
APART = 2 * SECOND


@dataclass(frozen=True, slots=True)
class Recovered:
    """What was taken back: queue key and due time of each delivery that is ready, and the events of the others."""

    ready: Sequence[tuple[str, int]]
    held: Sequence[Event]


@dataclass(frozen=True, slots=True)
class _Orphan:
    queue_key: str
    due: int
    message: str
    number: int
    tenant: str
    deaths: int


def recover(statement: str, lease: Values) -> Work[Recovered]:
    """Take back what `statement` finds."""
    now = lease["now"]
    assert isinstance(now, int)  # noqa: S101 - for the type checker: `lease` is ours
    orphans = sorted((_Orphan(*row) for row in (yield from fetch(statement, lease))), key=lambda one: one.message)
    deadly = {one.message for one in orphans if one.deaths >= DEATHS}
    # Settlements lock messages before deliveries, we the other way round: whoever has locked a message may wait for us, so
    # we do not wait for him. Such a one is tried alone once more.
    locked = {row[0] for row in (yield from fetch("lock_free_messages", given=[(key,) for key in sorted(deadly)]))}
    killers = [one for one in orphans if one.deaths >= DEATHS and one.message in locked]
    suspects = [one for one in orphans if one.deaths >= DEATHS - 1 and one not in killers]
    held = (yield from _hold(killers, now)) if killers else ()
    yield from execute(
        "postpone_deliveries",
        lease,
        [(one.message, one.number, place * APART) for place, one in enumerate(suspects, 1)],
    )
    ready = [(one.queue_key, one.due) for one in orphans if one.deaths < DEATHS - 1]
    ready += [(one.queue_key, now + place * APART) for place, one in enumerate(suspects, 1)]
    yield from notify(ready_notes(ready))
    return Recovered(ready, held)


def _hold(killers: Sequence[_Orphan], now: int) -> Work[list[Event]]:
    tenants = {one.message: one.tenant for one in killers}
    rows = yield from fetch("claimed_recipients", given=[(one.message, one.number) for one in killers])
    found = [(QueueId(row[0]), read_recipient(row, 2)) for row in rows]
    reason = (
        f"{DEATHS} times in a row the relay ended while this was attempted, or could not read it; "
        "see the log, then retry or cancel it"
    )
    events = [
        Event(EventKind.HELD, now, tenants[message], message, recipient.address, {"reason": reason})
        for message, recipient in found
    ]
    yield from execute("hold_deliveries", given=[(one.message, one.number) for one in killers])
    yield from change_recipients(
        [
            Change(
                message,
                RecipientChange(one.position, RecipientState.HELD, one.reply, one.category, one.attempts + 1),
                now,
            )
            for message, one in found
        ],
        events,
    )
    return events
