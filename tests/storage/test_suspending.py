"""Suspending and resuming tenants and batches: what waits, what goes at once, and what a crash in between leaves."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from relay.clock import HOUR
from relay.errors import NotFound
from relay.model.delivery import LeasedDelivery
from relay.model.message import MessageState
from relay.model.tenant import Tenant
from storage import Store, suspending
from tests.storage.conftest import Open, furnish
from tests.storage.mail import CLOCK, QUEUE, TENANT, leased, mail, settled


async def accept(store: Store, *batches: str | None) -> list[str]:
    news = [mail(batch=batch) for batch in batches]
    for new in news:
        await store.queue.accept(new)
    return [new.message.id for new in news]


async def claim(store: Store, limit: int = 10) -> list[str | None]:
    """The batches of what can be claimed, as dispatch asks: again while something was put aside."""
    found: list[LeasedDelivery] = []
    while True:
        claimed = await store.queue.claim(QUEUE, limit)
        found += claimed.deliveries
        if not claimed.again:
            await store.queue.release(found)
            return [one.message.batch for one in found]


async def swept(store: Store) -> None:
    """Once the resumptions under way are done."""
    suspensions = store.suspensions
    assert isinstance(suspensions, suspending.Suspensions)
    await asyncio.gather(*suspensions._sweeps)


async def suspensions_of(store: Store) -> dict[str, bool]:
    return dict((await store.directory.tenant(TENANT)).suspensions)


async def test_what_is_suspended_waits_and_what_is_resumed_goes_at_once(store: Store) -> None:
    told: list[tuple[str, int]] = []
    store.on_ready(lambda queue_key, due: told.append((queue_key, due)))
    await accept(store, "spring", None, "autumn")
    assert await store.suspensions.suspend(TENANT, "spring", 1) == 1
    await accept(store, "spring")
    assert await claim(store) == [None, "autumn"]
    assert await store.suspensions.suspend(TENANT, None, 1) == 4
    assert await claim(store) == []
    told.clear()
    assert await store.suspensions.resume(TENANT, "autumn", 2) == 1
    assert [key for key, _ in told] == [QUEUE]
    assert await claim(store) == ["autumn"]
    await store.suspensions.resume(TENANT, None, 3)
    await swept(store)
    assert await claim(store) == [None, "autumn"]
    assert await suspensions_of(store) == {"spring": True}
    assert await store.suspensions.resume(TENANT, "spring", 4) == 2
    await swept(store)
    assert await claim(store) == ["spring", None, "autumn", "spring"]
    assert await suspensions_of(store) == {}


async def test_a_resumption_of_all_takes_the_batches_along(store: Store) -> None:
    await accept(store, "spring", "autumn")
    for batch in ("spring", "autumn", None):
        await store.suspensions.suspend(TENANT, batch, 1)
    await store.suspensions.resume(TENANT, "autumn", 2)
    assert await claim(store) == ["autumn"]
    await store.suspensions.resume(TENANT, None, 3, everything=True)
    await swept(store)
    assert await claim(store) == ["spring", "autumn"]
    assert await suspensions_of(store) == {}


async def test_many_marks_are_lifted_in_small_transactions(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suspending, "AT_ONCE", 3)
    await accept(store, *["spring"] * 10)
    await store.suspensions.suspend(TENANT, None, 1)
    assert await claim(store) == []
    await store.suspensions.resume(TENANT, None, 2)
    assert len(await claim(store)) >= 3  # those that the answer waited for
    await swept(store)
    assert len(await claim(store)) == 10


async def test_what_a_crash_left_is_finished(opened: Open) -> None:
    store = await opened()
    await furnish(store)
    await accept(store, "spring", None)
    await store.suspensions.suspend(TENANT, None, 1)
    assert await claim(store) == []
    await store._database.write(suspending._resume(TENANT, suspending.WHOLE, 2, everything=False))
    await store.close()
    again = await opened()
    assert await claim(again) == []  # the control: without its end, nothing goes
    await again.suspensions.finish()
    assert await claim(again) == ["spring", None]
    assert await suspensions_of(again) == {}


async def test_a_delivery_that_was_held_or_expired_meanwhile_keeps_no_mark(store: Store) -> None:
    await accept(store, None)
    late = mail(expires_at=CLOCK.now() - 1)
    await store.queue.accept(late)
    await store.suspensions.suspend(TENANT, None, 1)
    assert await claim(store) == []
    (expired,) = (await store.queue.claim_expired(5)).deliveries
    await store.suspensions.resume(TENANT, None, 2)
    await swept(store)
    await store.queue.release([expired])
    assert len(await claim(store)) == 2


async def test_an_unknown_batch_may_be_suspended_ahead_of_its_mail(store: Store) -> None:
    assert await store.suspensions.suspend(TENANT, "winter", 1) == 0
    await accept(store, "winter")
    assert await claim(store) == []
    with pytest.raises(NotFound):
        await store.suspensions.suspend("nobody", None, 1)
    with pytest.raises(NotFound):
        await store.suspensions.resume("nobody", "winter", 1)
    with pytest.raises(NotFound):
        await store.suspensions.batches("nobody", "", 5)


async def test_batches_with_their_counts(store: Store) -> None:
    await store.directory.add_tenant(Tenant("other", "Other", None, 0))
    await accept(store, "a", "b", "b", None)
    done = mail(batch="b", leased=True)
    await store.queue.accept(done)
    await store.queue.settle(settled(leased(done)))
    await store.queue.accept(mail(batch="z", tenant="other", due=CLOCK.now() + HOUR))
    await store.suspensions.suspend(TENANT, "aa", 1)
    found = await store.suspensions.batches(TENANT, "", 10)
    assert [(one.batch, one.suspended, dict(one.messages)) for one in found] == [
        ("a", False, {MessageState.OPEN: 1}),
        ("aa", True, {}),
        ("b", False, {MessageState.OPEN: 2, MessageState.SENT: 1}),
    ]
    assert [one.batch for one in await store.suspensions.batches(TENANT, "a", 1)] == ["aa"]
    assert [one.batch for one in await store.suspensions.batches(TENANT, "aa", 5)] == ["b"]


@pytest.mark.parametrize("shares", [True, False], ids=["as a claim does", "control"])
async def test_a_resumption_waits_for_a_claim_that_is_putting_aside(opened: Open, url: str, shares: bool) -> None:
    if not url.startswith("postgres"):
        pytest.skip("SQLite has one writer")
    store = await opened()
    await furnish(store)
    (message,) = await accept(store, None)
    await store.suspensions.suspend(TENANT, None, 1)
    claiming = await asyncpg.connect(url)
    try:
        async with claiming.transaction():
            share = " FOR SHARE" if shares else ""
            await claiming.fetch(f"SELECT * FROM suspensions WHERE tenant_id = $1{share}", TENANT)
            await claiming.execute(
                "UPDATE deliveries SET suspended = 1, suspended_batch = '' WHERE message_id = $1", message
            )
            resuming = asyncio.create_task(store.suspensions.resume(TENANT, None, 2))
            if not shares:
                await resuming
                await swept(store)
        await resuming
    finally:
        await claiming.close()
    await swept(store)
    assert await claim(store) == ([None] if shares else [])
