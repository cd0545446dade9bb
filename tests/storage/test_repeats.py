"""Messages that come again: by key, by client id, at once and one after the other, from one instance and from two."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from relay.clock import DAY, HOUR
from relay.contracts.queue import Accepted
from relay.errors import NotFound, Refusal, Rejected
from relay.model.act import Act
from relay.model.delivery import NewKey, NewMessage, StoredContent
from relay.model.event import EventKind
from relay.model.message import MessageState, RecipientState
from relay.model.tenant import Tenant
from storage import Store, Terms
from storage.work import Script, Work
from tests.storage.conftest import Open, furnish
from tests.storage.mail import CLOCK, QUEUE, TENANT, leased, mail, settled

NOW = CLOCK.now()


def key(digest: str = "same", *, kept_until: int = NOW + DAY) -> NewKey:
    return NewKey("k", digest, kept_until)


async def accept(store: Store, news: Sequence[NewMessage], *, together: bool = False) -> list[Accepted | BaseException]:
    if together:
        return await asyncio.gather(*(store.queue.accept(new) for new in news), return_exceptions=True)
    answers: list[Accepted | BaseException] = []
    for new in news:
        answers += await asyncio.gather(store.queue.accept(new), return_exceptions=True)
    return answers


def refusal(answer: Accepted | BaseException) -> Refusal | None:
    return answer.refusal if isinstance(answer, Rejected) else None


@pytest.mark.parametrize("together", [False, True], ids=["apart", "in one group"])
async def test_a_key_brings_in_one_message(store: Store, together: bool) -> None:
    news = [mail(key=key(digest)) for digest in ("same", "same", "other")]
    answers = await accept(store, news, together=together)
    first = news[0].message.id
    assert answers[:2] == [Accepted(first), Accepted(first, replayed=True)]
    assert refusal(answers[2]) is Refusal.IDEMPOTENCY_MISMATCH
    assert await store.queue.open_deliveries() == 1


async def test_a_key_outlives_its_message_and_ends_by_its_own_time(store: Store) -> None:
    new = mail(key=key(), leased=True)
    await store.queue.accept(new)
    await store.queue.settle(settled(leased(new)))
    await store.archive.act(TENANT, new.message.id, Act.DELETE, NOW)
    assert await store.queue.accept(mail(key=key())) == Accepted(new.message.id, replayed=True)
    await store._database.write(_end_keys())
    other = mail(key=key("other"))
    assert await store.queue.accept(other) == Accepted(other.message.id)
    await store._database.write(_end_keys())
    await store.retention(Terms()).run()
    again = mail(key=key("third"))
    assert await store.queue.accept(again) == Accepted(again.message.id)


def _end_keys() -> Work[None]:
    yield Script("UPDATE idempotency_keys SET kept_until = 1;")


async def test_a_key_is_not_taken_by_a_message_that_is_refused(store: Store) -> None:
    sent = mail(client_id="c", leased=True)
    await store.queue.accept(sent)
    await store.queue.settle(settled(leased(sent)))
    (refused,) = await accept(store, [mail(client_id="c", key=key())])
    assert refusal(refused) is Refusal.DUPLICATE_CLIENT_ID
    new = mail(key=key())
    assert await store.queue.accept(new) == Accepted(new.message.id)


async def test_resubmitting_what_is_still_queued_edits_it(store: Store) -> None:
    old = mail(("a@example.com", "b@example.com"), client_id="c", due=NOW + HOUR, batch="one")
    new = mail(("z@example.com",), client_id="c", content=b"Subject: new\r\n\r\nnew\r\n")
    await store.queue.accept(old)
    assert await store.queue.accept(new) == Accepted(new.message.id, replaces=old.message.id)
    with pytest.raises(NotFound):
        await store.archive.message(TENANT, old.message.id)
    with pytest.raises(NotFound):
        await anext(aiter(store.contents.read(old.message.id)))
    (claimed,) = (await store.queue.claim(QUEUE, 10)).deliveries
    assert (claimed.content, [one.address for one in claimed.recipients]) == (new.content, ["z@example.com"])
    (accepted,) = await store.archive.events(TENANT, new.message.id)
    assert (accepted.kind, accepted.facts["replaces"]) == (EventKind.ACCEPTED, old.message.id)
    (third,) = await accept(store, [mail(client_id="c")])  # it is being attempted now
    assert refusal(third) is Refusal.DUPLICATE_CLIENT_ID


async def test_the_large_content_of_what_is_replaced_goes_too(store: Store) -> None:
    old = mail(client_id="c", content=StoredContent(100_000))
    writer = store.contents.writer(old.message.id)
    await writer.write(b"x" * 100_000)
    await writer.finish()
    await store.queue.accept(old)
    await store.queue.accept(mail(client_id="c"))
    with pytest.raises(NotFound):
        await anext(aiter(store.contents.read(old.message.id)))
    large = store._contents._large
    spool = getattr(large, "_spool", None)
    if spool is not None:
        assert not spool.path(old.message.id).exists()


@pytest.mark.parametrize("state", [RecipientState.HELD, RecipientState.QUEUED])
async def test_what_is_held_or_suspended_is_edited(store: Store, state: RecipientState) -> None:
    old = mail(client_id="c", batch="spring")
    await store.suspensions.suspend(TENANT, "spring", NOW)
    await store.queue.accept(old)
    if state is RecipientState.HELD:
        await store.archive.act(TENANT, old.message.id, Act.HOLD, NOW)
    else:
        assert (await store.queue.claim(QUEUE, 5)).deliveries == ()  # marked by now
    new = mail(client_id="c", batch="spring")
    assert (await store.queue.accept(new)).replaces == old.message.id
    await store.suspensions.resume(TENANT, "spring", NOW)
    assert [one.message.id for one in (await store.queue.claim(QUEUE, 5)).deliveries] == [new.message.id]


@pytest.mark.parametrize("state", [RecipientState.FAILED, RecipientState.EXPIRED, RecipientState.CANCELLED])
async def test_what_came_to_nothing_may_be_sent_again_and_keeps_its_history(
    store: Store, state: RecipientState
) -> None:
    old, new = mail(client_id="c", leased=True), mail(client_id="c")
    await store.queue.accept(old)
    await store.queue.settle(settled(leased(old), state))
    assert await store.queue.accept(new) == Accepted(new.message.id)
    kept = (await store.archive.message(TENANT, old.message.id)).message
    assert kept.client_id is None
    assert kept.state in {MessageState.FAILED, MessageState.CANCELLED}
    assert (await store.archive.message(TENANT, new.message.id)).message.client_id == "c"


@pytest.mark.parametrize(
    "states",
    [
        (RecipientState.SENT, RecipientState.SENT),
        (RecipientState.SENT, RecipientState.FAILED),
        (RecipientState.SENT, RecipientState.DEFERRED),
        (RecipientState.DEFERRED, RecipientState.DEFERRED),
        (RecipientState.UNKNOWN, RecipientState.FAILED),
        (RecipientState.CAPTURED, RecipientState.CAPTURED),
    ],
)
async def test_what_was_attempted_is_not_edited(store: Store, states: tuple[RecipientState, ...]) -> None:
    old = mail(("a@example.com", "b@example.com"), client_id="c", leased=True)
    await store.queue.accept(old)
    await store.queue.settle(settled(leased(old), *states, due=NOW + HOUR))
    (refused,) = await accept(store, [mail(client_id="c")])
    assert refusal(refused) is Refusal.DUPLICATE_CLIENT_ID


@pytest.mark.parametrize("together", [False, True], ids=["apart", "in one group"])
async def test_a_client_id_is_one_message_s_in_a_tenant(store: Store, together: bool) -> None:
    await store.directory.add_tenant(Tenant("other", "Other", None, 0))
    news = [mail(client_id="c", leased=True), mail(client_id="c"), mail(client_id="c", tenant="other"), mail()]
    answers = await accept(store, news, together=together)
    assert refusal(answers[1]) is Refusal.DUPLICATE_CLIENT_ID
    assert [answers[at] for at in (0, 2, 3)] == [Accepted(news[at].message.id) for at in (0, 2, 3)]
    assert await store.queue.open_deliveries() == 3


async def test_two_instances_edit_at_the_same_time(opened: Open, backend: str) -> None:
    if backend != "postgres":
        pytest.skip("one instance has a SQLite file to itself")
    one, two = await opened(), await opened(holder="two")
    await furnish(one)
    await one.queue.accept(mail(client_id="c"))
    for _ in range(10):
        news = [mail(client_id="c") for _ in range(6)]
        answers = await asyncio.gather(
            *((one, two)[place % 2].queue.accept(new) for place, new in enumerate(news)), return_exceptions=True
        )
        assert all(isinstance(answer, Accepted | Rejected) for answer in answers), answers
    assert await one.queue.open_deliveries() == 1
    (claimed,) = (await two.queue.claim(QUEUE, 5)).deliveries
    assert claimed.message.client_id == "c"
