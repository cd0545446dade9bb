"""Ordinary: nearly every message has one recipient and carries neither a client id nor a key. It comes in by one statement
and is settled by one, however many share the transaction.

The general way (storage.accepting, storage.settling) takes a statement for each table. On SQLite each of them costs its call
and its VALUES list; on PostgreSQL each is a round trip. So
what is written is the same, only the number of statements differs: an ordinary group's is two. Which of a group is at fault
these do not say: a group that fails is done again, each member alone, by the general way.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

import orjson

from relay.model.delivery import Attempt, NewMessage, Settlement
from relay.model.message import Message, MessageState, RecipientState, derive_state
from storage.notices import ready_notes, settled_notes
from storage.rows import write_message, write_record, write_reply
from storage.settling import SOURCES, write_settlement
from storage.work import Execute, Notify, Row, Values, Work

_STATES = {state: derive_state(frozenset((state,))).value for state in RecipientState}
"""A message's, by that of its one recipient."""


def accepted_row(new: NewMessage) -> Row | None:
    """`rows:` of accept_ordinary; None: it must come in by the general way."""
    match new:
        case NewMessage(
            message=Message(client_id=None, state=MessageState.OPEN), recipients=[recipient], events=[event], key=None
        ):
            content, delivery = new.content, new.delivery
        case _:  # also where it has no delivery
            return None
    return (
        *write_message(new.message),
        content if isinstance(content, bytes) else None,
        recipient.address,
        recipient.state._value_,
        delivery.queue_key,
        delivery.due,
        int(delivery.leased),
        event.kind._value_,
        event.at,
        orjson.dumps(event.facts).decode() if event.facts else None,
    )


def settled_row(settlement: Settlement) -> Row | None:
    """`rows:` of settle_ordinary; None: it must be settled by the general way."""
    match settlement:
        case Settlement(
            whole=True, recipients=[to], events=[event], record=Attempt() as record, slots=(), parts=(), suppressions=()
        ):
            pass
        case _:
            return None
    return (
        *write_settlement(settlement),
        to.state._value_,
        *write_reply(to.reply),
        to.category,
        to.attempts,
        settlement.at,
        to.position,
        SOURCES[to.state],
        _STATES[to.state],
        *write_record(record),
        event.tenant,
        event.recipient,
        event.kind._value_,
        event.at,
        orjson.dumps(event.facts).decode() if event.facts else None,
    )


def accept_ordinary(news: Sequence[NewMessage], rows: Sequence[Row], lease: Values) -> Work[None]:
    """Write new messages; `rows`: of all of them. `lease`: holder and clock."""
    yield Execute("accept_ordinary", lease, rows, answered=False)
    ready = [(new.delivery.queue_key, new.delivery.due) for new in news if not new.delivery.leased]
    if ready:
        yield Notify(ready_notes(ready))


def settle_ordinary(settlements: Sequence[Settlement], rows: Sequence[Row], lease: Values) -> Work[None]:
    """Write what attempts led to; `rows`: of all of them. TooFew where something was not as it had to be."""
    in_order = sorted(rows, key=itemgetter(0))  # of their messages: so no two transactions wait for each other
    yield Execute("settle_ordinary", lease, in_order, answered=False, at_least=len(rows))
    if notes := settled_notes(settlements, str(lease["holder"])):
        yield Notify(notes)
