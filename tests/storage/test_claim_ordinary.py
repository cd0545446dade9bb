"""The claim that is part of its group's statement, beside others who lock, claim and change the same mail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeAlias

import asyncpg
import pytest

from relay.clock import MINUTE
from relay.model.delivery import Claim, NewMessage
from relay.model.message import MessageState, RecipientState
from storage import Store
from storage.claiming import Wanted
from storage.composing import Accepting, Claiming, Settling
from storage.ordinary import accepted_row, settled_row
from tests.storage.conftest import furnish
from tests.storage.mail import CLOCK, QUEUE, leased, mail, settled

pytestmark = pytest.mark.postgres
Other: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@pytest.fixture
def backend() -> str:
    return "postgres"


@pytest.fixture
async def store(opened: Any) -> Store:
    """Alone: its groups commit by one statement."""
    found: Store = await opened()
    await furnish(found)
    listening: Any = found._database
    async with asyncio.timeout(20):
        while not listening._listening.is_alone:  # noqa: ASYNC110 - what is waited for comes by way of the server
            await asyncio.sleep(0.001)
    return found


@asynccontextmanager
async def transaction(url: str) -> AsyncIterator[Other]:
    """Somebody else's."""
    other = await asyncpg.connect(url, timeout=10, command_timeout=10)
    try:
        await other.execute("BEGIN")
        yield other
    finally:
        await other.close()


async def until_somebody_waits(other: Other) -> None:
    async with asyncio.timeout(10):
        while not await other.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            pass


def group(store: Store, ended: NewMessage, *, wanted: int) -> asyncio.Future[tuple[bool, Claim]]:
    """One statement that settles a message that goes out, and claims."""
    database: Any = store._database
    queue: Any = store.queue
    settlement = replace(settled(leased(ended)), whole=True)
    items = [Settling(settlement, settled_row(settlement)), Claiming(Wanted(QUEUE, wanted), None)]
    claiming: asyncio.Future[tuple[bool, Claim]]
    claiming = asyncio.ensure_future(database.write(queue._compose(items, alone=False)))
    return claiming


async def accept(store: Store, *news: NewMessage) -> None:
    await asyncio.gather(*map(store.queue.accept, news))


def ids(claim: Claim) -> list[str]:
    return [one.message.id for one in claim.deliveries]


async def test_nothing_is_claimed_before_the_messages_to_be_settled_are_locked(store: Store, url: str) -> None:
    """An operator's act on both locks the messages, then their deliveries: who had claimed already would wait for it, and
    it for him."""
    goes_out, waits = mail(leased=True), mail()
    await accept(store, goes_out, waits)
    async with transaction(url) as act:
        await act.execute("SELECT id FROM messages ORDER BY id FOR NO KEY UPDATE")
        claiming = group(store, goes_out, wanted=5)
        await until_somebody_waits(act)
        await act.execute("SELECT number FROM deliveries WHERE message_id = $1 FOR UPDATE NOWAIT", waits.message.id)
        await act.execute("COMMIT")
    held, claim = await claiming
    assert held
    assert ids(claim) == [waits.message.id]


async def test_nothing_is_claimed_before_the_deliveries_to_be_settled_are_locked(store: Store, url: str) -> None:
    """The same with who locks deliveries alone, in their order."""
    goes_out, waits = mail(leased=True), mail()
    await accept(store, goes_out, waits)
    async with transaction(url) as other:
        await other.execute("SELECT number FROM deliveries WHERE message_id = $1 FOR UPDATE", goes_out.message.id)
        claiming = group(store, goes_out, wanted=5)
        await until_somebody_waits(other)
        await other.execute("SELECT number FROM deliveries WHERE message_id = $1 FOR UPDATE NOWAIT", waits.message.id)
        await other.execute("COMMIT")
    assert ids((await claiming)[1]) == [waits.message.id]


async def test_what_has_changed_since_the_statement_began_is_looked_at_again(store: Store, url: str) -> None:
    """It waits for a message that it is to settle; meanwhile another instance claims, and an operator postpones."""
    goes_out = mail(leased=True)
    claimed, postponed, *left = [mail() for _ in range(4)]
    await accept(store, goes_out, claimed, postponed, *left)
    async with transaction(url) as other:
        await other.execute("SELECT id FROM messages WHERE id = $1 FOR NO KEY UPDATE", goes_out.message.id)
        claiming = group(store, goes_out, wanted=2)
        await until_somebody_waits(other)
        await other.execute(
            "UPDATE deliveries SET state = 'leased', holder = 'two', lease_until = $2, attempt = 1 WHERE message_id = $1",
            claimed.message.id,
            CLOCK.now() + MINUTE,
        )
        await other.execute(
            "UPDATE deliveries SET due = $2 WHERE message_id = $1", postponed.message.id, CLOCK.now() + MINUTE
        )
        await other.execute("COMMIT")
    held, claim = await claiming
    assert held
    assert ids(claim) == [one.message.id for one in left]
    again = await store.queue.claim(QUEUE, 5)
    assert ids(again) == []
    assert again.next_due is not None


async def test_what_others_have_locked_is_passed_over_and_known_to_be_due(store: Store, url: str) -> None:
    first, *left = [mail() for _ in range(3)]
    await accept(store, first, *left)
    async with transaction(url) as other:
        await other.execute("SELECT number FROM deliveries WHERE message_id = $1 FOR UPDATE", first.message.id)
        claim = await store.queue.claim(QUEUE, 5)
        assert ids(claim) == [one.message.id for one in left]
        assert claim.next_due is not None
        assert claim.next_due <= CLOCK.now()
        await other.execute("COMMIT")
    assert ids(await store.queue.claim(QUEUE, 5)) == [first.message.id]


async def test_two_instances_that_claim_at_once_share_what_is_due(store: Store, opened: Any) -> None:
    two: Store = await opened(holder="two")
    news = [mail() for _ in range(200)]
    await accept(store, *news)
    taken: list[str] = []
    async with asyncio.timeout(20):
        while len(taken) < len(news):
            for claim in await asyncio.gather(*(one.queue.claim(QUEUE, 7) for one in (store, two, store, two))):
                taken += ids(claim)
    assert sorted(taken) == sorted(one.message.id for one in news)


async def test_a_group_that_fails_has_claimed_nothing(store: Store) -> None:
    """Its members are done alone, and a message that came in with it is there once."""
    goes_out, waits, new = mail(leased=True), mail(), mail()
    await accept(store, goes_out, waits)
    lost = replace(settled(leased(goes_out)), whole=True, attempt=7)
    queue: Any = store.queue
    items = [Accepting(new, accepted_row(new)), Settling(lost, settled_row(lost)), Claiming(Wanted(QUEUE, 5), None)]
    with pytest.raises(asyncpg.NotNullViolationError):
        await store._database.write(queue._compose(items, alone=False))
    _, held, claim = await asyncio.gather(
        store.queue.accept(new), store.queue.settle(lost), store.queue.claim(QUEUE, 5)
    )
    assert not held
    assert waits.message.id in ids(claim)
    assert (await store.archive.message(None, new.message.id)).message.state is MessageState.OPEN


async def test_content_comes_with_the_first_recipient_that_is_still_open(store: Store) -> None:
    new = mail([f"{name}@example.com" for name in "abcd"])
    await accept(store, new)
    (delivery,) = (await store.queue.claim(QUEUE, 1)).deliveries
    states = (RecipientState.SENT, RecipientState.DEFERRED, RecipientState.FAILED, RecipientState.DEFERRED)
    assert await store.queue.settle(settled(delivery, *states))
    (again,) = (await store.queue.claim(QUEUE, 1)).deliveries
    assert [one.position for one in again.recipients] == [1, 3]
    assert (again.content, again.whole, again.attempt) == (new.content, False, 2)
