"""Slots in the store, on both databases: taken by claims, stamped or given back, exact after restarts and recoveries."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from relay.clock import HOUR, MINUTE, SECOND
from relay.model.delivery import LeasedDelivery
from relay.model.explanation import LimitStanding, WindowStanding
from relay.model.limit import Limits, Slots
from relay.model.message import RecipientState
from relay.model.tenant import Account, AccountKind
from storage import Store
from storage.limiting import PRUNED_AT_ONCE
from storage.windows import Lengths
from storage.work import fetch, script
from tests.storage.conftest import Open, furnish
from tests.storage.mail import CLOCK, LIMIT, QUEUE, mail, settled

THREE = Limits(per_hour=3)


@pytest.fixture
async def limited(opened: Open) -> Store:
    """A store whose account may send three an hour, with six mails."""
    store = await opened()
    await furnish(store, THREE)
    await fill(store, 6)
    return store


async def fill(store: Store, count: int) -> None:
    for _ in range(count):
        await store.queue.accept(mail())


async def claim(store: Store, count: int = 10) -> list[LeasedDelivery]:
    return list((await store.queue.claim(QUEUE, count)).deliveries)


async def stamps(store: Store) -> list[tuple[int, int]]:
    span = [(LIMIT, 1, 1000)]
    return sorted((number, at) for number, _, at in await store._database.read(fetch("send_stamps", given=span)))


async def set_limits(store: Store, limit: str) -> None:
    """As another instance would, whose change has been heard of."""
    await store._database.write(script(f"UPDATE accounts SET per_hour = {limit} WHERE id = 'main';"))
    store._directory.cache.forget()


async def test_a_claim_takes_no_more_than_slots_are_open(limited: Store) -> None:
    first = await limited.queue.claim(QUEUE, 2)
    assert (len(first.deliveries), first.blocked_until) == (2, None)
    assert {one.slots for one in first.deliveries} == {(Slots(LIMIT),)}
    before = CLOCK.now()
    second = await limited.queue.claim(QUEUE, 2)
    assert len(second.deliveries) == 1
    assert second.blocked_until is not None
    assert before + HOUR - SECOND <= second.blocked_until <= CLOCK.now() + HOUR  # all are in flight
    assert second.next_due is not None
    assert await claim(limited) == []


async def test_a_slot_is_stamped_when_the_outcome_is_written(limited: Store) -> None:
    deliveries = await claim(limited)
    before = CLOCK.now()
    for delivery in deliveries:
        assert await limited.queue.settle(settled(delivery, RecipientState.UNKNOWN, due=CLOCK.now() + HOUR))
    after = CLOCK.now()
    found = await stamps(limited)
    assert [number for number, _ in found] == [1, 2, 3]
    assert before <= found[0][1] <= found[1][1] <= found[2][1] <= after
    blocked = await limited.queue.claim(QUEUE, 10)
    assert blocked.deliveries == ()
    assert blocked.blocked_until == pytest.approx(found[0][1] + HOUR, abs=SECOND)


async def test_a_slot_that_was_not_spent_is_open_at_once(limited: Store) -> None:
    told: list[str] = []
    limited.on_open(told.append)
    kept, refused, cut = await claim(limited)
    assert await limited.queue.settle(settled(kept))
    assert told == []
    assert await limited.queue.settle(settled(refused, RecipientState.DEFERRED, due=CLOCK.now() + HOUR, spent=False))
    await limited.queue.release([cut])
    assert told == [LIMIT, LIMIT]
    assert len(await stamps(limited)) == 1
    assert len(await claim(limited)) == 2
    assert await claim(limited) == []


async def shown(store: Store, limits: Limits = THREE, key: str = LIMIT) -> LimitStanding:
    [standing] = await store.limits.standings({key: limits})
    return standing


async def test_how_a_limit_stands_is_shown(limited: Store) -> None:
    assert await shown(limited) == LimitStanding(LIMIT, 0, None, (WindowStanding("hour", 3, 0),)), "nothing was sent"
    kept, refused, cut = await claim(limited)
    standing = await shown(limited)
    assert (standing.in_flight, standing.windows) == (3, (WindowStanding("hour", 3, 3),))
    assert standing.opens_at == pytest.approx(CLOCK.now() + HOUR, abs=SECOND)
    assert await limited.queue.settle(settled(kept))
    assert await limited.queue.settle(settled(refused))
    await limited.queue.release([cut])
    assert await shown(limited) == LimitStanding(LIMIT, 0, None, (WindowStanding("hour", 3, 2),))
    ago = "UPDATE send_log SET at = at - 2 * CAST(3600000000 AS BIGINT) WHERE number = 1;"
    await limited._database.write(script(ago))
    both = Limits(per_hour=3, per_day=2)
    standing = await shown(limited, both)
    assert standing.windows == (WindowStanding("hour", 3, 1), WindowStanding("day", 2, 2))
    assert standing.opens_at is not None
    await limited._database.write(script("DELETE FROM send_log WHERE number = 1;"))  # as it is in time
    assert (await shown(limited, both)).windows == (WindowStanding("hour", 3, 1), WindowStanding("day", 2, 1))
    assert await shown(limited, key="tenant:other") == LimitStanding(
        "tenant:other", 0, None, (WindowStanding("hour", 3, 0),)
    )


async def test_a_group_of_outcomes_gets_numbers_of_its_own(limited: Store) -> None:
    deliveries = await claim(limited)
    outcomes = [settled(one, spent=at != 1) for at, one in enumerate(deliveries)]
    assert await asyncio.gather(*(limited.queue.settle(one) for one in outcomes)) == [True] * 3
    assert [number for number, _ in await stamps(limited)] == [1, 2]
    assert len(await claim(limited)) == 1


async def test_a_restart_keeps_counting_and_counts_what_was_on_its_way(limited: Store, opened: Open) -> None:
    sent, _ = await claim(limited, 2)
    assert await limited.queue.settle(settled(sent))
    await limited.close()
    again = await opened()
    assert [number for number, _ in await stamps(again)] == [1, 2]  # it may have been sent
    assert len(await claim(again)) == 1


async def test_a_lost_lease_counts_as_sent_and_again_when_its_holder_speaks_up(opened: Open) -> None:
    store = await opened(lease=0)
    await furnish(store, THREE)
    await fill(store, 6)
    frozen, cut = await claim(store, 2)
    assert await store.queue.recover() == 2
    assert len(await stamps(store)) == 2
    assert not await store.queue.settle(settled(frozen))
    assert len(await stamps(store)) == 3  # the receiver may have seen it after the first stamp
    await store.queue.release([cut])
    assert not await store.queue.settle(settled(cut, spent=False))
    assert len(await stamps(store)) == 3
    assert await claim(store) == []
    assert await store.queue.recover() == 0
    assert len(await stamps(store)) == 3


async def test_a_changed_limit_holds_for_the_next_claim(limited: Store) -> None:
    deliveries = await claim(limited)
    await set_limits(limited, "4")
    assert len(await claim(limited)) == 1
    await set_limits(limited, "2")
    for delivery in deliveries:
        assert await limited.queue.settle(settled(delivery))
    assert await claim(limited) == []
    await set_limits(limited, "NULL")
    free = await limited.queue.claim(QUEUE, 10)
    assert (len(free.deliveries), free.blocked_until, free.deliveries[0].slots) == (2, None, ())
    await set_limits(limited, "1")
    for delivery in free.deliveries:  # what went without a limit is not counted under it
        assert await limited.queue.settle(settled(delivery))
    assert len(await stamps(limited)) == 3


async def test_a_mail_that_moves_to_another_account_gives_its_slot_back(limited: Store) -> None:
    (moved,) = await claim(limited, 1)
    elsewhere = settled(moved, RecipientState.DEFERRED, queue_key="*/main/acme", spent=False)
    assert await limited.queue.settle(replace(elsewhere, recipients=(), events=()))
    assert len(await claim(limited)) == 3


async def test_accounts_of_a_name_have_limits_of_their_own(limited: Store) -> None:
    other = Account("*", "main", AccountKind.SMTP, "smtp.example.com", limits=Limits(per_hour=1))
    await limited.directory.add_account(other, default=False)
    for _ in range(3):
        await limited.queue.accept(mail(queue="*/main/acme"))
    await limited.queue.accept(mail(queue="acme/free/acme"))
    assert len((await limited.queue.claim("*/main/acme", 10)).deliveries) == 1
    assert len(await claim(limited)) == 3
    assert len((await limited.queue.claim("acme/free/acme", 10)).deliveries) == 1


async def test_nothing_is_blocked_while_slots_are_left(limited: Store) -> None:
    await set_limits(limited, "7")
    found = await limited.queue.claim(QUEUE, 100)
    assert (len(found.deliveries), found.blocked_until, found.next_due) == (6, None, None)


async def test_a_default_account_limited_per_minute_and_day(opened: Open) -> None:
    store = await opened()
    await furnish(store, Limits(per_minute=2, per_day=3))
    await fill(store, 6)
    two = await claim(store)
    for delivery in two:
        assert await store.queue.settle(settled(delivery, spent=delivery is two[0]))
    found = await store.queue.claim(QUEUE, 10)
    assert len(found.deliveries) == 1
    assert found.blocked_until == pytest.approx(CLOCK.now() + MINUTE, abs=SECOND)


async def test_old_sends_are_forgotten_and_no_others(opened: Open) -> None:
    store = await opened(lengths=Lengths(minute=1, hour=1, day=HOUR))
    await furnish(store, Limits(per_day=2 * PRUNED_AT_ONCE))
    await store.queue.claim(QUEUE, 1)  # makes the limit known
    old = 2 * PRUNED_AT_ONCE + 10
    now = CLOCK.now()
    count = f"WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {old + 5})"
    stamp = f"CASE WHEN i <= {old} THEN {now - 2 * HOUR} ELSE {now} END"
    into = "INSERT INTO send_log (limit_key, number, at)"
    await store._database.write(script(f"{into} {count} SELECT '{LIMIT}', i, {stamp} FROM n;"))
    await store._database.write(script(f"UPDATE limits SET last = {old + 5}, last_at = {now};"))
    await store.prune()
    left = await store._database.read(fetch("send_stamps", given=[(LIMIT, 1, old + 5)]))
    assert sorted(number for number, *_ in left) == list(range(old + 1, old + 6))
    await fill(store, 2)
    assert len(await claim(store)) == 2


async def test_without_limits_nothing_is_written(store: Store) -> None:
    await store.queue.accept(mail())
    (delivery,) = await claim(store)
    assert await store.queue.settle(settled(delivery))
    assert (await store._database.read(fetch("limit_keys")), await stamps(store)) == ([], [])
