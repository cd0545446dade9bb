"""Ordinary: nearly every message has one recipient and carries neither a client id nor a key. It comes in by one statement
and is settled by one, however many share the transaction; on PostgreSQL one more claims it, where its queue is ordinary too.

The general way (storage.accepting, storage.settling, storage.claiming) takes a statement for each table. On SQLite each of
them costs its call and its VALUES list; on PostgreSQL each is a round trip. So what is written is the same, only the number
of statements differs. Which of a group is at fault these do not say: a group that fails is done again, each member alone, by
the general way.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from operator import itemgetter

import orjson

from relay.model.delivery import Attempt, Claim, LeasedDelivery, NewMessage, Settlement, delivery_id
from relay.model.message import Message, MessageState, RecipientState, derive_state
from storage.claiming import Wanted
from storage.leasing import AGEING, by_our_clock, legible, place
from storage.notices import ready_notes, settled_notes
from storage.rows import MESSAGE_COLUMNS, read_message, read_recipient, write_message, write_record, write_reply
from storage.settling import SOURCES, DeliveryKey, write_settlement
from storage.work import Chain, Execute, Fetch, Notify, Row, Values, Work

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


def claim_ordinary(wants: Sequence[Wanted], lease: Values) -> Work[Sequence[Claim]]:
    """Lease what is due in ordinary queues, each asked once. It does not see what its group writes: whoever waits for that
    is told of it apart."""
    given = [(want.queue_key, want.limit) for want in wants]
    (rows,) = yield Chain([Fetch("claim_ordinary", {**lease, "ageing": AGEING}, given)])
    return _read_claims(wants, rows, lease)


_PRIORITY, _DUE, _ID, _NUMBER, _ATTEMPT, _ADDRESSED, _CONTENT, _MESSAGE = range(3, 11)
_RECIPIENT = _MESSAGE + MESSAGE_COLUMNS
"""Where these stand, or begin, in a row of claim_ordinary."""


def _read_claims(wants: Sequence[Wanted], rows: Sequence[Row], lease: Values) -> Sequence[Claim]:
    dues: dict[str, int | None] = {}
    taken: dict[str, dict[DeliveryKey, list[Row]]] = defaultdict(dict)
    for row in rows:
        queue_key, due, now = row[:_PRIORITY]
        dues[queue_key] = None if due is None else by_our_clock(due, now, lease)
        if row[_ID] is not None:
            taken[queue_key].setdefault((row[_ID], row[_NUMBER]), []).append(row)
    return [
        Claim(
            legible(
                (of[0][_ID], partial(_read_delivery, of)) for of in sorted(taken[want.queue_key].values(), key=_place)
            ),
            dues[want.queue_key],
        )
        for want in wants
    ]


def _place(of: Sequence[Row]) -> tuple[bool, int, DeliveryKey]:
    first = of[0]
    return place(first[_PRIORITY], first[_DUE], (first[_ID], first[_NUMBER]))


def _read_delivery(of: Sequence[Row]) -> LeasedDelivery:
    """`of`: a row for each of its recipients."""
    first = of[0]
    due = first[_DUE]
    recipients = tuple([read_recipient(row, _RECIPIENT, due) for row in of if row[_RECIPIENT] is not None])
    return LeasedDelivery(
        delivery_id(first[_ID], first[_NUMBER]),
        read_message(first[_MESSAGE:_RECIPIENT]),
        first[0],
        first[_ATTEMPT],
        recipients,
        first[_CONTENT],
        due,
        whole=len(recipients) == first[_ADDRESSED],
    )
