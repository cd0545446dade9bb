"""Ordinary: nearly every message has one recipient and carries neither a client id nor a key. It comes in by one statement
and is settled by one, however many share the transaction.

The general way (storage.accepting, storage.settling) takes a statement for each table. On SQLite each of them costs its call
and its VALUES list; on PostgreSQL each is a round trip. So
what is written is the same, only the number of statements differs: an ordinary group's is two. Which of a group is at fault
these do not say: a group that fails is done again, each member alone, by the general way.
"""

from __future__ import annotations

from collections.abc import Sequence

from relay.model.delivery import NewMessage, Settlement
from relay.model.message import derive_state
from storage.notices import ready_notes, settled_notes
from storage.rows import write_attempt, write_content, write_event, write_message
from storage.settling import Change, key_of, write_change, write_settlement
from storage.work import Execute, Row, Values, Work, notify


def accepted_row(new: NewMessage) -> Row | None:
    """`rows:` of accept_ordinary; None: it must come in by the general way."""
    if len(new.recipients) != 1 or len(new.events) != 1 or new.key is not None or new.message.client_id is not None:
        return None
    if not new.is_open:  # it has no delivery
        return None
    recipient, delivery, event = new.recipients[0], new.delivery, new.events[0]
    return (
        *write_message(new.message),
        write_content(new)[2],
        recipient.address,
        recipient.state.value,
        delivery.queue_key,
        delivery.due,
        int(delivery.leased),
        *write_event(event)[3:],
    )


def settled_row(settlement: Settlement, holder: str) -> Row | None:
    """`rows:` of settle_ordinary; None: it must be settled by the general way."""
    record = settlement.record
    if (
        not settlement.whole
        or len(settlement.recipients) != 1
        or len(settlement.events) != 1
        or record is None
        or settlement.slots
        or settlement.parts
        or settlement.suppressions
    ):
        return None
    key = key_of(settlement.delivery)
    to = settlement.recipients[0]
    *change, _, position, sources = write_change(Change(settlement.message, to, settlement.at))
    tenant, _, *event = write_event(settlement.events[0])
    return (
        *write_settlement(key, settlement),
        *change,
        position,
        sources,
        derive_state(frozenset((to.state,))).value,
        *write_attempt(*key, settlement.attempt, holder, record)[4:],
        tenant,
        *event,
    )


def accept_ordinary(news: Sequence[NewMessage], rows: Sequence[Row], lease: Values) -> Work[None]:
    """Write new messages; `rows`: of all of them. `lease`: holder and clock."""
    yield Execute("accept_ordinary", lease, rows, answered=False)
    yield from notify(
        ready_notes([(new.delivery.queue_key, new.delivery.due) for new in news if not new.delivery.leased])
    )


def settle_ordinary(settlements: Sequence[Settlement], rows: Sequence[Row], lease: Values) -> Work[None]:
    """Write what attempts led to; `rows`: of all of them. TooFew where something was not as it had to be."""
    yield Execute("settle_ordinary", lease, rows, answered=False, at_least=len(rows))
    yield from notify(settled_notes(settlements, str(lease["holder"])))
