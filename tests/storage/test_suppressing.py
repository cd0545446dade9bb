"""Lists of suppressions: what stands on them, from when to when, and that whoever has none pays nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from relay.clock import DAY
from relay.errors import NotFound
from relay.model.message import MessageState, RecipientState
from relay.model.suppression import Suppression, SuppressionFilter, SuppressionReason
from relay.model.tenant import SuppressOn, Tenant
from storage import Store, Terms
from storage.claiming import claim
from storage.suppressing import find_suppressed
from storage.work import Chain
from tests.storage.conftest import Open, furnish
from tests.storage.mail import CLOCK, QUEUE, TENANT, leased, mail, settled


def entry(address: str, *, until: int | None = None, tenant: str = TENANT, **facts: Any) -> Suppression:
    reason = facts.pop("reason", SuppressionReason.MANUAL)
    return Suppression(tenant, address, reason, facts.pop("since", CLOCK.now()), until, **facts)


async def put(store: Store, *addresses: str) -> None:
    await store.suppressions.put(TENANT, [entry(address) for address in addresses])


def listening(store: Store) -> list[None]:
    """Grows with each forgetting of the cache."""
    forgotten: list[None] = []
    store.on_change(lambda: forgotten.append(None))
    return forgotten


async def test_what_is_put_is_found_by_address_and_by_domain(store: Store) -> None:
    await put(store, "ann@b.example", "@c.example")
    found = await store.suppressions.find(TENANT, ["Ann@B.EXAMPLE", "bob@b.example", "x@c.example", "x@sub.c.example"])
    assert {address: one.address for address, one in found.items()} == {
        "Ann@B.EXAMPLE": "ann@b.example",
        "x@c.example": "@c.example",
    }


async def test_lists_are_their_tenants_own(store: Store) -> None:
    await store.directory.add_tenant(Tenant("other", "Other", None, CLOCK.now()))
    await put(store, "ann@b.example")
    assert await store.suppressions.find("other", ["ann@b.example"]) == {}
    assert await store.suppressions.suppressions(SuppressionFilter("other")) == []
    with pytest.raises(NotFound):
        await store.suppressions.suppression("other", "ann@b.example")
    with pytest.raises(NotFound):
        await store.suppressions.remove("other", "ann@b.example")
    assert not (await store.directory.tenant("other")).suppresses
    with pytest.raises(NotFound, match="no tenant nobody"):
        await store.suppressions.put("nobody", [entry("ann@b.example", tenant="nobody")])


async def test_put_says_what_was_new_and_what_changed(store: Store) -> None:
    first = [entry("a@b.example"), entry("c@b.example"), entry("a@b.example", note="twice")]
    assert await store.suppressions.put(TENANT, first) == _imported(2, 0, 0)
    again = [
        entry("a@b.example", note="twice"),
        entry("c@b.example", reason=SuppressionReason.COMPLAINT),
        entry("d@b.example"),
    ]
    assert await store.suppressions.put(TENANT, again) == _imported(1, 1, 1)
    kept = await store.suppressions.suppression(TENANT, "a@b.example")
    assert (kept.note, kept.since) == ("twice", first[2].since)
    assert (await store.suppressions.suppression(TENANT, "c@b.example")).reason is SuppressionReason.COMPLAINT


def _imported(added: int, changed: int, unchanged: int) -> Any:
    from relay.model.suppression import Imported

    return Imported(added, changed, unchanged)


async def test_what_has_ended_is_as_if_it_were_not_there_and_goes(store: Store) -> None:
    now = CLOCK.now()
    await store.suppressions.put(
        TENANT, [entry("old@b.example", until=now - 1), entry("new@b.example", until=now + DAY)]
    )
    assert list(await store.suppressions.find(TENANT, ["old@b.example", "new@b.example"])) == ["new@b.example"]
    assert [one.address for one in await store.suppressions.suppressions(SuppressionFilter(TENANT))] == [
        "new@b.example"
    ]
    with pytest.raises(NotFound):
        await store.suppressions.suppression(TENANT, "old@b.example")
    await store.retention(Terms()).run()
    with pytest.raises(NotFound):
        await store.suppressions.remove(TENANT, "old@b.example")
    await store.suppressions.remove(TENANT, "new@b.example")


async def test_pages_by_address_prefix_and_reason(store: Store) -> None:
    names = [f"{name}@b.example" for name in ("ann", "anna", "bob", "cas")]
    await put(store, *names)
    await store.suppressions.put(TENANT, [entry("bea@b.example", reason=SuppressionReason.UNSUBSCRIBE)])

    async def page(**wanted: Any) -> list[str]:
        found = await store.suppressions.suppressions(SuppressionFilter(TENANT, **wanted))
        return [one.address.partition("@")[0] for one in found]

    assert await page(limit=2) == ["ann", "anna"]
    assert await page(limit=2, after="anna@b.example") == ["bea", "bob"]
    assert await page(prefix="an") == ["ann", "anna"]
    assert await page(prefix="an", after="ann@b.example") == ["anna"]
    assert await page(reason=SuppressionReason.UNSUBSCRIBE) == ["bea"]
    assert await page(reason=SuppressionReason.MANUAL, after="anna@b.example") == ["bob", "cas"]


async def test_a_tenant_is_known_to_suppress_from_its_first_entry_on(store: Store) -> None:
    assert not (await store.directory.tenant(TENANT)).suppresses
    forgotten = listening(store)
    await put(store, "ann@b.example")
    assert (await store.directory.tenant(TENANT)).suppresses
    assert len(forgotten) == 1
    await put(store, "bob@b.example")
    await put(store, "cas@b.example")
    assert len(forgotten) == 1, "what is known already need not be forgotten for every entry"


async def test_an_emptied_list_may_be_filled_again(store: Store) -> None:
    await put(store, "ann@b.example")
    await store.suppressions.remove(TENANT, "ann@b.example")
    await store.directory.change_tenant(TENANT, lambda tenant: replace(tenant, name="New"))
    assert not (await store.directory.tenant(TENANT)).suppresses
    await put(store, "ann@b.example")
    assert (await store.directory.tenant(TENANT)).suppresses


@pytest.mark.postgres
async def test_other_instances_hear_of_the_first_entry(opened: Open, backend: str) -> None:
    if backend == "sqlite":
        pytest.skip("one instance on a SQLite file")
    one, two = await opened(), await opened(holder="two")
    await furnish(one)
    heard = asyncio.Event()
    two.on_change(heard.set)
    assert not (await two.directory.tenant(TENANT)).suppresses
    heard.clear()
    await put(one, "ann@b.example")
    await asyncio.wait_for(heard.wait(), 10)
    assert (await two.directory.tenant(TENANT)).suppresses


async def test_who_has_no_list_is_not_looked_up(store: Store) -> None:
    asked = steps(claim([_wanted(suppresses=False)], {"now": 0, "boot": 0, "holder": "x", "lease": 1}))
    assert "suppressed" not in asked
    assert steps(find_suppressed({TENANT: ["a@b.example"]}, {"now": 0})) == ["suppressed"]


def _wanted(*, suppresses: bool) -> Any:
    from storage.claiming import Wanted

    return Wanted(QUEUE, 1, suppresses=suppresses)


def steps(work: Any) -> list[str]:
    """The statements of a work on an empty database."""
    names: list[str] = []
    try:
        step = next(work)
        while True:
            if isinstance(step, Chain):
                names += [part.name for part in step.steps]
                step = work.send([[] for _ in step.steps])
            else:
                names.append(step.name)
                step = work.send([])
    except StopIteration:
        return names


# -- with mail --------------------------------------------------------------------------------------------------------


async def test_a_message_all_of_whose_recipients_are_suppressed_has_no_delivery(store: Store) -> None:
    new = mail()
    suppressed = replace(new.recipients[0], state=RecipientState.SUPPRESSED)
    new = replace(new, message=replace(new.message, state=MessageState.FAILED), recipients=(suppressed,))
    await store.queue.accept(new)
    assert await store.queue.open_deliveries() == 0
    assert (await store.queue.claim(QUEUE, 1)).deliveries == ()
    detail = await store.archive.message(TENANT, new.message.id)
    assert (detail.message.state, detail.recipients[0].state) == (MessageState.FAILED, RecipientState.SUPPRESSED)
    assert await store.archive.deliveries(TENANT, new.message.id) == []


async def test_a_claim_says_who_was_suppressed_meanwhile(store: Store) -> None:
    await store.queue.accept(mail(["ann@b.example", "bob@b.example"]))
    [delivery] = (await store.queue.claim(QUEUE, 10)).deliveries
    assert delivery.suppressed == ()
    await store.queue.release([delivery])
    await put(store, "bob@b.example")
    [delivery] = (await store.queue.claim(QUEUE, 10)).deliveries
    assert [(position, one.address) for position, one in delivery.suppressed] == [(1, "bob@b.example")]


def bounce(address: str, *, until: int | None, message: str | None = None) -> Suppression:
    return entry(address, until=until, reason=SuppressionReason.HARD_BOUNCE, message=message)


async def test_a_settlement_puts_addresses_on_the_list(store: Store) -> None:
    until = CLOCK.now() + DAY
    new = mail(["gone@b.example"], leased=True)
    await store.queue.accept(new)
    found = bounce("gone@b.example", until=until, message=new.message.id)
    settlement = settled(leased(new), RecipientState.FAILED, suppressions=(found,))
    assert await store.queue.settle(settlement)
    assert await store.suppressions.suppression(TENANT, "gone@b.example") == found
    assert (await store.directory.tenant(TENANT)).suppresses


async def test_a_lost_lease_puts_nothing_on_the_list(store: Store) -> None:
    new = mail(["gone@b.example"], leased=True)
    await store.queue.accept(new)
    lost = settled(
        replace(leased(new), attempt=7), RecipientState.FAILED, suppressions=(bounce("gone@b.example", until=None),)
    )
    assert not await store.queue.settle(lost)
    assert await store.suppressions.find(TENANT, ["gone@b.example"]) == {}


@pytest.mark.parametrize(
    ("before", "found", "stays"),
    [
        (lambda now: entry("x@b.example"), lambda now: bounce("x@b.example", until=now + DAY), True),
        (
            lambda now: entry("x@b.example", until=now + 1 * DAY),
            lambda now: bounce("x@b.example", until=now + 2 * DAY),
            True,
        ),
        (lambda now: entry("x@b.example", until=now - 1), lambda now: bounce("x@b.example", until=now + DAY), False),
        (
            lambda now: bounce("x@b.example", until=now + DAY),
            lambda now: bounce("x@b.example", until=now + 2 * DAY),
            False,
        ),
        (
            lambda now: bounce("x@b.example", until=now + 2 * DAY),
            lambda now: bounce("x@b.example", until=now + DAY),
            True,
        ),
        (lambda now: bounce("x@b.example", until=None), lambda now: bounce("x@b.example", until=now + DAY), True),
        (lambda now: bounce("x@b.example", until=now + DAY), lambda now: bounce("x@b.example", until=None), False),
    ],
    ids=["said", "said for a time", "ended", "shorter", "longer", "for good", "for good now"],
)
async def test_what_was_said_stays(
    store: Store, before: Callable[[int], Suppression], found: Callable[[int], Suppression], stays: bool
) -> None:
    now = CLOCK.now()
    first, second = before(now), found(now)
    await store.suppressions.put(TENANT, [first])
    new = mail(["x@b.example"], leased=True)
    await store.queue.accept(new)
    assert await store.queue.settle(settled(leased(new), RecipientState.FAILED, suppressions=(second,)))
    assert await store.suppressions.suppression(TENANT, "x@b.example") == (first if stays else second)


async def test_many_settlements_of_one_address_in_one_group(store: Store) -> None:
    news = [mail(["x@b.example"], leased=True) for _ in range(20)]
    await asyncio.gather(*(store.queue.accept(new) for new in news))
    until = CLOCK.now() + DAY
    done = await asyncio.gather(
        *(
            store.queue.settle(
                settled(leased(new), RecipientState.FAILED, suppressions=(bounce("x@b.example", until=until),))
            )
            for new in news
        )
    )
    assert all(done)
    assert (await store.suppressions.suppression(TENANT, "x@b.example")).until == until


async def test_a_message_partly_suppressed_is_still_edited_by_its_client_id(store: Store) -> None:
    def handed_in() -> Any:
        new = mail(["ann@b.example", "bob@b.example"], client_id="invoice-1")
        recipients = (new.recipients[0], replace(new.recipients[1], state=RecipientState.SUPPRESSED))
        return replace(new, recipients=recipients)

    first, second = handed_in(), handed_in()
    await store.queue.accept(first)
    assert (await store.queue.accept(second)).replaces == first.message.id


async def test_a_tenants_settings_and_its_list_go_with_it(store: Store) -> None:
    await store.directory.add_tenant(Tenant("gone", "Gone", None, CLOCK.now()))
    settings = await store.directory.tenant("gone")
    assert (settings.suppress_on, settings.suppress_for) == (SuppressOn.HARD_BOUNCE, 30 * DAY)
    changed = await store.directory.change_tenant(
        "gone", lambda tenant: replace(tenant, suppress_on=SuppressOn.NEVER, suppress_for=None)
    )
    assert await store.directory.tenant("gone") == changed
    await store.suppressions.put("gone", [entry(f"x{n}@b.example", tenant="gone") for n in range(5)])
    await store.directory.delete_tenant("gone")
    assert await store.suppressions.find("gone", ["x0@b.example"]) == {}
