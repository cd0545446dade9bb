"""Ordinary messages: what the one statement writes is what the general way writes, and a group's culprit fails alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from relay.clock import MINUTE
from relay.model.delivery import Claim, NewMessage, Settlement
from relay.model.message import DeliveryState, MessageState, Priority, RecipientState
from storage import Store
from storage.claiming import Wanted
from storage.composing import Accepting, Claiming, Settling
from storage.ordinary import accepted_row, settled_row
from storage.settling import IllegalTransition
from storage.work import Step, Work, script
from tests.storage.mail import CLOCK, QUEUE, leased, mail, settled

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


async def claims(store: Store, *wanted: Wanted, alone: bool) -> Sequence[Claim]:
    """As the members of a group, or in the general way."""
    queue: Any = store.queue
    found: Sequence[Claim] = await store._database.write(
        queue._compose([Claiming(one, None) for one in wanted], alone=alone)
    )
    return found


def waiting(now: int, queue: str) -> list[NewMessage]:
    """Of all priorities, with one recipient and with several, and one that is not due yet."""
    urgencies = (Priority.LOW, Priority.MEDIUM, Priority.MEDIUM, Priority.HIGH, Priority.IMMEDIATE)
    found = [mail(now=now, due=now - at, queue=queue, priority=one) for at, one in enumerate(urgencies)]
    several = mail([f"{name}@example.com" for name in "abc"], now=now, due=now - MINUTE, queue=queue, content=b"x: y")
    return [*found, several, mail(now=now, due=now + MINUTE, queue=queue)]


async def test_both_ways_claim_alike(store: Store) -> None:
    """Claimed by one way, given back, claimed by the other."""
    now = CLOCK.now()
    for queue in (QUEUE, "acme/other/acme"):
        await asyncio.gather(*map(store.queue.accept, waiting(now, queue)))
    for limit in (0, 2, 50):
        wanted = [Wanted(QUEUE, limit), Wanted("acme/none/acme", 5), Wanted("acme/other/acme", 3)]
        found: list[Sequence[Claim]] = []
        for alone in (False, True):
            claimed = await claims(store, *wanted, alone=alone)
            await store.queue.release([one for claim in claimed for one in claim.deliveries])
            found.append(claimed)
        by_one, in_general = found
        assert [len(claim.deliveries) for claim in by_one] == [min(limit, 6), 0, 3]
        for one, other in zip(by_one, in_general, strict=True):
            assert one.deliveries == other.deliveries
            assert (one.next_due is None) == (other.next_due is None)
            assert abs((one.next_due or 0) - (other.next_due or 0)) < MINUTE  # a clock is read for each


@pytest.mark.parametrize("alone", [False, True])
async def test_a_message_that_cannot_be_read_holds_up_nobody(
    store: Store, alone: bool, caplog: pytest.LogCaptureFixture
) -> None:
    news = [mail(tags=("a",)) for _ in range(3)]
    await asyncio.gather(*map(store.queue.accept, news))
    damaged = news[1].message.id
    await store._database.write(script(f"UPDATE messages SET tags = '[\"a' WHERE id = '{damaged}';"))
    new = mail()
    queue: Any = store.queue
    items = [Accepting(new, accepted_row(new)), Claiming(Wanted(QUEUE, 3), None)]
    accepted, claim = await store._database.write(queue._compose(items, alone=alone))
    assert accepted.id == new.message.id
    assert [one.message.id for one in claim.deliveries] == [news[0].message.id, news[2].message.id]
    assert f"message {damaged} cannot be read" in caplog.text
    again = await store.queue.claim(QUEUE, 3)
    assert [one.message.id for one in again.deliveries] == [new.message.id], (
        "and is not met again before its lease's end"
    )


async def test_a_queue_that_is_asked_twice_in_a_group_gives_each_delivery_once(store: Store) -> None:
    news = waiting(CLOCK.now(), QUEUE)
    await asyncio.gather(*map(store.queue.accept, news))
    first, second = await claims(store, Wanted(QUEUE, 3), Wanted(QUEUE, 3), alone=False)
    assert len({one.id for claim in (first, second) for one in claim.deliveries}) == 6


async def test_a_group_with_a_claim_commits_by_one_statement_on_postgresql(store: Store) -> None:
    database: Any = store._database
    if database.dialect == "sqlite":
        pytest.skip("SQLite's writer does a whole group in one hop")
    before = [mail(leased=True) for _ in range(3)]
    waits = mail()
    await asyncio.gather(*map(store.queue.accept, [*before, waits]))
    said: list[str] = []
    async with database._connections.use() as connection:
        connection.add_query_logger(lambda record: said.append(record.query))
    new = mail()
    group = [
        *(Settling(one, settled_row(one)) for one in (replace(settled(leased(new)), whole=True) for new in before)),
        Accepting(new, accepted_row(new)),
        Claiming(Wanted(QUEUE, 5), None),
    ]
    queue: Any = store.queue
    *held, _, claim = await database.write(queue._compose(group, alone=False))
    assert len([one for one in said if "deliveries" in one]) == 1  # asyncpg asks a new connection for its types
    assert not {"BEGIN", "COMMIT"} & set(said)
    assert held == [True] * 3
    assert [one.message.id for one in claim.deliveries] == [waits.message.id]
    again = await store.queue.claim(QUEUE, 5)  # what went along with a claim is for the next one
    assert [one.message.id for one in again.deliveries] == [new.message.id]


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
    assert len(statements) == 2


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
