"""What is too late is leased by its time, wherever it waits; events of accounts stand in the one sequence of events."""

from __future__ import annotations

from dataclasses import replace

from relay.clock import DAY, HOUR, SECOND
from relay.model.event import Event, EventKind
from relay.model.message import RecipientState
from storage import Store
from storage.work import fetch
from tests.storage.mail import CLOCK, QUEUE, TENANT, leased, mail, settled


async def test_what_has_expired_is_leased_earliest_first(store: Store) -> None:
    now = CLOCK.now()
    later = mail(expires_at=now - SECOND)
    first = mail(expires_at=now - 2 * SECOND, due=now + HOUR)
    going, lasting, forever = mail(expires_at=now - SECOND, leased=True), mail(expires_at=now + HOUR), mail()
    for new in (later, first, going, lasting, forever):
        await store.queue.accept(new)
    claim = await store.queue.claim_expired(1)
    assert [one.message.id for one in claim.deliveries] == [first.message.id]
    claim = await store.queue.claim_expired(10)
    [late] = claim.deliveries
    assert (late.message.id, late.queue_key, late.attempt, late.content) == (later.message.id, QUEUE, 1, None)
    assert [recipient.address for recipient in late.recipients] == ["rcpt@example.com"]
    assert claim.next_due is not None
    assert abs(claim.next_due - (now + HOUR)) < SECOND
    assert (await store.queue.claim_expired(10)).deliveries == ()
    assert await store.queue.settle(settled(late, RecipientState.EXPIRED, record=None, counts=False))
    assert (await store.archive.message(TENANT, later.message.id)).recipients[0].state is RecipientState.EXPIRED
    assert {one.message.id for one in (await store.queue.claim(QUEUE, 10)).deliveries} == {
        lasting.message.id,
        forever.message.id,
    }


async def test_what_has_been_due_for_long_is_leased_in_its_queue_alone(store: Store) -> None:
    now = CLOCK.now()
    old, young, elsewhere = mail(due=now - 3 * DAY), mail(due=now - DAY), mail(due=now - 3 * DAY, queue="*/main/acme")
    for new in (old, young, elsewhere):
        await store.queue.accept(new)
    claim = await store.queue.claim_overdue(QUEUE, 2 * DAY, 10)
    assert [one.message.id for one in claim.deliveries] == [old.message.id]
    assert (await store.queue.claim_overdue(QUEUE, 2 * DAY, 10)).deliveries == ()


async def test_an_account_s_event_has_its_place_among_all_and_no_message(store: Store) -> None:
    new = mail(leased=True)
    await store.queue.accept(new)
    settlement = settled(leased(new))
    paused = Event(EventKind.ACCOUNT_PAUSED, CLOCK.now(), "*", None, facts={"account": "*/main"})
    assert await store.queue.settle(replace(settlement, events=(*settlement.events, paused)))
    kinds = [event.kind for event in await store.archive.events(TENANT, new.message.id)]
    assert kinds == [EventKind.ACCEPTED, EventKind.SENT]
    rows = await store._database.read(fetch("events_of", {"message": ""}))
    assert [(row[1], row[3], row[4], row[5]) for row in rows] == [("account_paused", "*", "", None)]
    assert rows[0][0] > (await store.archive.events(TENANT, new.message.id))[-1].sequence
