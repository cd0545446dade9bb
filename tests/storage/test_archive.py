"""The archive's contract: listings, one message's story, cancel and retry."""

from __future__ import annotations

import pytest

from relay.clock import HOUR
from relay.contracts.archive import MessageFilter
from relay.errors import Conflict, NotFound
from relay.model.act import Act
from relay.model.delivery import AccountFault, Attempt, Category, Phase
from relay.model.event import EventKind
from relay.model.message import DeliveryState, MessageState, QueueId, RecipientState
from relay.model.reply import Reply
from relay.model.tenant import Tenant
from storage import Store
from tests.storage.mail import CLOCK, QUEUE, TENANT, leased, mail, settled


async def fill(store: Store) -> dict[str, QueueId]:
    """A few messages, by a name for each."""
    await store.directory.add_tenant(Tenant("other", "Other", None, 0))
    news = {
        "plain": mail(("a@example.com", "b@example.com")),
        "batch": mail(batch="spring"),
        "named": mail(client_id="order-1"),
        "other": mail(tenant="other", queue="other/main"),
        "second": mail(account="second", queue="acme/second/acme"),
        "sent": mail(("Someone@Example.com",), leased=True),
        "failed": mail(leased=True),
    }
    for new in news.values():
        await store.queue.accept(new)
    await store.queue.settle(settled(leased(news["sent"])))
    await store.queue.settle(settled(leased(news["failed"]), RecipientState.FAILED))
    return {name: new.message.id for name, new in news.items()}


WANTED = [
    (MessageFilter(), "failed sent second other named batch plain"),
    (MessageFilter(tenant=TENANT), "failed sent second named batch plain"),
    (MessageFilter(tenant="other"), "other"),
    (MessageFilter(tenant="nobody"), ""),
    (MessageFilter(tenant=TENANT, limit=2), "failed sent"),
    (MessageFilter(limit=1), "failed"),
    (MessageFilter(tenant=TENANT, states=frozenset({MessageState.OPEN})), "second named batch plain"),
    (
        MessageFilter(tenant=TENANT, states=frozenset({MessageState.OPEN, MessageState.FAILED}), limit=3),
        "failed second named",
    ),
    (MessageFilter(tenant=TENANT, states=frozenset({MessageState.SENT, MessageState.FAILED})), "failed sent"),
    (MessageFilter(states=frozenset({MessageState.SENT})), "sent"),
    (MessageFilter(tenant=TENANT, batch="spring"), "batch"),
    (MessageFilter(batch="spring"), "batch"),
    (MessageFilter(tenant="other", batch="spring"), ""),
    (MessageFilter(tenant=TENANT, client_id="order-1"), "named"),
    (MessageFilter(client_id="order-1"), "named"),
    (MessageFilter(tenant=TENANT, account="second"), "second"),
    (MessageFilter(tenant=TENANT, recipient="someone@example.com"), "sent"),
    (MessageFilter(recipient="b@example.com"), "plain"),
    (MessageFilter(tenant="other", recipient="b@example.com"), ""),
    (MessageFilter(tenant=TENANT, until=1), ""),
    (MessageFilter(tenant=TENANT, since=1, states=frozenset({MessageState.FAILED})), "failed"),
]


async def test_listing(store: Store) -> None:
    ids = await fill(store)
    for wanted, names in WANTED:
        found = await store.archive.list_messages(wanted)
        assert [detail.message.id for detail in found] == [ids[name] for name in names.split()], wanted
        for detail in found:
            assert detail == await store.archive.message(wanted.tenant, detail.message.id)


async def test_pages_join_without_gap_or_overlap(store: Store) -> None:
    news = [mail() for _ in range(23)]
    for new in news:
        await store.queue.accept(new)
    found: list[QueueId] = []
    while page := await store.archive.list_messages(
        MessageFilter(tenant=TENANT, limit=5, before=found[-1] if found else None)
    ):
        found += [detail.message.id for detail in page]
    assert found == [new.message.id for new in reversed(news)]


async def test_another_tenants_message_is_missing(store: Store) -> None:
    ids = await fill(store)
    archive = store.archive
    for key in (ids["other"], QueueId("nothing")):
        for ask in (archive.message, archive.events, archive.attempts):
            with pytest.raises(NotFound):
                await ask(TENANT, key)
        for act in Act:
            with pytest.raises(NotFound):
                await archive.act(TENANT, key, act, CLOCK.now(), account="main")
    assert (await archive.message(None, ids["other"])).message.tenant == "other"
    assert (await archive.message("other", ids["other"])).message.state is MessageState.OPEN


async def test_attempts_are_kept_with_their_fault(store: Store) -> None:
    new = mail(leased=True)
    await store.queue.accept(new)
    fault = AccountFault(Category.AUTH, Phase.AUTH, Reply(535, "5.7.8", "no"), "the server refused the password")
    record = Attempt((), 5, 9, "smtp.example.com:587", "192.0.2.1", "TLSv1.3", reused=True, fault=fault)
    wait = settled(leased(new), RecipientState.DEFERRED, record=record, counts=False)
    assert await store.queue.settle(wait)
    assert await store.archive.attempts(TENANT, new.message.id) == [record]


async def test_cancel_takes_back_what_is_not_being_attempted(store: Store) -> None:
    new = mail(("a@example.com", "b@example.com"), leased=True)
    await store.queue.accept(new)
    with pytest.raises(Conflict):
        await store.archive.act(TENANT, new.message.id, Act.CANCEL, CLOCK.now())
    due = CLOCK.now() + HOUR
    await store.queue.settle(settled(leased(new), RecipientState.SENT, RecipientState.DEFERRED, due=due))
    detail = (await store.archive.act(TENANT, new.message.id, Act.CANCEL, 77)).detail
    assert [recipient.state for recipient in detail.recipients] == [RecipientState.SENT, RecipientState.CANCELLED]
    assert detail.recipients[1].changed_at == 77
    assert detail.message.state is MessageState.PARTIAL
    events = await store.archive.events(TENANT, new.message.id)
    assert (events[-1].kind, events[-1].recipient, events[-1].at) == (EventKind.CANCELLED, "b@example.com", 77)
    assert await store.queue.heads() == []
    with pytest.raises(Conflict):
        await store.archive.act(TENANT, new.message.id, Act.CANCEL, 78)
    with pytest.raises(Conflict):
        await store.archive.act(TENANT, new.message.id, Act.RETRY, 78)


@pytest.mark.parametrize("state", [RecipientState.FAILED, RecipientState.EXPIRED])
async def test_retry_makes_closed_recipients_due(store: Store, state: RecipientState) -> None:
    told: list[tuple[str, int]] = []
    store.on_ready(lambda queue_key, due: told.append((queue_key, due)))
    new = mail(("a@example.com", "b@example.com"), leased=True)
    await store.queue.accept(new)
    await store.queue.settle(settled(leased(new), RecipientState.SENT, state))
    now = CLOCK.now()
    detail = (await store.archive.act(TENANT, new.message.id, Act.RETRY, now)).detail
    assert detail.message.state is MessageState.OPEN
    assert [recipient.state for recipient in detail.recipients] == [RecipientState.SENT, RecipientState.QUEUED]
    assert detail.recipients[1].next_attempt_at == now
    assert told == [(QUEUE, now)]
    assert (await store.archive.events(TENANT, new.message.id))[-1].kind is EventKind.RELEASED
    (again,) = (await store.queue.claim(QUEUE, 1)).deliveries
    assert [recipient.address for recipient in again.recipients] == ["b@example.com"]
    with pytest.raises(Conflict):  # it is being attempted
        await store.archive.act(TENANT, new.message.id, Act.RETRY, now)


async def test_retry_of_what_waits_anyway_is_no_event(store: Store) -> None:
    new = mail(due=CLOCK.now() + HOUR)
    await store.queue.accept(new)
    await store.archive.act(TENANT, new.message.id, Act.RETRY, CLOCK.now())
    assert len((await store.queue.claim(QUEUE, 1)).deliveries) == 1
    assert len(await store.archive.events(TENANT, new.message.id)) == 1


async def test_held_recipients_of_a_done_delivery_can_be_released_or_cancelled(store: Store) -> None:
    news = [mail(("a@example.com", "b@example.com"), leased=True) for _ in range(2)]
    for new in news:
        await store.queue.accept(new)
        held = settled(leased(new), RecipientState.SENT, RecipientState.HELD, state=DeliveryState.DONE)
        await store.queue.settle(held)
        assert (await store.archive.message(TENANT, new.message.id)).message.state is MessageState.HELD
    released = await store.archive.act(TENANT, news[0].message.id, Act.RETRY, CLOCK.now())
    assert released.detail.recipients[1].state is RecipientState.QUEUED
    cancelled = await store.archive.act(TENANT, news[1].message.id, Act.CANCEL, CLOCK.now())
    assert cancelled.detail.message.state is MessageState.PARTIAL


async def test_counts_by_queue(store: Store) -> None:
    await fill(store)
    await store.queue.claim("acme/second/acme", 1)
    counts = {c.queue_key: (c.ready, c.leased, c.held) for c in await store.archive.counts()}
    assert counts == {QUEUE: (3, 0, 0), "acme/second/acme": (0, 1, 0), "other/main": (1, 0, 0)}
    earliest = {c.queue_key: c.next_due for c in await store.archive.counts()}
    assert earliest["acme/second/acme"] is None
    assert earliest[QUEUE] is not None
