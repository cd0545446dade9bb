"""States: what SQL makes of recipients agrees with the model, and two settlements at once agree with each other."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import combinations

from relay.model.delivery import delivery_id
from relay.model.event import Event, EventKind
from relay.model.message import TRANSITIONS, RecipientState, derive_state
from storage import Store
from storage.settling import SOURCES
from storage.work import Work, execute, script
from tests.storage.conftest import Open, furnish
from tests.storage.mail import QUEUE, TENANT, leased, mail, settled


async def test_sql_derives_the_state_that_the_model_derives(store: Store) -> None:
    sets = [
        frozenset(chosen) for size in range(1, len(RecipientState) + 1) for chosen in combinations(RecipientState, size)
    ]
    news = [mail([f"{at}@example.com" for at in range(len(states))]) for states in sets]
    await asyncio.gather(*(store.queue.accept(new) for new in news))

    def set_states() -> Work[None]:
        for new, states in zip(news, sets, strict=True):
            for position, state in enumerate(sorted(states)):
                where = f"message_id = '{new.message.id}' AND position = {position}"
                yield from script(f"UPDATE recipients SET state = '{state.value}' WHERE {where};\n")
        yield from execute("derive_message_states", given=[(new.message.id,) for new in news])

    await store._database.write(set_states())
    for new, states in zip(news, sets, strict=True):
        detail = await store.archive.message(TENANT, new.message.id)
        assert {recipient.state for recipient in detail.recipients} == states
        assert detail.message.state is derive_state(states), sorted(states)


async def test_a_settlement_of_all_recipients_gives_the_state_that_the_rows_give(store: Store) -> None:
    ends = sorted(TRANSITIONS[RecipientState.QUEUED] - {RecipientState.SUPPRESSED})
    sets = [states for size in (1, 2, 3) for states in combinations(ends, size)]
    for whole in (False, True):
        for states in sets:
            new = mail([f"{at}@example.com" for at in range(len(states))], leased=True)
            await store.queue.accept(new)
            assert await store.queue.settle(settled(leased(new), *states, whole=whole))
            detail = await store.archive.message(TENANT, new.message.id)
            assert detail.message.state is derive_state(frozenset(states)), (whole, states)


def test_sources_are_the_transitions_read_backwards() -> None:
    for source, targets in TRANSITIONS.items():
        for target in RecipientState:
            assert (source.value in SOURCES[target].split()) == (target in targets)


def test_no_token_hides_in_another() -> None:
    """SQL finds a state in a list of states by LIKE."""
    for a in RecipientState:
        assert [b for b in RecipientState if a.value in b.value] == [a]


async def test_two_deliveries_of_a_message_settled_at_once_do_not_leave_it_open(opened: Open) -> None:
    store = await opened()
    await furnish(store)
    stores = [store]
    if store._database.dialect == "postgres":
        stores.append(await opened(holder="two"))
    for _ in range(30):
        new = mail(("a@example.com", "b@example.com"))
        await store.queue.accept(new)
        await store._database.write(_split(new.message.id))
        halves = []
        for at, holder in enumerate(stores * 2):
            if at < 2:
                halves += [(holder, one) for one in (await holder.queue.claim(QUEUE, 1)).deliveries]
        assert {len(delivery.recipients) for _, delivery in halves} == {1}
        assert await asyncio.gather(*(holder.queue.settle(settled(half)) for holder, half in halves)) == [True, True]
        assert (await store.archive.message(TENANT, new.message.id)).message.state.value == "sent"


def _split(message: str) -> Work[None]:
    """A second delivery for the second recipient, as dispatch will make them."""
    yield from script(
        "INSERT INTO deliveries (message_id, number, tenant_id, queue_key, priority, due, state, attempt) "
        f"SELECT message_id, 2, tenant_id, queue_key, priority, due, state, attempt FROM deliveries "
        f"WHERE message_id = '{message}';\n"
        f"UPDATE recipients SET delivery = 2 WHERE message_id = '{message}' AND position = 1;\n"
    )


async def test_events_without_recipients_are_written(store: Store) -> None:
    new = mail(leased=True)
    await store.queue.accept(new)
    settlement = settled(leased(new))
    note = Event(EventKind.HELD, settlement.at, TENANT, new.message.id)
    assert await store.queue.settle(replace(settlement, recipients=(), events=(note,), record=None))
    events = await store.archive.events(TENANT, new.message.id)
    assert [event.kind for event in events] == [EventKind.ACCEPTED, EventKind.HELD]
    assert events[0].sequence < events[1].sequence
    assert delivery_id(new.message.id, 1) == settlement.delivery
