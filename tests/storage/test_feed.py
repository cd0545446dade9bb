"""The feed: pages while mail flows, in order, none twice, none missed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from relay.clock import MINUTE
from relay.contracts.feed import FeedFilter
from relay.model.event import Event, EventKind
from relay.model.tenant import Tenant
from storage import Store, feed, open_store
from storage.feed import Feed
from tests.storage.conftest import Open, furnish
from tests.storage.mail import CLOCK, TENANT, leased, mail, settled
from tests.support import postgres

MESSAGES, WRITERS = 300, 6


async def drain(store: Store, wanted: FeedFilter) -> tuple[list[Event], int]:
    """All that is there now, and the cursor behind it."""
    found: list[Event] = []
    while True:
        page = await store.feed.page(wanted)
        found += page.events
        wanted = replace(wanted, after=page.cursor)
        if not page.more:
            return found, page.cursor


async def test_pages_while_mail_flows(store: Store, opened: Open) -> None:
    stores = [store, store if store._database.dialect == "sqlite" else await opened(holder="two")]
    taken: list[str] = []
    done = asyncio.Event()

    async def write(number: int) -> None:
        queue = stores[number % 2].queue
        for _ in range(MESSAGES // WRITERS):
            new = mail(leased=True)
            await queue.accept(new)
            await queue.settle(settled(leased(new)))
            taken.append(new.message.id)

    async def read() -> list[Event]:
        found: list[Event] = []
        wanted = FeedFilter(TENANT, limit=7)
        while True:
            last = done.is_set()
            some, cursor = await drain(store, wanted)
            found += some
            wanted = replace(wanted, after=cursor)
            if last:
                return found

    reading = asyncio.create_task(read())
    await asyncio.gather(*(write(number) for number in range(WRITERS)))
    done.set()
    found = await reading
    assert [one.sequence for one in found] == sorted({one.sequence for one in found})
    assert len(found) == 2 * MESSAGES
    for kind in (EventKind.ACCEPTED, EventKind.SENT):
        assert sorted(str(one.message) for one in found if one.kind is kind) == sorted(taken)


async def test_filters_and_a_cursor_that_moves_where_nothing_matches(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "WALKED_AT_ONCE", 4)
    await store.directory.add_tenant(Tenant("other", "Other", None, CLOCK.now()))
    for _ in range(10):
        await store.queue.accept(mail())
    theirs = mail(tenant="other", queue="acme/main/other")
    await store.queue.accept(theirs)
    page = await store.feed.page(FeedFilter("other"))
    assert (page.events, page.more) == ([], True)
    assert page.cursor > 0
    found, cursor = await drain(store, FeedFilter("other"))
    assert [(one.tenant, one.message) for one in found] == [("other", theirs.message.id)]
    assert (await drain(store, FeedFilter("other", after=cursor)))[0] == []
    assert len((await drain(store, FeedFilter(limit=3)))[0]) == 11
    assert {one.tenant for one in (await drain(store, FeedFilter(TENANT)))[0]} == {TENANT}
    assert (await drain(store, FeedFilter(TENANT, message=theirs.message.id)))[0] == []
    assert (await drain(store, FeedFilter("other", message=theirs.message.id)))[0] == found
    assert (await drain(store, FeedFilter(kind=EventKind.SENT)))[0] == []


@pytest.mark.postgres
async def test_nothing_is_read_past_the_oldest_open_transaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "PATIENCE", 0.05)
    url = postgres.new_database()
    store = await open_store(url, holder="one", lease=MINUTE, clock=CLOCK, key_file=tmp_path / "key")
    late = await asyncpg.connect(url)
    try:
        await furnish(store)
        transaction = late.transaction()
        await transaction.start()
        await late.execute(
            "INSERT INTO events (tenant_id, message_id, kind, at) VALUES ($1, 'late', 'sent', 1)",
            TENANT,
        )
        await store.queue.accept(mail())
        page = await store.feed.page(FeedFilter(TENANT))
        assert (list(page.events), page.cursor) == ([], 0)
        # The control: without the bound the later sequence is seen first, and the cursor passes over the earlier one.
        with monkeypatch.context() as blind:
            blind.setattr(Feed, "_settled", everything)
            passed = await store.feed.page(FeedFilter(TENANT))
        assert [one.kind for one in passed.events] == [EventKind.ACCEPTED]
        await transaction.commit()
        page = await store.feed.page(FeedFilter(TENANT, after=page.cursor))
        assert [one.kind for one in page.events] == [EventKind.SENT, EventKind.ACCEPTED]
        assert page.events[0].sequence < passed.cursor
    finally:
        await late.close()
        await store.close()
        postgres.drop_database(url)


async def everything(_: Feed) -> int:
    return feed.NEWEST
