"""Ordinary messages: what the one statement writes is what the general way writes, and a group's culprit fails alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from relay.clock import MINUTE
from relay.model.delivery import NewMessage, Settlement
from relay.model.message import DeliveryState, MessageState, Priority, RecipientState
from storage import Store
from storage.composing import Accepting, Settling
from storage.ordinary import accepted_row, settled_row
from storage.settling import IllegalTransition
from storage.work import Step, Work
from tests.storage.mail import CLOCK, leased, mail, settled

TABLES = ("messages", "contents", "recipients", "deliveries", "attempts", "events")
DEFERRED, FAILED, SENT = RecipientState.DEFERRED, RecipientState.FAILED, RecipientState.SENT


class Recorder:
    """Stands before a database and notes the statements of its works."""

    def __init__(self, database: Any) -> None:
        self._database = database
        self.seen: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    async def write(self, work: Work[Any]) -> Any:
        return await self._database.write(self._watched(work))

    def _watched(self, work: Work[Any]) -> Work[Any]:
        answer: Any = None
        while True:
            try:
                step: Step = work.send(answer)
            except StopIteration as end:
                return end.value
            for one in getattr(step, "steps", [step]):
                self.seen.append(getattr(one, "name", type(one).__name__))
            answer = yield step


async def dump(store: Store, message: str) -> dict[str, list[dict[str, Any]]]:
    """Every row of a message, without what names it or follows from the moment."""
    database: Any = store._database
    found: dict[str, list[dict[str, Any]]] = {}
    for table in TABLES:
        column = "id" if table == "messages" else "message_id"
        query = f"SELECT * FROM {table} WHERE {column} = "
        if database.dialect == "sqlite":

            def read(raw: Any, query: str = query) -> list[dict[str, Any]]:
                cursor = raw.execute(f"{query}?", (message,))
                return [dict(zip([one[0] for one in cursor.description], row, strict=True)) for row in cursor]

            rows = await database._reader.run(read)
        else:
            async with database._connections.use() as connection:
                rows = [dict(row) for row in await connection.fetch(f"{query}$1", message)]
        for row in rows:
            for name in (column, "sequence", "lease_until"):
                row.pop(name, None)
        found[table] = sorted(rows, key=repr)
    return found


def one_by_one(store: Store, *items: NewMessage | Settlement) -> Any:
    """The general way, as a group's members go that has failed."""
    queue: Any = store.queue
    wrapped = [Accepting(each, None) if isinstance(each, NewMessage) else Settling(each, None) for each in items]
    return store._database.write(queue._compose(wrapped, alone=True))


def variants(now: int) -> Sequence[NewMessage]:
    return [
        mail(now=now),
        mail(now=now, leased=True),
        mail(
            now=now,
            content=bytes(range(256)),
            batch="spring",
            not_before=now + MINUTE,
            expires_at=now + 2 * MINUTE,
            due=now + MINUTE,
            tags=("a", "ü"),
            metadata='{"k": 1}',
            eight_bit=True,
            smtputf8=True,
            priority=Priority.IMMEDIATE,
        ),
    ]


async def test_both_ways_write_the_same(store: Store) -> None:
    now = CLOCK.now()
    for by_one, in_general in zip(variants(now), variants(now), strict=True):
        assert accepted_row(by_one) is not None
        await store.queue.accept(by_one)
        await one_by_one(store, in_general)
        assert await dump(store, by_one.message.id) == await dump(store, in_general.message.id)


@pytest.mark.parametrize("state", [SENT, FAILED, DEFERRED, RecipientState.UNKNOWN, RecipientState.CAPTURED])
async def test_both_ways_settle_alike(store: Store, state: RecipientState) -> None:
    now = CLOCK.now()
    pair = [mail(now=now, leased=True) for _ in range(2)]
    await asyncio.gather(*map(store.queue.accept, pair))
    by_one, in_general = (replace(settled(leased(new), state, at=now, due=now + MINUTE), whole=True) for new in pair)
    if state is RecipientState.UNKNOWN:
        by_one, in_general = (replace(each, state=DeliveryState.HELD) for each in (by_one, in_general))
    in_general = replace(in_general, record=by_one.record)
    assert settled_row(by_one) is not None
    assert await store.queue.settle(by_one)
    await one_by_one(store, in_general)
    assert await dump(store, by_one.message) == await dump(store, in_general.message)


async def test_a_group_of_ten_is_two_statements(store: Store) -> None:
    queue: Any = store.queue
    before = [mail(leased=True) for _ in range(5)]
    await asyncio.gather(*map(store.queue.accept, before))
    watch = Recorder(queue._group._database)
    queue._group._database = watch
    news = [mail() for _ in range(5)]
    ended = [replace(settled(leased(new)), whole=True) for new in before]
    assert all(await asyncio.gather(*map(store.queue.settle, ended), *map(store.queue.accept, news)))
    statements = [name for name in watch.seen if name not in {"Notify", "Lock"}]
    assert set(statements) == {"accept_ordinary", "settle_ordinary"}
    assert len(statements) <= 2 * store._database.groups_in_flight


async def test_who_has_lost_a_lease_is_told_so_and_nobody_else(store: Store) -> None:
    news = [mail(leased=True) for _ in range(4)]
    await asyncio.gather(*map(store.queue.accept, news))
    ended = [replace(settled(leased(new)), whole=True) for new in news]
    ended[1] = replace(ended[1], attempt=7)
    others = [mail(("a@example.com", "b@example.com"), leased=True), mail(client_id="mine")]
    held, accepted = await asyncio.gather(
        asyncio.gather(*map(store.queue.settle, ended)), asyncio.gather(*map(store.queue.accept, others))
    )
    assert held == [True, False, True, True]
    assert [one.id for one in accepted] == [new.message.id for new in others]
    states = [(await store.archive.message(None, new.message.id)).message.state for new in news]
    assert states == [MessageState.SENT, MessageState.OPEN, MessageState.SENT, MessageState.SENT]
    assert [len(await store.archive.events(None, new.message.id)) for new in news] == [2, 1, 2, 2]


async def test_a_transition_that_is_not_legal_writes_nothing(store: Store) -> None:
    new = mail(leased=True)
    await store.queue.accept(new)
    before = await dump(store, new.message.id)
    right = replace(settled(leased(new)), whole=True)
    nobody = replace(right, recipients=(replace(right.recipients[0], position=5),))
    with pytest.raises(IllegalTransition):
        await store.queue.settle(nobody)
    assert await dump(store, new.message.id) == before
    assert await store.queue.settle(right)
