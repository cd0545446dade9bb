"""Messages that were not accepted, written down; client sides and the bounce mailbox."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from relay.contracts.archive import MessageFilter
from relay.errors import Conflict, NotFound, StoreError
from relay.intake.refused import Refused, write_down
from relay.intake.submission import Principal
from relay.model.act import Act
from relay.model.address import Address
from relay.model.client_side import NO_CLIENT_SIDE, ClientAuth, ClientSide
from relay.model.delivery import NewMessage
from relay.model.message import MessageState, RecipientState, Source
from relay.model.tenant import Tenant
from storage import Store
from tests.storage.conftest import Open, furnish
from tests.storage.mail import CLOCK, IDS, TENANT, mail, settled


def refused(client_id: str = "c", *to: str) -> NewMessage:
    said = Refused(
        Principal(TENANT, "t"), Source.REST, client_id, "missing subject", recipients=tuple(Address(one) for one in to)
    )
    return write_down(said, IDS.next(), "relay.test", CLOCK.now())


@pytest.mark.parametrize("to", [(), ("a@a.example", "b@b.example", "a@a.example")])
async def test_it_is_listed_as_failed_and_never_sent(store: Store, to: tuple[str, ...]) -> None:
    assert await store.queue.keep_refused(refused("c", *to))
    [found] = await store.archive.list_messages(MessageFilter(tenant=TENANT, client_id="c"))
    assert found.message.state is MessageState.FAILED
    assert [one.address for one in found.recipients] == list(dict.fromkeys(to))
    assert {one.state for one in found.recipients} <= {RecipientState.FAILED}
    [event] = await store.archive.events(TENANT, found.message.id)
    assert event.facts["reason"] == "missing subject"
    assert await store.queue.open_deliveries() == 0
    assert not await store.queue.heads()
    with pytest.raises(Conflict):
        await store.archive.act(TENANT, found.message.id, Act.RETRY, CLOCK.now())
    await store.archive.act(TENANT, found.message.id, Act.DELETE, CLOCK.now())
    assert not await store.archive.list_messages(MessageFilter(tenant=TENANT))


async def test_it_takes_the_place_of_none(store: Store) -> None:
    waiting = await store.queue.accept(mail(client_id="c"))
    assert not await store.queue.keep_refused(refused("c"))
    assert (await store.archive.message(TENANT, waiting.id)).message.state is MessageState.OPEN
    [lease] = (await store.queue.claim("acme/main/acme", 1)).deliveries
    assert await store.queue.settle(settled(lease, RecipientState.SENT))
    assert not await store.queue.keep_refused(refused("c"))


async def test_one_after_the_other_and_then_a_good_one(store: Store) -> None:
    first, second = refused("c", "a@a.example"), refused("c")
    assert await store.queue.keep_refused(first)
    assert await store.queue.keep_refused(second)
    accepted = await store.queue.accept(mail(client_id="c"))
    assert accepted.replaces is None
    assert (await store.archive.message(TENANT, first.message.id)).message.client_id is None
    assert (await store.archive.message(TENANT, second.message.id)).message.client_id is None


async def test_a_client_side_is_changed_and_goes_with_its_tenant(store: Store) -> None:
    sides = store.client_sides
    assert await sides.client_side(TENANT) == NO_CLIENT_SIDE
    side = ClientSide("https://a.example", "/sync", None, ClientAuth.BASIC, "u", "secret", active=False)
    assert await sides.change_client_side(TENANT, lambda _: side) == side
    assert await sides.client_side(TENANT) == side
    assert await sides.client_sides() == {TENANT: side}
    assert "secret" not in repr(side)
    with pytest.raises(NotFound):
        await sides.change_client_side("nobody", lambda one: one)
    await store.directory.delete_account(TENANT, "main")
    await store.directory.delete_tenant(TENANT)
    assert await sides.client_sides() == {}
    await store.directory.add_tenant(Tenant(TENANT, "Acme", None, CLOCK.now()))
    assert await sides.client_side(TENANT) == NO_CLIENT_SIDE


@pytest.mark.parametrize("where", ["client side", "bounce mailbox"])
async def test_a_key_is_needed_for_as_long_as_a_secret_was_sealed_by_it(
    opened: Open, tmp_path: Path, where: str
) -> None:
    store = await opened()
    await furnish(store)
    if where == "client side":
        await store.client_sides.change_client_side(
            TENANT, lambda one: replace(one, auth=ClientAuth.BEARER, secret="x")
        )
    else:
        await store.bounce_mailboxes.change_bounce_mailbox(lambda one: replace(one, host="h", password="x"))
    await store.close()
    key, new = tmp_path / "key", "new " + "A" * 43 + "=\n"
    key.write_text(new + key.read_text())
    await (await opened()).close()
    key.write_text(new)
    with pytest.raises(StoreError, match="which is not in"):
        await opened()
