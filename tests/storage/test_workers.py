"""Several processes of one instance on one store: SQLite, where they take turns, and PostgreSQL."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from relay.errors import NotFound
from relay.model.message import RecipientState
from relay.model.suppression import Suppression, SuppressionReason
from relay.model.tenant import Tenant
from relay.workers.wakes import Wakes
from storage import Store
from tests.storage.conftest import Open, furnish
from tests.storage.mail import CLOCK, QUEUE, TENANT, leased, mail, settled


@pytest.fixture
async def pair(opened: Open) -> tuple[Store, Store]:
    """Two workers on a store that their parent had opened before, and closed."""
    parent = await opened(holder="x")
    await furnish(parent)
    await parent.close()
    wakes = Wakes(2)
    one = await opened(holder="x.0.1", former="x.0", peers=wakes.seat(0))
    two = await opened(holder="x.1.1", former="x.1", peers=wakes.seat(1))
    return one, two


async def test_no_delivery_is_claimed_twice(pair: tuple[Store, Store]) -> None:
    count = 1000
    accepting = [asyncio.ensure_future(pair[at % 2].queue.accept(mail())) for at in range(count)]
    claimed: Counter[str] = Counter()

    async def work(store: Store) -> None:
        while claimed.total() < count:
            for delivery in (await store.queue.claim(QUEUE, 17)).deliveries:
                claimed[delivery.id] += 1
                assert await store.queue.settle(settled(delivery))

    await asyncio.gather(*accepting, work(pair[0]), work(pair[1]))
    assert claimed.total() == len(claimed) == count


async def test_the_others_hear_what_is_ready(pair: tuple[Store, Store]) -> None:
    one, two = pair
    told: asyncio.Queue[tuple[str, int]] = asyncio.Queue()
    two.on_ready(lambda queue_key, due: told.put_nowait((queue_key, due)))
    await one.queue.accept(mail())
    async with asyncio.timeout(10):
        assert (await told.get())[0] == QUEUE


async def test_who_begins_to_hear_again_looks_once(pair: tuple[Store, Store]) -> None:
    """The look at the queues that was under way is not left to itself, and each queue is told of once."""
    one, two = pair
    await one.queue.accept(mail())
    two.began()
    first = two._catching_up
    told: list[str] = []
    two.on_ready(lambda queue_key, _: told.append(queue_key))
    two.began()
    second = two._catching_up
    assert first is not None
    assert second is not None
    await asyncio.wait([first, second])
    assert first.cancelled()
    assert told == [QUEUE]
    assert len((await two.queue.claim(QUEUE, 1)).deliveries) == 1


async def test_a_change_is_seen_by_the_others_at_once(pair: tuple[Store, Store]) -> None:
    one, two = pair
    for number in range(20):
        with pytest.raises(NotFound):
            await two.directory.tenant(f"t{number}")
        await one.directory.add_tenant(Tenant(f"t{number}", "New", None, CLOCK.now()))
        assert (await two.directory.tenant(f"t{number}")).name == "New"
        await one.directory.delete_tenant(f"t{number}")
        with pytest.raises(NotFound):
            await two.directory.tenant(f"t{number}")


async def test_a_dead_workers_leases_are_taken_over_by_any_other(pair: tuple[Store, Store]) -> None:
    one, two = pair
    await one.queue.accept(mail(leased=True))
    await two.queue.accept(mail(leased=True))
    assert (await two.queue.claim(QUEUE, 5)).deliveries == ()
    assert await two.take_over("x.0.1") == 1
    assert len((await two.queue.claim(QUEUE, 5)).deliveries) == 1


async def test_a_new_life_takes_up_its_own_leases_alone(pair: tuple[Store, Store], opened: Open) -> None:
    one, two = pair
    await one.queue.accept(mail(leased=True))
    await two.queue.accept(mail(leased=True))
    again = await opened(holder="x.1.2", former="x.1", peers=Wakes(2).seat(1))
    assert len((await again.queue.claim(QUEUE, 5)).deliveries) == 1


async def test_the_parent_takes_up_what_all_of_them_left(pair: tuple[Store, Store], opened: Open) -> None:
    for store in pair:
        await store.queue.accept(mail(leased=True))
        await store.close()
    parent = await opened(holder="x")
    assert len((await parent.queue.claim(QUEUE, 5)).deliveries) == 2


async def test_the_first_suppression_is_seen_by_the_others_at_once(pair: tuple[Store, Store]) -> None:
    one, two = pair
    assert not (await two.directory.tenant(TENANT)).suppresses
    entry = Suppression(TENANT, "gone@b.example", SuppressionReason.HARD_BOUNCE, CLOCK.now())
    new = mail(["gone@b.example"], leased=True)
    await one.queue.accept(new)
    assert await one.queue.settle(settled(leased(new), RecipientState.FAILED, suppressions=(entry,)))
    async with asyncio.timeout(10):
        while not (await two.directory.tenant(TENANT)).suppresses:  # at once, but where PostgreSQL has to tell it
            assert one._database.dialect == "postgres"
            await asyncio.sleep(0)
    assert "gone@b.example" in await two.suppressions.find(TENANT, ["gone@b.example"])
