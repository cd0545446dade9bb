"""Deaths of holders: counted in a row, forgotten with an outcome, three of them hold a delivery and no other."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from relay.model.act import Act
from relay.model.delivery import LeasedDelivery
from relay.model.event import Event
from relay.model.message import MessageState, RecipientState
from storage import Store
from storage.recovering import APART, DEATHS
from storage.work import script
from tests.storage.conftest import Open, furnish
from tests.storage.mail import QUEUE, TENANT, mail, settled
from tests.support.clock import FakeClock

NOTHING: list[Event] = []


async def die(store: Store) -> int:
    """Whoever holds something on this store dies."""
    return await store.take_over("one")


async def claim(store: Store, count: int = 10) -> list[LeasedDelivery]:
    return list((await store.queue.claim(QUEUE, count)).deliveries)


async def opened_for(opened: Open) -> Store:
    store = await opened()
    await furnish(store)
    return store


async def test_three_deaths_in_a_row_hold_it(opened: Open) -> None:
    store = await opened_for(opened)
    told: list[Event] = []
    store.on_held(told.extend)
    await store.queue.accept(mail(["a@example.com", "b@example.com"]))
    for death in range(1, DEATHS):
        (lease,) = await claim_in_time(store)
        assert lease.attempt == death
        assert await die(store) == 1
        assert told == NOTHING
    (lease,) = await claim_in_time(store)
    assert await die(store) == 0
    assert [(event.kind, event.recipient) for event in told] == [("held", "a@example.com"), ("held", "b@example.com")]
    detail = await store.archive.message(TENANT, lease.message.id)
    assert detail.message.state is MessageState.HELD
    assert {one.state for one in detail.recipients} == {RecipientState.HELD}
    assert [c.held for c in await store.archive.counts()] == [1]
    await store.archive.act(
        TENANT, lease.message.id, Act.RETRY, 5
    )  # somebody has looked: it may be tried as often again
    for _ in range(DEATHS - 1):
        assert len(await claim_in_time(store)) == 1
        assert await die(store) == 1


async def claim_in_time(store: Store) -> list[LeasedDelivery]:
    """A claim that does not wait for what is tried apart."""
    await store._database.write(script("UPDATE deliveries SET due = 1 WHERE state = 'ready';"))
    return await claim(store)


async def test_an_outcome_forgets_the_deaths(opened: Open) -> None:
    store = await opened_for(opened)
    new = mail()
    await store.queue.accept(new)
    for _ in range(2 * DEATHS):
        assert len(await claim_in_time(store)) == 1
        assert await die(store) == 1
        (lease,) = await claim_in_time(store)
        assert await store.queue.settle(settled(lease, RecipientState.DEFERRED, due=1))
    assert (await store.archive.message(TENANT, new.message.id)).message.state is MessageState.OPEN


async def test_what_cannot_be_read_is_held_in_the_end(opened: Open) -> None:
    store = await opened_for(opened)
    told: list[Event] = []
    store.on_held(told.extend)
    new = mail(tags=("a",))
    await store.queue.accept(new)
    await store._database.write(script("UPDATE messages SET tags = '[\"a';"))
    for left in reversed(range(DEATHS)):
        assert await claim_in_time(store) == []
        assert await die(store) == min(left, 1)
    assert [(event.kind, event.message) for event in told] == [("held", new.message.id)]
    assert "could not read it" in str(told[0].facts["reason"])


async def test_giving_back_a_lease_is_no_death(opened: Open) -> None:
    store = await opened_for(opened)
    await store.queue.accept(mail())
    for _ in range(2 * DEATHS):
        await store.queue.release(await claim_in_time(store))
    assert len(await claim_in_time(store)) == 1


async def test_suspects_are_tried_apart(opened: Open, backend: str) -> None:
    """After the second death each comes at a time of its own, so that the third is the culprit's alone."""
    clock = FakeClock()
    store = await opened(clock=clock)
    await furnish(store)
    for _ in range(3):
        await store.queue.accept(mail(now=clock.now()))
    await claim(store)
    await die(store)
    assert len(await claim(store)) == 3, "after the first death they are tried at once"
    await die(store)
    if backend == "sqlite":  # where the clock is the tests'
        seen = []
        for _ in range(3):
            assert await claim(store) == []
            clock.advance(APART)
            seen += [lease.message.id for lease in await claim(store)]
        assert len(set(seen)) == 3


async def test_what_was_held_at_the_opening_is_told_later(opened: Open) -> None:
    store = await opened_for(opened)
    await store.queue.accept(mail())
    for _ in range(DEATHS):
        await claim_in_time(store)
        await store.close()
        store = await opened()
    told: list[Event] = []
    store.on_held(told.extend)
    assert [event.kind for event in told] == ["held"]


@pytest.mark.postgres
async def test_recovery_waits_for_no_settlement_of_what_it_takes_back(opened: Open, url: str, backend: str) -> None:
    """Who settles has locked the message and wants the delivery, which recovery has locked: to wait would be a deadlock."""
    if backend == "sqlite":
        pytest.skip("it has one writer")
    store = await opened_for(opened)
    await store.queue.accept(mail())
    for _ in range(DEATHS - 1):
        await claim_in_time(store)
        await die(store)
    (lease,) = await claim_in_time(store)
    settling = await asyncpg.connect(url)
    try:
        await settling.execute("BEGIN")
        await settling.execute("SELECT id FROM messages WHERE id = $1 FOR NO KEY UPDATE", lease.message.id)
        async with asyncio.timeout(5):
            assert await die(store) == 1, "it is tried alone once more"
        await settling.execute("COMMIT")
    finally:
        await settling.close()
    assert not await store.queue.settle(settled(lease, RecipientState.SENT))
    await claim_in_time(store)
    assert await die(store) == 0
    assert (await store.archive.message(TENANT, lease.message.id)).message.state is MessageState.HELD
