"""An operator's acts, one message at a time and on all that a filter finds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relay.clock import HOUR
from relay.contracts.archive import MessageFilter
from relay.errors import Conflict, Invalid, NotFound
from relay.model.act import Act, WhyNot
from relay.model.event import EventKind
from relay.model.message import DeliveryState, MessageState, Priority, RecipientState
from relay.model.tenant import INSTANCE, Account, AccountKind
from storage import Store, archive
from storage.acts import Delivery, Order, Standing, decide
from tests.storage.mail import CLOCK, QUEUE, TENANT, leased, mail, settled

NOW = CLOCK.now()
Q, D, H, U = RecipientState.QUEUED, RecipientState.DEFERRED, RecipientState.HELD, RecipientState.UNKNOWN
S, F, C, X = RecipientState.SENT, RecipientState.FAILED, RecipientState.CANCELLED, RecipientState.EXPIRED

DECISIONS = [
    (Act.HOLD, "ready", [Q, D, U], [H, H, H], "held"),
    (Act.HOLD, "ready", [S, Q], [S, H], "held"),
    (Act.HOLD, "leased", [Q, S], WhyNot.UNDER_WAY, ""),
    (Act.HOLD, "held", [H], WhyNot.NOTHING, ""),
    (Act.HOLD, "done", [S, F], WhyNot.NOTHING, ""),
    (Act.RELEASE, "held", [H, S], [Q, S], "ready"),
    (Act.RELEASE, "held", [U], [Q], "ready"),
    (Act.RELEASE, "ready", [Q], WhyNot.NOTHING, ""),
    (Act.CANCEL, "ready", [Q, S, H], [C, S, C], "done"),
    (Act.CANCEL, "leased", [Q], WhyNot.UNDER_WAY, ""),
    (Act.CANCEL, "done", [S], WhyNot.NOTHING, ""),
    (Act.RETRY, "done", [F, X, S], [Q, Q, S], "ready"),
    (Act.RETRY, "ready", [D], [D], "ready"),
    (Act.RETRY, "done", [S, C], WhyNot.NOTHING, ""),
    (Act.DELETE, "ready", [Q], WhyNot.OPEN, ""),
]


@pytest.mark.parametrize(("act", "state", "before", "after", "delivery"), DECISIONS)
def test_what_an_act_does(
    act: Act, state: str, before: list[RecipientState], after: list[RecipientState] | WhyNot, delivery: str
) -> None:
    new = mail([f"r{place}@example.com" for place in range(len(before))])
    recipients = [(replace(one, state=s), 1) for one, s in zip(new.recipients, before, strict=True)]
    standing = Standing(new.message, recipients, {1: Delivery(QUEUE, DeliveryState(state), 7)}, True)
    decided = decide(standing, Order(act, NOW))
    if isinstance(decided, WhyNot):
        assert decided is after
        return
    changed = {change.to.position: change.to.state for change in decided.changes}
    assert [changed.get(place, was) for place, was in enumerate(before)] == after
    assert [move[1].value for move in decided.moves] == [delivery]
    assert len(decided.events) == len(decided.changes)


async def test_hold_and_release(store: Store) -> None:
    told: list[tuple[str, int]] = []
    store.on_ready(lambda queue_key, due: told.append((queue_key, due)))
    new = mail(("a@example.com", "b@example.com"), not_before=NOW + HOUR, due=NOW + HOUR)
    await store.queue.accept(new)
    held = await store.archive.act(TENANT, new.message.id, Act.HOLD, NOW)
    assert (held.concerned, held.under_way, held.detail.message.state) == (2, 0, MessageState.HELD)
    assert (await store.queue.heads()) == []
    released = await store.archive.act(TENANT, new.message.id, Act.RELEASE, NOW)
    assert [one.next_attempt_at for one in released.detail.recipients] == [NOW + HOUR] * 2
    assert told == [(QUEUE, NOW + HOUR)]
    kinds = [event.kind for event in await store.archive.events(TENANT, new.message.id)]
    assert kinds == [EventKind.ACCEPTED, *[EventKind.HELD] * 2, *[EventKind.RELEASED] * 2]


async def test_what_is_being_attempted_is_left_alone_and_said(store: Store) -> None:
    new = mail(("a@example.com",), leased=True)
    await store.queue.accept(new)
    for act in (Act.HOLD, Act.CANCEL, Act.RETRY, Act.REROUTE, Act.RELEASE):
        with pytest.raises(Conflict, match="at this moment"):
            await store.archive.act(TENANT, new.message.id, act, NOW, account="main")
    with pytest.raises(Conflict, match="not closed"):
        await store.archive.act(TENANT, new.message.id, Act.DELETE, NOW)


async def test_reroute(store: Store) -> None:
    await store.directory.add_account(Account(TENANT, "second", AccountKind.CAPTURE), default=False)
    await store.directory.add_account(Account(INSTANCE, "shared", AccountKind.CAPTURE), default=False)
    await store.directory.add_account(Account(INSTANCE, "off", AccountKind.CAPTURE, enabled=False), default=False)
    new = mail(("a@example.com", "b@example.com"), leased=True)
    await store.queue.accept(new)
    await store.queue.settle(settled(leased(new), S, D, due=NOW + HOUR))
    message = new.message.id
    acted = await store.archive.act(TENANT, message, Act.REROUTE, NOW, account="second")
    assert (acted.concerned, acted.detail.message.account) == (1, "second")
    (found,) = (await store.queue.claim("acme/second/acme", 5)).deliveries
    assert ([one.address for one in found.recipients], found.message.account) == (["b@example.com"], "second")
    await store.queue.release([found])
    last = (await store.archive.events(TENANT, message))[-1]
    assert (last.kind, last.recipient, last.facts) == (
        EventKind.REROUTED,
        "b@example.com",
        {"from": "main", "to": "second"},
    )
    await store.archive.act(TENANT, message, Act.REROUTE, NOW, account="shared")
    assert [head.queue_key for head in await store.queue.heads()] == ["*/shared/acme"]
    with pytest.raises(Conflict, match="by that account already"):
        await store.archive.act(TENANT, message, Act.REROUTE, NOW, account="shared")
    for missing in ("nothing", "off"):
        with pytest.raises(Invalid):
            await store.archive.act(TENANT, message, Act.REROUTE, NOW, account=missing)


async def test_delete_takes_the_content_along(store: Store) -> None:
    new = mail(leased=True)
    await store.queue.accept(new)
    await store.queue.settle(settled(leased(new)))
    await store.archive.act(TENANT, new.message.id, Act.DELETE, NOW)
    with pytest.raises(NotFound):
        await store.archive.message(TENANT, new.message.id)
    with pytest.raises(NotFound):
        await anext(aiter(store.contents.read(new.message.id)))


async def test_an_act_on_all_that_a_filter_finds(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "ACTED_AT_ONCE", 3)
    news = [mail(batch="spring", tags=("odd",) if place % 2 else ("even", "all_of")) for place in range(8)]
    under_way = mail(batch="spring", leased=True)
    for new in (*news, under_way, mail()):
        await store.queue.accept(new)
    wanted = MessageFilter(tenant=TENANT, batch="spring")
    dry = await store.archive.act_on_all(wanted, Act.HOLD, NOW, dry_run=True)
    assert (dry.matched, dry.changed, dry.skipped, dry.next_before) == (9, 8, {WhyNot.UNDER_WAY: 1}, None)
    assert (await store.archive.message(TENANT, news[0].message.id)).message.state is MessageState.OPEN
    first = await store.archive.act_on_all(replace(wanted, limit=5), Act.HOLD, NOW)
    assert (first.matched, first.changed) == (5, 4)
    assert first.next_before == news[4].message.id
    rest = await store.archive.act_on_all(replace(wanted, before=first.next_before), Act.HOLD, NOW)
    assert (rest.matched, rest.changed, rest.next_before) == (4, 4, None)
    held = MessageFilter(tenant=TENANT, states=frozenset({MessageState.HELD}))
    assert len(await store.archive.list_messages(held)) == 8
    even = await store.archive.act_on_all(replace(held, tags=("all_of", "even")), Act.CANCEL, NOW)
    assert (even.matched, even.changed) == (4, 4)
    gone = await store.archive.act_on_all(replace(wanted, states=frozenset({MessageState.CANCELLED})), Act.DELETE, NOW)
    assert gone.changed == 4
    with pytest.raises(Invalid):
        await store.archive.act_on_all(wanted, Act.REROUTE, NOW, account="nothing", dry_run=True)


async def test_filters_by_tag_priority_and_suspension(store: Store) -> None:
    news = {
        "plain": mail(),
        "tagged": mail(tags=("a_b", "c")),
        "like": mail(tags=("axb",)),
        "urgent": mail(priority=Priority.IMMEDIATE, batch="spring"),
    }
    for new in news.values():
        await store.queue.accept(new)
    await store.suspensions.suspend(TENANT, "spring", 1)
    for wanted, names in (
        (MessageFilter(tags=("a_b",)), "tagged"),
        (MessageFilter(tags=("c", "a_b")), "tagged"),
        (MessageFilter(tags=("c", "axb")), ""),
        (MessageFilter(priority=Priority.IMMEDIATE), "urgent"),
        (MessageFilter(suspended=True), "urgent"),
        (MessageFilter(suspended=False), "like tagged plain"),
    ):
        found = await store.archive.list_messages(replace(wanted, tenant=TENANT))
        assert [one.message.id for one in found] == [news[name].message.id for name in names.split()], wanted
    assert (await store.archive.message(TENANT, news["urgent"].message.id)).suspended
    await store.suspensions.suspend(TENANT, None, 1)
    await store.suspensions.resume(TENANT, "spring", 1)
    assert [one.suspended for one in await store.archive.list_messages(MessageFilter(tenant=TENANT))] == [
        False,
        True,
        True,
        True,
    ]
