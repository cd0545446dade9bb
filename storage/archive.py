"""The message archive: reading what was accepted, and an operator's acts on it (relay.contracts.MessageArchive)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from relay.clock import Clock
from relay.contracts import MessageFilter, QueueCounts
from relay.errors import Conflict, NotFound
from relay.model.address import Address
from relay.model.delivery import Attempt, RecipientChange, delivery_id
from relay.model.event import Event, EventKind
from relay.model.explanation import DeliveryStanding
from relay.model.message import (
    OPEN_STATES,
    DeliveryState,
    Message,
    MessageDetail,
    MessageState,
    QueueId,
    Recipient,
    RecipientState,
)
from storage.accepting import ready_notes
from storage.database import Database
from storage.queue import ReadyCallback
from storage.rows import read_attempt, read_event, read_message, read_recipient
from storage.settling import Change, change_recipients
from storage.work import Lock, Row, T, Values, Work, execute, fetch, fetch_one, notify

NEWEST = "~"
"""Sorts behind every queue id."""

_WAITING = frozenset({RecipientState.QUEUED, RecipientState.DEFERRED, RecipientState.UNKNOWN})
_STOPPED = frozenset({RecipientState.HELD, RecipientState.FAILED, RecipientState.EXPIRED})


@dataclass(frozen=True, slots=True)
class _Delivery:
    queue_key: str
    state: DeliveryState
    due: int


@dataclass(frozen=True, slots=True)
class _Standing:
    """A message as an operator's act finds it, locked."""

    message: Message
    recipients: Sequence[tuple[Recipient, int]]
    """Each with the number of its delivery."""
    deliveries: dict[int, _Delivery]

    def within_reach(self, states: frozenset[RecipientState]) -> Iterator[tuple[Recipient, int]]:
        """Those in one of `states` that are not being attempted."""
        for recipient, number in self.recipients:
            if recipient.state in states and self.deliveries[number].state is not DeliveryState.LEASED:
                yield recipient, number


class Archive:
    """Satisfies MessageArchive."""

    def __init__(self, database: Database, clock: Clock, on_ready: ReadyCallback) -> None:
        self._database = database
        self._clock = clock
        self._on_ready = on_ready

    async def list_messages(self, wanted: MessageFilter) -> Sequence[MessageDetail]:
        """See MessageArchive."""
        return await self._database.read(_list(wanted))

    async def message(self, tenant: str | None, message: QueueId) -> MessageDetail:
        """See MessageArchive."""
        return await self._database.read(_detail(tenant, message))

    async def events(self, tenant: str | None, message: QueueId) -> Sequence[Event]:
        """See MessageArchive."""
        return await self._database.read(_history("events_of", read_event, tenant, message))

    async def attempts(self, tenant: str | None, message: QueueId) -> Sequence[Attempt]:
        """See MessageArchive."""
        return await self._database.read(_history("attempts_of", read_attempt, tenant, message))

    async def deliveries(self, tenant: str | None, message: QueueId) -> Sequence[DeliveryStanding]:
        """See MessageArchive."""
        return await self._database.read(_standings(tenant, message, {"boot": self._clock.boot()}))

    async def cancel(self, tenant: str | None, message: QueueId, at: int) -> MessageDetail:
        """See MessageArchive."""
        return await self._database.write(_cancel(tenant, message, at))

    async def retry(self, tenant: str | None, message: QueueId, at: int) -> MessageDetail:
        """See MessageArchive. Whoever listens to the store hears of what became due."""
        detail, ready = await self._database.write(_retry(tenant, message, at))
        for queue_key, due in ready:
            self._on_ready(queue_key, due)
        return detail

    async def counts(self) -> Sequence[QueueCounts]:
        """See MessageArchive."""
        found: dict[str, QueueCounts] = {}
        for queue_key, state, count, due in await self._database.read(fetch("queue_counts")):
            known = found.get(queue_key) or QueueCounts(queue_key, 0, 0, 0, 0, None)
            found[queue_key] = replace(known, **{state: count}, next_due=due if state == "ready" else known.next_due)
        return [found[key] for key in sorted(found)]


def _list(wanted: MessageFilter) -> Work[Sequence[MessageDetail]]:
    rows: list[Row] = []
    for statement, values in _walks(wanted):
        rows += yield from fetch(statement, values)
    found = sorted((read_message(row) for row in rows), key=lambda one: one.id, reverse=True)
    before = wanted.before or NEWEST
    messages = [message for message in found if message.id < before][: wanted.limit]
    return (yield from _with_recipients(messages))


def _walks(wanted: MessageFilter) -> Iterator[tuple[str, Values]]:
    """The statements that walk the index which tells most about what is wanted."""
    values: dict[str, object] = {
        "tenant": wanted.tenant,
        "states": " ".join(sorted(wanted.states)) or None,
        "batch": wanted.batch,
        "client_id": wanted.client_id,
        "account": wanted.account,
        "recipient": wanted.recipient,
        "since": wanted.since,
        "until": wanted.until,
        "before": wanted.before or NEWEST,
        "limit": wanted.limit,
    }
    if wanted.recipient is not None:
        yield "list_by_recipient", values
    elif wanted.tenant is None:
        yield "list_all", values
    elif wanted.client_id is not None:
        yield "list_by_client_id", values
    elif wanted.batch is not None:
        yield "list_by_batch", values
    elif wanted.states and MessageState.SENT not in wanted.states:
        for state in sorted(wanted.states):  # each is a walk of its own, so that none reads more than it answers
            yield "list_by_state", {**values, "state": state.value}
    else:
        yield "list_by_tenant", values


def _with_recipients(messages: Sequence[Message]) -> Work[Sequence[MessageDetail]]:
    recipients: dict[str, list[Recipient]] = defaultdict(list)
    for row in (yield from fetch("recipients_of", given=[(message.id,) for message in messages])):
        recipients[row[0]].append(read_recipient(row, 2, row[1]))
    return [MessageDetail(message, tuple(recipients[message.id])) for message in messages]


def _one(tenant: str | None, message: QueueId) -> Work[Message]:
    row = yield from fetch_one("message", {"tenant": tenant, "message": message})
    if row is None:
        raise NotFound(f"no message {message}")
    return read_message(row)


def _detail(tenant: str | None, message: QueueId) -> Work[MessageDetail]:
    found = yield from _one(tenant, message)
    return (yield from _with_recipients([found]))[0]


def _history(statement: str, read: Callable[[Row], T], tenant: str | None, message: QueueId) -> Work[Sequence[T]]:
    yield from _one(tenant, message)
    rows = yield from fetch(statement, {"message": message})
    return [read(row) for row in rows]


def _standings(tenant: str | None, message: QueueId, clock: Values) -> Work[Sequence[DeliveryStanding]]:
    yield from _one(tenant, message)
    recipients: dict[int, list[Address]] = defaultdict(list)
    for row in (yield from fetch("addressed_recipients", {"message": message})):
        recipient = read_recipient(row, 1)
        if recipient.state in OPEN_STATES:
            recipients[row[0]].append(recipient.address)
    rows = yield from fetch("delivery_standings", {**clock, "message": message})
    return [
        DeliveryStanding(
            delivery_id(message, number),
            queue_key,
            DeliveryState(state),
            due,
            attempt,
            holder,
            left,
            tuple(recipients[number]),
        )
        for number, queue_key, state, due, attempt, holder, left in rows
    ]


def _take(tenant: str | None, message: QueueId) -> Work[_Standing]:
    """The message as it stands, safe from others' attempts and settlements until the transaction ends."""
    yield Lock("lock_messages", [(message,)])
    yield Lock("lock_deliveries", [(message,)])
    found = yield from _one(tenant, message)
    recipients = yield from fetch("addressed_recipients", {"message": message})
    deliveries = yield from fetch("deliveries_of", {"message": message})
    return _Standing(
        found,
        [(read_recipient(row, 1), row[0]) for row in recipients],
        {number: _Delivery(queue_key, DeliveryState(state), due) for number, queue_key, state, due in deliveries},
    )


def _cancel(tenant: str | None, message: QueueId, at: int) -> Work[MessageDetail]:
    standing = yield from _take(tenant, message)
    chosen = list(standing.within_reach(OPEN_STATES))
    if not chosen:
        raise Conflict(f"message {message} has no recipient left to cancel")
    yield from change_recipients(
        [_change(standing, recipient, RecipientState.CANCELLED, at) for recipient, _ in chosen],
        [_event(standing, recipient, EventKind.CANCELLED, at) for recipient, _ in chosen],
    )
    numbers = sorted({number for _, number in chosen})
    yield from execute("reschedule_deliveries", {"message": message}, [(n, "done", at) for n in numbers])
    return (yield from _detail(tenant, message))


def _retry(tenant: str | None, message: QueueId, at: int) -> Work[tuple[MessageDetail, Sequence[tuple[str, int]]]]:
    standing = yield from _take(tenant, message)
    chosen = list(standing.within_reach(_WAITING | _STOPPED))
    if not chosen:
        raise Conflict(f"message {message} has no recipient left to retry")
    if (yield from fetch_one("has_content", {"message": message})) is None:
        raise Conflict(f"the content of message {message} is gone, it was kept long enough: hand it in again")
    stopped = [recipient for recipient, _ in chosen if recipient.state in _STOPPED]
    yield from change_recipients(
        [_change(standing, recipient, RecipientState.QUEUED, at) for recipient in stopped],
        [_event(standing, recipient, EventKind.RELEASED, at) for recipient in stopped],
    )
    numbers = sorted({number for _, number in chosen})
    yield from execute("reschedule_deliveries", {"message": message}, [(n, "ready", at) for n in numbers])
    ready = [(standing.deliveries[number].queue_key, at) for number in numbers]
    yield from notify(ready_notes(ready))
    return (yield from _detail(tenant, message)), ready


def _change(standing: _Standing, recipient: Recipient, state: RecipientState, at: int) -> Change:
    to = RecipientChange(recipient.position, state, recipient.reply, recipient.category, recipient.attempts)
    return Change(standing.message.id, to, at)


def _event(standing: _Standing, recipient: Recipient, kind: EventKind, at: int) -> Event:
    return Event(kind, at, standing.message.tenant, standing.message.id, recipient.address)
