"""Several instances on one PostgreSQL, and a database that goes away and comes back."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from relay.clock import HOUR, MINUTE, SECOND, SystemClock
from relay.errors import StoreError, StoreUnavailable
from relay.model.act import Act
from relay.model.delivery import Settlement
from relay.model.health import AccountHealth
from relay.model.message import MessageState, RecipientState
from relay.model.tenant import Credential
from storage import Store
from storage.work import Lock, Work, fetch, script
from tests.storage.conftest import Open, furnish
from tests.storage.mail import CLOCK, QUEUE, TENANT, leased, mail, settled
from tests.support import postgres

pytestmark = pytest.mark.postgres


@pytest.fixture
def backend() -> str:
    return "postgres"


@pytest.fixture
async def pair(opened: Open) -> tuple[Store, Store]:
    """Two instances on one store, hearing each other."""
    one = await opened(holder="one")
    await furnish(one)
    return one, await opened(holder="two")


async def until(condition: Callable[[], bool], within: float = 20) -> None:
    """Give the loop turns until a condition holds."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - what is waited for comes by way of the server
            await asyncio.sleep(0.001)


async def test_a_row_that_somebody_has_locked_holds_up_nobody_else(pair: tuple[Store, Store]) -> None:
    store = pair[0]
    new = mail(leased=True)
    await store.queue.accept(new)
    async with using(pair[1]) as other:
        transaction = other.transaction()
        await transaction.start()
        await other.execute("SELECT id FROM messages WHERE id = $1 FOR NO KEY UPDATE", new.message.id)
        settling = store.queue.settle(replace(settled(leased(new)), whole=True))
        async with asyncio.timeout(5):  # a lock is waited for twice as long
            while not await other.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                pass
            for _ in range(3):
                await store.queue.accept(mail())
        assert not settling.done()
        await transaction.rollback()
    assert await settling


def using(store: Store) -> Any:
    database: Any = store._database
    return database._connections.use()


async def test_no_delivery_is_claimed_twice(pair: tuple[Store, Store]) -> None:
    count = 3000
    accepting = [asyncio.ensure_future(pair[at % 2].queue.accept(mail())) for at in range(count)]
    claimed: Counter[str] = Counter()
    settlements: list[Settlement] = []

    async def work(store: Store) -> None:
        while claimed.total() < count:
            for delivery in (await store.queue.claim(QUEUE, 17)).deliveries:
                claimed[delivery.id] += 1
                settlements.append(settled(delivery))
                assert await store.queue.settle(settlements[-1])

    async with asyncio.timeout(100):
        await asyncio.gather(*accepting, *(work(store) for store in pair for _ in range(3)))
    assert max(claimed.values()) == 1
    assert await pair[0].queue.open_deliveries() == 0


async def test_the_fence_keeps_a_stale_holder_out(opened: Open) -> None:
    one = await opened(holder="one", lease=0)
    await furnish(one)
    two = await opened(holder="two")
    await one.queue.accept(mail())
    (stale,) = (await one.queue.claim(QUEUE, 1)).deliveries
    assert await two.queue.recover() == 1
    (fresh,) = (await two.queue.claim(QUEUE, 1)).deliveries
    assert (stale.attempt, fresh.attempt) == (1, 2)
    assert await one.queue.renew([stale]) == frozenset()
    assert not await one.queue.settle(settled(stale))
    await one.queue.release([stale])
    assert (await two.archive.message(TENANT, stale.message.id)).message.state is MessageState.OPEN
    assert await two.queue.settle(settled(fresh))


async def test_a_restart_leaves_the_leases_of_others(opened: Open) -> None:
    one, two = await opened(holder="one"), await opened(holder="two")
    await furnish(one)
    for store in (one, two):
        await store.queue.accept(mail(leased=True))
    await one.close()
    one = await opened(holder="one")
    assert [(c.ready, c.leased) for c in await one.archive.counts()] == [(1, 1)]


async def test_two_may_start_on_an_empty_store_at_once(opened: Open) -> None:
    one, two = await asyncio.gather(opened(holder="one"), opened(holder="two"))
    await furnish(one)
    await two.queue.accept(mail())
    assert len((await one.queue.claim(QUEUE, 1)).deliveries) == 1


async def test_others_hear_of_ready_deliveries(pair: tuple[Store, Store]) -> None:
    one, two = pair
    told: dict[str, list[tuple[str, int]]] = {"one": [], "two": []}
    one.on_ready(lambda *ready: told["one"].append(ready))
    two.on_ready(lambda *ready: told["two"].append(ready))
    new = mail(due=CLOCK.now() + HOUR)
    await one.queue.accept(new)
    await until(lambda: (QUEUE, new.delivery.due) in told["two"])
    await one.queue.accept(mail(leased=True, queue="acme/leased/acme"))
    await one.archive.act(TENANT, new.message.id, Act.RETRY, 5)
    await until(lambda: (QUEUE, 5) in told["two"])
    assert told["one"] == [(QUEUE, 5)]  # of its own accept nobody needs to tell it
    assert not any(queue_key == "acme/leased/acme" for queue_key, _ in told["two"])


@pytest.mark.parametrize("recipients", [1, 2])
async def test_an_instance_hears_how_an_account_is_before_it_hears_of_its_mail(opened: Open, recipients: int) -> None:
    """Of its own workers; what ails another instance, such as its network, need not ail it."""
    one, two, other = [await opened(holder=holder) for holder in ("one.0.a", "one.1.a", "two.0.a")]
    await furnish(one)
    told: list[object] = []
    told_other: list[object] = []
    for store, ear in ((two, told), (other, told_other)):
        store.on_health(ear.append)
        store.on_ready(lambda *ready, ear=ear: ear.append(ready))
    new = mail([f"r{n}@example.com" for n in range(recipients)], leased=True)
    await one.queue.accept(new)
    ill = AccountHealth("acme/main", 2, CLOCK.now(), f"no\r\nlogin {'x' * 10_000}")
    put_off = settled(leased(new), *[RecipientState.DEFERRED] * recipients, due=5, health=ill)
    assert await one.queue.settle(put_off)
    await until(lambda: len(told) == 2 and bool(told_other))
    assert told == [replace(ill, ailment=f"no login {'x' * 191}"), (QUEUE, 5)]
    assert told_other == [(QUEUE, 5)]


async def test_others_see_a_change_of_the_configuration(pair: tuple[Store, Store]) -> None:
    one, two = pair
    assert await two.directory.credential("late") is None
    await one.directory.add_credential(Credential("late", TENANT))
    generation = two._directory.cache._generation
    if await two.directory.credential("late") is None:
        await until(lambda: two._directory.cache._generation > generation)
    assert await two.directory.credential("late") is not None


async def test_it_comes_back_after_an_outage(pair: tuple[Store, Store]) -> None:
    one, two = pair
    told: list[tuple[str, int]] = []
    two.on_ready(lambda *ready: told.append(ready))
    kept = mail(leased=True)
    await one.queue.accept(kept)
    await asyncio.to_thread(postgres.crash)
    with pytest.raises(StoreUnavailable):
        await one.queue.accept(mail())
    with pytest.raises(StoreUnavailable):
        await one.ready()
    await until(lambda: not one._directory.cache.enabled)
    with pytest.raises(StoreUnavailable):
        await one.directory.account(TENANT, None)
    await asyncio.to_thread(postgres.start)
    await until(lambda: one._directory.cache.enabled and two._directory.cache.enabled)
    await one.ready()
    assert await one.queue.settle(settled(leased(kept)))
    await one.queue.accept(mail())
    await until(lambda: bool(told))


async def test_a_caller_that_leaves_undoes_nothing(pair: tuple[Store, Store]) -> None:
    one, _ = pair
    news = [mail() for _ in range(20)]
    for new in news:
        task = asyncio.ensure_future(one.queue.accept(new))
        for _ in range(3):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await one.queue.accept(mail())
    await until_count(one, len(news) + 1)


async def until_count(store: Store, count: int) -> None:
    async with asyncio.timeout(20):
        while await store.queue.open_deliveries() != count:
            await store.ready()


async def test_a_slow_statement_is_given_up(pair: tuple[Store, Store]) -> None:
    one, _ = pair
    with pytest.raises(StoreUnavailable, match="statement timeout"):
        await one._database.write(script("SET LOCAL statement_timeout = '10ms'; SELECT pg_sleep(5)"))
    assert await one._database.read(fetch("tenants"))


async def test_sessions_are_durable_whatever_the_default_is(opened: Open, url: str) -> None:
    postgres.run(f"ALTER DATABASE {url.rpartition('/')[2]} SET synchronous_commit = off")
    store = await opened()
    database: Any = store._database
    async with database._connections.use() as connection:
        assert await connection.fetchval("SHOW synchronous_commit") == "on"


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
async def test_a_server_that_could_lose_mail_is_not_used(setting: str, opened: Open, url: str) -> None:
    async def switch(to: str) -> None:
        postgres.run(f"ALTER SYSTEM SET {setting} = {to}")
        postgres.run("SELECT pg_reload_conf()")
        async with asyncio.timeout(20):
            while await asyncio.to_thread(postgres.ask, f"SHOW {setting}") != to:
                pass

    await switch("off")
    try:
        with pytest.raises(StoreError, match=f"{setting} = off and could lose accepted mail: set {setting} = on"):
            await opened()
    finally:
        await switch("on")
    await opened()


async def test_a_server_that_is_read_only_is_not_available(opened: Open, url: str) -> None:
    postgres.run(f"ALTER DATABASE {url.rpartition('/')[2]} SET default_transaction_read_only = on")
    with pytest.raises(StoreUnavailable, match="read-only"):
        await opened()


async def test_wrong_doors_say_what_to_check(opened: Open, url: str) -> None:
    with pytest.raises(StoreError, match=r"check storage\.url"):
        await opened(url=f"{url}_missing")
    with pytest.raises(StoreError, match=r"check storage\.url"):
        await opened(url=url.replace("postgres@", "stranger@"))
    with pytest.raises(StoreUnavailable):
        await opened(url="postgresql://postgres@127.0.0.1:9/nothing")
    with pytest.raises(StoreError, match=r"storage\.url"):
        await opened(url="mysql://localhost/x")


class Skewed(SystemClock):
    """A machine's clock that is wrong."""

    def __init__(self, ahead: int) -> None:
        super().__init__()
        self._wrong_by = ahead

    def now(self) -> int:
        return super().now() + self._wrong_by


@pytest.mark.parametrize("ahead", [HOUR, -HOUR])
async def test_a_clock_that_is_wrong_does_no_harm(ahead: int, opened: Open) -> None:
    """What is ready is claimed by anybody at once, a retry comes in its time, nobody's lease is taken."""
    wrong, right = Skewed(ahead), SystemClock()
    one = await opened(holder="one", clock=wrong)
    await furnish(one)
    two = await opened(holder="two", clock=right)
    assert abs(wrong.now() - right.now()) < SECOND, "it follows the store's"
    await one.queue.accept(mail(now=wrong.now()))
    (lease,) = (await two.queue.claim(QUEUE, 1)).deliveries
    assert await one.queue.recover() == 0
    due = right.now() + MINUTE
    assert await two.queue.settle(settled(lease, RecipientState.DEFERRED, due=due))
    for store, clock in ((one, wrong), (two, right)):
        claim = await store.queue.claim(QUEUE, 1)
        assert claim.deliveries == ()
        assert claim.next_due is not None
        assert abs(claim.next_due - clock.now() - MINUTE) < 5 * SECOND


async def test_a_clock_that_was_set_meanwhile_is_followed_again(opened: Open) -> None:
    clock = Skewed(0)
    store = await opened(clock=clock)
    clock._wrong_by = HOUR
    assert abs(clock.now() - CLOCK.now()) > SECOND
    await store.set_clock()
    assert abs(clock.now() - CLOCK.now()) < SECOND


async def test_no_two_transactions_wait_for_each_other(pair: tuple[Store, Store]) -> None:
    """Settlements in any order, beside whoever locks the same messages and their deliveries, and renewals: else one of them
    would be ended by the server."""
    one, two = pair
    news = [mail(leased=True) for _ in range(200)]
    await asyncio.gather(*map(one.queue.accept, news))
    deliveries = [leased(new) for new in news]
    keys = sorted((new.message.id,) for new in news)
    done = asyncio.Event()

    def lock() -> Work[None]:
        yield Lock("lock_messages", keys)
        yield Lock("lock_deliveries", keys)

    async def repeat(act: Callable[[], Awaitable[object]]) -> None:
        while not done.is_set():
            await act()

    others = [
        asyncio.ensure_future(repeat(lambda: two._database.write(lock()))),
        asyncio.ensure_future(repeat(lambda: one.queue.renew(deliveries))),
    ]
    deferred = [replace(settled(each, RecipientState.DEFERRED), whole=True) for each in reversed(deliveries[:100])]
    sent = [replace(settled(each), whole=True) for each in reversed(deliveries[100:])]
    for at in range(0, 100, 10):
        both = [*deferred[at : at + 10], *sent[at : at + 10]]
        assert all(await asyncio.gather(*map(one.queue.settle, both), one.queue.accept(mail())))
    done.set()
    await asyncio.gather(*others)
