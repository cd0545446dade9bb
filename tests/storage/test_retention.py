"""Retention: what goes when, what stays whatever its age, and that a walk is no burden."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from relay.clock import DAY, MINUTE
from relay.errors import Conflict, NotFound
from relay.model.act import Act
from relay.model.message import MessageState, RecipientState
from storage import Store, Terms
from storage.retention import AT_ONCE, PAGE, Ending, Removed, Retention
from storage.work import fetch
from tests.storage.conftest import Open, furnish
from tests.storage.mail import TENANT, leased, mail, settled
from tests.storage.raw import run
from tests.support.clock import START, FakeClock

NOW = START
TERMS = Terms(content=7 * DAY, failed_content=14 * DAY, messages=30 * DAY, events=90 * DAY)
S = MessageState


@pytest.mark.parametrize(
    ("state", "age", "content", "all_of_it"),
    [
        (S.SENT, 6 * DAY, False, False),
        (S.SENT, 8 * DAY, True, False),
        (S.CAPTURED, 8 * DAY, True, False),
        (S.SENT, 31 * DAY, True, True),
        (S.FAILED, 8 * DAY, False, False),
        (S.PARTIAL, 13 * DAY, False, False),
        (S.FAILED, 15 * DAY, True, False),
        (S.CANCELLED, 31 * DAY, True, True),
        (S.OPEN, 400 * DAY, False, False),
        (S.HELD, 400 * DAY, False, False),
        (S.PREPARING, 400 * DAY, False, False),
    ],
)
def test_what_is_due(state: MessageState, age: int, content: bool, all_of_it: bool) -> None:
    ending = Ending("m", state, NOW - 500 * DAY, NOW - age)
    assert ending.content_is_due(TERMS, NOW) is content
    assert ending.is_due(TERMS, NOW) is all_of_it
    assert not ending.content_is_due(Terms(), NOW)
    assert not ending.is_due(Terms(), NOW)


class Kept:
    """A store, its retention, and a clock that moves them through the years."""

    def __init__(self, store: Store, clock: FakeClock, terms: Terms = TERMS) -> None:
        self.store = store
        self.clock = clock
        self.retention = store.retention(terms)

    async def run(self, retention: Retention | None = None) -> Removed:
        """A run; its pauses pass by themselves."""
        running = asyncio.create_task((retention or self.retention).run())
        while not running.done():
            until = self.clock.sleeping_until
            if until and until[0] > self.clock.now():
                self.clock.advance(until[0] - self.clock.now())
            await asyncio.sleep(0)
        return running.result()

    async def count(self, table: str) -> int:
        database: Any = self.store._database
        if database.dialect == "sqlite":
            return int(
                await database._reader.run(lambda raw: raw.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
            )
        async with database._connections.use() as connection:
            return int(await connection.fetchval(f"SELECT count(*) FROM {table}"))

    async def counts(self) -> dict[str, int]:
        tables = ("messages", "contents", "recipients", "deliveries", "attempts", "events")
        return {table: await self.count(table) for table in tables}

    async def ended(self, *states: RecipientState, **facts: Any) -> str:
        """A message that has come to its end."""
        to = [f"r{n}@example.com" for n in range(max(1, len(states)))]
        new = await self.open(to, **facts)
        at = self.clock.now()
        lease = leased(new)
        assert await self.store.queue.settle(settled(lease, *states, at=at))
        return str(new.message.id)

    async def open(self, to: Any = ("r@example.com",), **facts: Any) -> Any:
        new = mail(to, leased=True, now=self.clock.now(), **facts)
        await self.store.queue.accept(new)
        return new


@pytest.fixture
async def kept(opened: Open) -> Kept:
    clock = FakeClock()
    store = await opened(clock=clock, lease=10 * 365 * DAY)
    await furnish(store)
    return Kept(store, clock)


async def test_content_then_rows_then_events(kept: Kept) -> None:
    sent = await kept.ended()
    failed = await kept.ended(RecipientState.FAILED)
    large = await kept.ended(content=await _large(kept, "large0000000000a"), id="large0000000000a")
    still_open = (await kept.open()).message.id
    before = await kept.counts()
    assert await kept.run() == Removed()
    assert await kept.counts() == before

    kept.clock.advance(8 * DAY)
    assert await kept.run() == Removed(contents=2)
    for gone in (sent, large):
        with pytest.raises(NotFound):
            await anext(aiter(kept.store.contents.read(gone)))  # type: ignore[arg-type]
    assert (await kept.store.archive.message(TENANT, sent)).message.state is S.SENT  # type: ignore[arg-type]
    assert await kept.store.archive.attempts(TENANT, sent)  # type: ignore[arg-type]

    kept.clock.advance(7 * DAY)
    assert await kept.run() == Removed(contents=1)
    with pytest.raises(Conflict, match="gone"):
        await kept.store.archive.act(TENANT, failed, Act.RETRY, kept.clock.now())  # type: ignore[arg-type]

    kept.clock.advance(16 * DAY)
    assert await kept.run() == Removed(messages=3)
    left = await kept.counts()
    assert left == {**dict.fromkeys(left, 1), "attempts": 0, "events": before["events"]}

    kept.clock.advance(60 * DAY)
    assert await kept.run() == Removed(events=before["events"] - 1)
    detail = await kept.store.archive.message(TENANT, still_open)
    assert detail.message.state is S.OPEN
    assert [event.kind for event in await kept.store.archive.events(TENANT, still_open)] == ["accepted"]
    assert [piece async for piece in kept.store.contents.read(still_open)]


async def _large(kept: Kept, message: str) -> Any:
    writer = kept.store.contents.writer(message)  # type: ignore[arg-type]
    await writer.write(b"x" * 300_000)
    return await writer.finish()


async def test_nothing_goes_without_terms(kept: Kept) -> None:
    await kept.ended()
    before = await kept.counts()
    kept.clock.advance(3650 * DAY)
    assert await kept.run(kept.store.retention(Terms())) == Removed()
    assert await kept.counts() == before


async def test_what_ends_late_goes_late(kept: Kept) -> None:
    """It was behind the walk when it ended: the next day's walk begins anew."""
    late = await kept.open()
    kept.clock.advance(8 * DAY)
    assert await kept.run() == Removed()
    await kept.store.queue.settle(settled(leased(late), at=kept.clock.now()))
    kept.clock.advance(6 * DAY)
    assert await kept.run() == Removed()
    kept.clock.advance(DAY + MINUTE)
    assert await kept.run() == Removed(contents=1)


async def test_a_walk_goes_on_where_it_ended(kept: Kept) -> None:
    for _ in range(3):
        await kept.open()
    kept.clock.advance(8 * DAY)
    await kept.run()
    assert kept.retention._content_after != ""
    await kept.ended()
    kept.clock.advance(7 * DAY + MINUTE)
    kept.retention._anew_at = kept.clock.now() + 1
    assert await kept.run() == Removed(contents=1)


async def test_an_operator_who_was_quicker_is_heeded(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look and the deletion a failed message is put back into the queue: it stays."""
    failed = await kept.ended(RecipientState.FAILED)
    kept.clock.advance(40 * DAY)
    database: Any = kept.store._database
    write = database.write

    async def retry_first(work: Any) -> Any:
        monkeypatch.setattr(database, "write", write)
        await kept.store.archive.act(TENANT, failed, Act.RETRY, kept.clock.now())  # type: ignore[arg-type]
        return await write(work)

    monkeypatch.setattr(database, "write", retry_first)
    assert await kept.run() == Removed()
    assert (await kept.store.archive.message(TENANT, failed)).message.state is S.OPEN  # type: ignore[arg-type]


async def test_many_go_in_small_transactions_with_pauses(kept: Kept) -> None:
    count = PAGE + 3 * AT_ONCE // 2
    await asyncio.gather(*(kept.ended() for _ in range(count)))
    kept.clock.advance(100 * DAY)
    database: Any = kept.store._database
    writes: list[int] = []
    write = database.write

    async def counted(work: Any) -> Any:
        writes.append(kept.clock.now())
        return await write(work)

    database.write = counted
    try:
        removed = await kept.run()
    finally:
        del database.write
    assert (removed.contents, removed.messages, removed.events) == (count, count, 2 * count)
    assert len(writes) >= 2 * count // AT_ONCE
    assert len(set(writes)) == len(writes), "a pause behind each"
    assert set((await kept.counts()).values()) == {0}


async def test_a_sqlite_file_shrinks(kept: Kept, backend: str, tmp_path: Path) -> None:
    if backend != "sqlite":
        pytest.skip("PostgreSQL looks after its files by itself")
    for _ in range(200):
        await kept.ended(content=b"x" * 60_000)
    database: Any = kept.store._database
    await run(kept.store, "PRAGMA wal_checkpoint(TRUNCATE)")
    file = tmp_path / "store" / "stagepost.db"
    full = file.stat().st_size
    kept.clock.advance(100 * DAY)
    await kept.run()
    await run(kept.store, "PRAGMA wal_checkpoint(TRUNCATE)")
    print(f"{full} octets, then {file.stat().st_size}")
    assert file.stat().st_size < full / 2
    ((free, pages),) = await database.read(fetch("free_pages"))
    assert free < pages
