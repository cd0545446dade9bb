"""The message archive: reading what was accepted, and an operator's acts on it (relay.contracts.MessageArchive)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from relay.clock import Clock
from relay.contracts.archive import Acted, ActedOnAll, MessageFilter, QueueCounts
from relay.errors import NotFound
from relay.model.act import Act, WhyNot
from relay.model.address import Address
from relay.model.delivery import Attempt, delivery_id
from relay.model.event import Event
from relay.model.explanation import DeliveryStanding
from relay.model.message import OPEN_STATES, DeliveryState, Message, MessageDetail, MessageState, QueueId, Recipient
from storage.acting import Performed, judge, perform
from storage.acts import NotDone, Order
from storage.database import Database
from storage.directory import RemoveContents
from storage.queue import ReadyCallback
from storage.rows import read_attempt, read_event, read_message, read_recipient, write_json
from storage.work import Row, T, Values, Work, fetch, fetch_one

NEWEST = "~"
"""Sorts behind every queue id."""

ACTED_AT_ONCE = 100
"""Messages in one transaction of an act on many."""


class Archive:
    """Satisfies MessageArchive."""

    def __init__(self, database: Database, clock: Clock, on_ready: ReadyCallback, remove_large: RemoveContents) -> None:
        """`remove_large` is told of messages whose large content, beside the rows, is to go."""
        self._database = database
        self._clock = clock
        self._on_ready = on_ready
        self._remove_large = remove_large

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

    async def act(
        self, tenant: str | None, message: QueueId, act: Act, at: int, *, account: str | None = None
    ) -> Acted:
        """See MessageArchive. Whoever listens to the store hears of what became due."""
        acted, performed = await self._database.write(_act(tenant, message, Order(act, at, account)))
        await self._follow(performed)
        return acted

    async def act_on_all(
        self, wanted: MessageFilter, act: Act, at: int, *, account: str | None = None, dry_run: bool = False
    ) -> ActedOnAll:
        """See MessageArchive."""
        order, left, before = Order(act, at, account), wanted.limit, wanted.before
        matched = changed = 0
        skipped: Counter[WhyNot] = Counter()
        while left > 0:
            count = min(ACTED_AT_ONCE, left)
            page = await self._database.read(_find(replace(wanted, before=before, limit=count)))
            messages = [message.id for message in page]
            if dry_run:
                performed = await self._database.read(judge(wanted.tenant, messages, order))
            else:
                performed = await self._database.write(perform(wanted.tenant, messages, order))
                await self._follow(performed)
            matched += len(messages)
            changed += len(performed.done)
            skipped.update(performed.not_done.values())
            left -= count
            before = messages[-1] if len(messages) == count else None
            if before is None:
                break
        return ActedOnAll(matched, changed, skipped, before)

    async def _follow(self, performed: Performed) -> None:
        """What follows from a commit."""
        for queue_key, due in performed.ready:
            self._on_ready(queue_key, due)
        await self._remove_large(performed.large)

    async def counts(self) -> Sequence[QueueCounts]:
        """See MessageArchive."""
        found: dict[str, QueueCounts] = {}
        for queue_key, state, count, due in await self._database.read(fetch("queue_counts")):
            known = found.get(queue_key) or QueueCounts(queue_key, 0, 0, 0, 0, None)
            found[queue_key] = replace(known, **{state: count}, next_due=due if state == "ready" else known.next_due)
        return [found[key] for key in sorted(found)]


def _list(wanted: MessageFilter) -> Work[Sequence[MessageDetail]]:
    return (yield from _with_recipients((yield from _find(wanted))))


def _find(wanted: MessageFilter) -> Work[Sequence[Message]]:
    rows: list[Row] = []
    for statement, values in _walks(wanted):
        rows += yield from fetch(statement, values)
    found = sorted((read_message(row) for row in rows), key=lambda one: one.id, reverse=True)
    before = wanted.before or NEWEST
    return [message for message in found if message.id < before][: wanted.limit]


def _act(tenant: str | None, message: QueueId, order: Order) -> Work[tuple[Acted, Performed]]:
    before = yield from _detail(tenant, message)
    performed = yield from perform(tenant, [message], order)
    if message in performed.not_done:
        raise NotDone(performed.not_done[message], message, order.act)
    if message not in performed.done:  # it went while its lock was waited for
        raise NotFound(f"no message {message}")
    doing = performed.done[message]
    after = before if doing.is_deleted else (yield from _detail(tenant, message))
    return Acted(after, doing.concerned, doing.under_way), performed


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
        "priority": None if wanted.priority is None else int(wanted.priority),
        "tags": write_json(wanted.tags) if wanted.tags else None,
        "suspended": None if wanted.suspended is None else int(wanted.suspended),
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
    suspended = {row[0] for row in (yield from fetch("suspended_messages", given=[(m.id,) for m in messages]))}
    return [MessageDetail(m, tuple(recipients[m.id]), m.id in suspended) for m in messages]


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
    for row in (yield from fetch("addressed_recipients", given=[(message,)])):
        recipient = read_recipient(row, 2)
        if recipient.state in OPEN_STATES:
            recipients[row[1]].append(recipient.address)
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
