"""The queue's contract, on both databases."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from relay.clock import HOUR, MINUTE
from relay.contracts.queue import Accepted
from relay.model.act import Act
from relay.model.delivery import QueueHead, StoredContent
from relay.model.event import EventKind
from relay.model.message import DeliveryState, MessageState, Priority, RecipientState
from storage import Store
from storage.group_commit import MAX_GROUP
from storage.settling import IllegalTransition
from tests.storage.conftest import Open, furnish
from tests.storage.mail import BUSY, CLOCK, OK, QUEUE, TENANT, leased, mail, settled

SENT, FAILED, DEFERRED, UNKNOWN = (
    RecipientState.SENT,
    RecipientState.FAILED,
    RecipientState.DEFERRED,
    RecipientState.UNKNOWN,
)


async def test_what_was_accepted_is_claimed_as_it_was(store: Store) -> None:
    new = mail(
        ("a@example.com", "b@example.com"),
        content=bytes(range(256)) * 16,
        client_id="order 1",
        batch="spring",
        not_before=CLOCK.now() - MINUTE,
        expires_at=CLOCK.now() + HOUR,
        tags=("a", "b"),
        metadata='{"k":"ü"}',
        eight_bit=True,
        smtputf8=True,
        priority=Priority.HIGH,
    )
    assert await store.queue.accept(new) == Accepted(new.message.id)
    claim = await store.queue.claim(QUEUE, 10)
    (delivery,) = claim.deliveries
    assert delivery.message == new.message
    assert [(r.position, r.address, r.state) for r in delivery.recipients] == [
        (0, "a@example.com", RecipientState.QUEUED),
        (1, "b@example.com", RecipientState.QUEUED),
    ]
    assert (delivery.id, delivery.queue_key, delivery.attempt) == (f"{new.message.id}.1", QUEUE, 1)
    assert delivery.content == new.content
    assert delivery.due == new.delivery.due
    assert claim.next_due is None


async def test_large_content_is_not_brought_along(store: Store) -> None:
    await store.queue.accept(mail(content=StoredContent(1_000_000)))
    assert (await store.queue.claim(QUEUE, 1)).deliveries[0].content is None


async def test_claims_go_by_priority_then_due_then_id(store: Store) -> None:
    now = CLOCK.now()
    places = [
        (Priority.LOW, 3),
        (Priority.MEDIUM, 2),
        (Priority.MEDIUM, 3),
        (Priority.MEDIUM, 3),
        (Priority.IMMEDIATE, 1),
        (Priority.HIGH, 1),
        (Priority.HIGH, 9),
    ]
    news = [mail(priority=priority, due=now - minutes * MINUTE) for priority, minutes in places]
    for new in reversed(news):
        await store.queue.accept(new)
    wanted = sorted(news, key=lambda new: (new.message.priority, new.delivery.due, new.message.id))
    first = await store.queue.claim(QUEUE, 3)
    assert [d.message.id for d in first.deliveries] == [new.message.id for new in wanted[:3]]
    assert first.next_due == min(new.delivery.due for new in wanted[3:])
    rest = await store.queue.claim(QUEUE, 10)
    assert [d.message.id for d in rest.deliveries] == [new.message.id for new in wanted[3:]]


async def test_a_claim_is_as_large_as_is_wanted_when_its_turn_has_come(store: Store) -> None:
    for _ in range(3):
        await store.queue.accept(mail())
    wanted = [1]
    claiming = asyncio.ensure_future(store.queue.claim(QUEUE, lambda: wanted[-1]))
    wanted.append(2)
    assert len((await claiming).deliveries) == 2
    assert (await store.queue.claim(QUEUE, lambda: 0)).deliveries == ()


async def test_what_is_not_due_or_of_another_queue_is_left(store: Store) -> None:
    later = CLOCK.now() + HOUR
    await store.queue.accept(mail(due=later))
    await store.queue.accept(mail(queue="*/other/acme", priority=Priority.IMMEDIATE))
    claim = await store.queue.claim(QUEUE, 10)
    assert claim.deliveries == ()
    assert claim.next_due is not None
    assert abs(claim.next_due - later) < MINUTE
    heads = {head.queue_key: head.next_due for head in await store.queue.heads()}
    assert heads.keys() == {QUEUE, "*/other/acme"}
    assert abs(heads[QUEUE] - later) < MINUTE


async def test_heads_of_an_empty_store(store: Store) -> None:
    assert await store.queue.heads() == []
    assert await store.queue.open_deliveries() == 0
    assert (await store.queue.claim(QUEUE, 10)).deliveries == ()


async def test_accepted_as_leased_it_is_nobody_elses(store: Store) -> None:
    new = mail(leased=True)
    await store.queue.accept(new)
    assert (await store.queue.claim(QUEUE, 10)).deliveries == ()
    assert await store.queue.open_deliveries() == 1
    assert await store.queue.settle(settled(leased(new)))
    assert await store.queue.open_deliveries() == 0
    detail = await store.archive.message(TENANT, new.message.id)
    assert detail.message.state is MessageState.SENT
    assert detail.recipients[0].reply == OK


async def test_three_answers_in_one_transaction(store: Store) -> None:
    """250, 550 and 450 give sent, failed, deferred; only the deferred one is tried again."""
    await store.queue.accept(mail(("a@example.com", "b@example.com", "c@example.com")))
    (delivery,) = (await store.queue.claim(QUEUE, 1)).deliveries
    due = CLOCK.now() + HOUR
    assert await store.queue.settle(settled(delivery, SENT, FAILED, DEFERRED, due=due))
    detail = await store.archive.message(TENANT, delivery.message.id)
    assert detail.message.state is MessageState.OPEN
    assert [(r.state, r.reply, r.attempts) for r in detail.recipients] == [
        (SENT, OK, 1),
        (FAILED, BUSY, 1),
        (DEFERRED, BUSY, 1),
    ]
    assert [r.next_attempt_at for r in detail.recipients] == [None, None, due]
    await store.archive.act(TENANT, delivery.message.id, Act.RETRY, CLOCK.now() - MINUTE)
    (again,) = (await store.queue.claim(QUEUE, 1)).deliveries
    assert again.attempt == 2
    assert [r.address for r in again.recipients] == [
        "b@example.com",
        "c@example.com",
    ]  # an operator's retry takes failed ones
    assert await store.queue.settle(settled(again, FAILED, SENT))
    assert (await store.archive.message(TENANT, delivery.message.id)).message.state is MessageState.PARTIAL
    kinds = [event.kind for event in await store.archive.events(TENANT, delivery.message.id)]
    assert kinds[:4] == [EventKind.ACCEPTED, EventKind.SENT, EventKind.FAILED, EventKind.DEFERRED]
    attempts = await store.archive.attempts(TENANT, delivery.message.id)
    assert len(attempts) == 2
    assert all(attempt.transcript == ("0 > MAIL FROM:<sender@example.org>", "1 < 250 2.1.0 ok") for attempt in attempts)


async def test_a_stale_settlement_writes_nothing(store: Store) -> None:
    await store.queue.accept(mail())
    (delivery,) = (await store.queue.claim(QUEUE, 1)).deliveries
    before = await store.archive.message(TENANT, delivery.message.id)
    for stale in (
        replace(delivery, attempt=2),
        replace(delivery, attempt=0),
        replace(delivery, id=f"{delivery.message.id}.2"),
    ):
        assert not await store.queue.settle(settled(stale))
    assert await store.archive.message(TENANT, delivery.message.id) == before
    assert len(await store.archive.events(TENANT, delivery.message.id)) == 1
    assert await store.archive.attempts(TENANT, delivery.message.id) == []
    assert await store.queue.settle(settled(delivery))
    assert not await store.queue.settle(settled(delivery, FAILED))


async def test_the_same_settlement_twice_in_a_group_counts_once(store: Store) -> None:
    await store.queue.accept(mail())
    (delivery,) = (await store.queue.claim(QUEUE, 1)).deliveries
    answers = await asyncio.gather(*(store.queue.settle(settled(delivery)) for _ in range(4)))
    assert sorted(answers) == [False, False, False, True]
    assert len(await store.archive.events(TENANT, delivery.message.id)) == 2


async def test_stale_settlements_leave_their_group_alone(store: Store) -> None:
    news = [mail(leased=True) for _ in range(20)]
    await asyncio.gather(*(store.queue.accept(new) for new in news))
    every_other = [settled(replace(leased(new), attempt=1 + at % 2)) for at, new in enumerate(news)]
    answers = await asyncio.gather(*(store.queue.settle(settlement) for settlement in every_other))
    assert answers == [at % 2 == 0 for at in range(20)]
    assert await store.queue.open_deliveries() == 10


async def test_an_account_fault_counts_no_attempt(store: Store) -> None:
    await store.queue.accept(mail())
    (delivery,) = (await store.queue.claim(QUEUE, 1)).deliveries
    wait = settled(delivery, DEFERRED, due=CLOCK.now() - 1, counts=False, queue_key="*/other/acme")
    assert await store.queue.settle(wait)
    assert (await store.queue.claim(QUEUE, 1)).deliveries == ()
    (again,) = (await store.queue.claim("*/other/acme", 1)).deliveries
    assert again.attempt == 1


async def test_held_deliveries_are_not_claimed_and_released_by_retry(store: Store) -> None:
    new = mail(leased=True)
    await store.queue.accept(new)
    assert await store.queue.settle(settled(leased(new), UNKNOWN, state=DeliveryState.HELD))
    assert (await store.queue.claim(QUEUE, 1)).deliveries == ()
    assert [(c.ready, c.leased, c.held) for c in await store.archive.counts()] == [(0, 0, 1)]
    await store.archive.act(TENANT, new.message.id, Act.RETRY, CLOCK.now() - 1)
    (again,) = (await store.queue.claim(QUEUE, 1)).deliveries
    assert again.recipients[0].state is UNKNOWN


async def test_release_gives_back_place_and_attempt(store: Store) -> None:
    due = CLOCK.now() - HOUR
    await store.queue.accept(mail(due=due))
    (delivery,) = (await store.queue.claim(QUEUE, 1)).deliveries
    await store.queue.release([delivery])
    await store.queue.release([delivery])  # lost by now: nothing happens
    (again,) = (await store.queue.claim(QUEUE, 1)).deliveries
    assert (again.due, again.attempt) == (due, 1)
    await store.queue.release([])


async def test_renew_says_what_is_still_held(store: Store) -> None:
    news = [mail(leased=True) for _ in range(3)]
    for new in news:
        await store.queue.accept(new)
    await store.queue.settle(settled(leased(news[0])))
    kept = await store.queue.renew([leased(new) for new in news])
    assert kept == {leased(new).id for new in news[1:]}
    assert await store.queue.renew([]) == frozenset()


async def test_dead_leases_are_taken_up(opened: Open) -> None:
    store = await opened(lease=0)
    await furnish(store)
    told: list[tuple[str, int]] = []
    store.on_ready(lambda queue_key, due: told.append((queue_key, due)))
    new = mail(leased=True)
    await store.queue.accept(new)
    assert await store.queue.recover() == 1
    assert await store.queue.recover() == 0
    assert told == [(QUEUE, new.delivery.due)]
    assert not await store.queue.settle(settled(leased(new)))
    (again,) = (await store.queue.claim(QUEUE, 1)).deliveries
    assert again.attempt == 2  # it may have been tried


async def test_living_leases_are_left(store: Store) -> None:
    await store.queue.accept(mail(leased=True))
    assert await store.queue.recover() == 0


async def test_a_restart_takes_up_its_own_leases(opened: Open) -> None:
    store = await opened()
    await furnish(store)
    new = mail(leased=True)
    await store.queue.accept(new)
    await store.close()
    store = await opened()
    assert not store.is_new
    assert await store.queue.heads() == [QueueHead(QUEUE, new.delivery.due)]
    (again,) = (await store.queue.claim(QUEUE, 1)).deliveries
    assert again.attempt == 2


async def test_an_illegal_transition_is_the_callers_bug_and_nobody_elses(store: Store) -> None:
    news = [mail(leased=True) for _ in range(5)]
    await asyncio.gather(*(store.queue.accept(new) for new in news))
    bad = settled(leased(news[2]))
    queued = replace(bad.recipients[0], state=RecipientState.QUEUED)  # from queued: no transition
    bad = replace(bad, recipients=(queued,))
    good = [settled(leased(new)) for new in news if new is not news[2]]
    answers = await asyncio.gather(
        *(store.queue.settle(one) for one in [*good[:2], bad, *good[2:]]), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [bool, bool, IllegalTransition, bool, bool]
    assert await store.queue.open_deliveries() == 1


async def test_more_than_a_group_at_once(store: Store) -> None:
    count = MAX_GROUP + 50
    await asyncio.gather(*(store.queue.accept(mail()) for _ in range(count)))
    claims = await asyncio.gather(*(store.queue.claim(QUEUE, 100) for _ in range(4)))
    assert sum(len(claim.deliveries) for claim in claims) == count
    claimed = [delivery for claim in claims for delivery in claim.deliveries]
    assert len({delivery.id for delivery in claimed}) == count
    assert all(await asyncio.gather(*(store.queue.settle(settled(delivery)) for delivery in claimed)))
    assert await store.queue.open_deliveries() == 0
