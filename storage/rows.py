"""Rows of mail: what messages, recipients, events and attempts look like in SQL, both ways. Each tuple has the order of a
fragment or `rows:` line in sql/. Those of the configuration: storage.configuration_rows.

Tokens are written by `_value_`: `value`, a property of Python's own making, took two calls, and a message has eleven.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from relay.model.address import Address
from relay.model.delivery import AccountFault, Attempt, Category, NewMessage, Phase, RecipientOutcome, Verdict
from relay.model.event import Event, EventKind
from relay.model.message import Message, MessageState, Priority, QueueId, Recipient, RecipientState, Source
from relay.model.reply import Reply
from storage.work import Row

NO_MESSAGE = ""
"""Stands for the message in events of accounts, which so have their place in the one sequence of all events."""
_PRIORITIES = tuple(Priority)
_MESSAGE_STATES = {state.value: state for state in MessageState}
_RECIPIENT_STATES = {state.value: state for state in RecipientState}
_SOURCES = {source.value: source for source in Source}


def write_json(value: object) -> str:
    """JSON as text."""
    return orjson.dumps(value).decode()


MESSAGE_COLUMNS = 18
"""How many {message_columns} there are."""


def write_message(message: Message) -> tuple[object, ...]:
    """`rows:` of insert_messages."""
    return (
        message.id,
        message.tenant,
        message.sender,
        message.priority._value_,
        message.accepted_at,
        message.size,
        message.message_id,
        message.source._value_,
        message.account,
        message.client_id,
        message.batch,
        message.not_before,
        message.expires_at,
        write_json(message.tags) if message.tags else None,
        message.metadata,
        int(message.eight_bit),
        int(message.smtputf8),
        message.state._value_,
    )


def read_message(row: Row, first: int = 0) -> Message:
    """{message_columns}, from column `first` on."""
    (
        key,
        tenant,
        sender,
        priority,
        accepted_at,
        size,
        message_id,
        source,
        account,
        client_id,
        batch,
        not_before,
        expires_at,
        tags,
        metadata,
        eight_bit,
        smtputf8,
        state,
    ) = row[first:] if first else row
    return Message(
        key,
        tenant,
        sender,
        _PRIORITIES[priority],
        accepted_at,
        size,
        message_id,
        _SOURCES[source],
        account,
        client_id,
        batch,
        not_before,
        expires_at,
        tuple(orjson.loads(tags)) if tags else (),
        metadata,
        bool(eight_bit),
        bool(smtputf8),
        _MESSAGE_STATES[state],
    )


def write_content(new: NewMessage) -> tuple[str, int, bytes | None]:
    """`rows:` of insert_contents."""
    if isinstance(new.content, bytes):
        return new.message.id, len(new.content), new.content
    return new.message.id, new.content.size, None


def read_recipient(row: Row, first: int, next_attempt_at: int | None = None) -> Recipient:
    """{recipient_columns}, from column `first` on."""
    position, address, state, code, enhanced, text, category, attempts, changed_at = row[first:]
    reply = None if code is None else Reply(code, enhanced, text)
    return Recipient(
        position, Address(address), _RECIPIENT_STATES[state], reply, category, attempts, next_attempt_at, changed_at
    )


def write_reply(reply: Reply | None) -> tuple[int | None, str | None, str | None]:
    """Code, enhanced code, text."""
    return (None, None, None) if reply is None else (reply.code, reply.enhanced, reply.text)


def write_event(event: Event) -> tuple[object, ...]:
    """`rows:` of insert_events."""
    facts = orjson.dumps(event.facts).decode() if event.facts else None
    return event.tenant, event.message or NO_MESSAGE, event.recipient, event.kind._value_, event.at, facts


def read_event(row: Row) -> Event:
    """A row of events_of."""
    sequence, kind, at, tenant, message, recipient, facts = row
    known: Mapping[str, Any] = orjson.loads(facts) if facts else {}
    return Event(EventKind(kind), at, tenant, QueueId(message) if message else None, recipient, known, sequence)


def write_attempt(message: str, delivery: int, number: int, holder: str, attempt: Attempt) -> tuple[object, ...]:
    """`rows:` of insert_attempts."""
    return message, delivery, number, holder, *write_record(attempt)


def write_record(attempt: Attempt) -> tuple[object, ...]:
    """The attempt itself in such a row."""
    fault = attempt.fault
    outcomes = [
        (one.position, one.verdict._value_, write_reply(one.reply), one.category._value_, one.phase._value_)
        for one in attempt.outcomes
    ]
    return (
        attempt.started_at,
        attempt.finished_at,
        attempt.next_hop,
        attempt.peer,
        attempt.tls,
        int(attempt.reused),
        None if fault is None else write_json([fault.category, fault.phase, write_reply(fault.reply), fault.detail]),
        orjson.dumps(outcomes).decode(),
        "\n".join(attempt.transcript) or None,
    )


def read_attempt(row: Row) -> Attempt:
    """A row of attempts_of."""
    outcomes, started_at, finished_at, next_hop, peer, tls, reused, fault, transcript = row
    return Attempt(
        tuple(
            RecipientOutcome(position, Verdict(verdict), _read_reply(reply), Category(category), Phase(phase))
            for position, verdict, reply, category, phase in orjson.loads(outcomes)
        ),
        started_at,
        finished_at,
        next_hop,
        peer,
        tls,
        bool(reused),
        _read_fault(fault),
        tuple(transcript.split("\n")) if transcript else (),
    )


def _read_reply(parts: Iterable[Any]) -> Reply | None:
    code, enhanced, text = parts
    return None if code is None else Reply(code, enhanced, text)


def _read_fault(text: str | None) -> AccountFault | None:
    if text is None:
        return None
    category, phase, reply, detail = orjson.loads(text)
    return AccountFault(Category(category), Phase(phase), _read_reply(reply), detail)
