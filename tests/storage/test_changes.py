"""Changes of what is configured: a pure function inside the transaction, so that none is lost."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from relay.errors import Conflict, Invalid, NotFound
from relay.model.instance import DispatchSettings, Instance
from relay.model.tenant import INSTANCE, Account, AccountKind, Tenant
from storage import Store
from tests.storage.conftest import Open
from tests.storage.mail import TENANT


def _renamed(name: str) -> Tenant:
    return Tenant("changing", name, None, 1)


async def test_a_change_is_kept_and_seen_at_once(store: Store) -> None:
    directory = store.directory
    await directory.add_tenant(_renamed("before"))
    assert (await directory.tenant("changing")).name == "before"
    changed = await directory.change_tenant("changing", lambda one: replace(one, name="after"))
    assert changed == _renamed("after") == await directory.tenant("changing")
    with pytest.raises(NotFound):
        await directory.change_tenant("missing", lambda one: one)


async def test_what_the_change_raises_leaves_all_as_it_was(store: Store) -> None:
    await store.directory.add_tenant(_renamed("before"))

    def refuse(tenant: Tenant) -> Tenant:
        raise Conflict("no")

    with pytest.raises(Conflict, match="no"):
        await store.directory.change_tenant("changing", refuse)
    assert await store.directory.tenant("changing") == _renamed("before")


async def test_a_default_account_must_be_there(store: Store) -> None:
    directory = store.directory
    await directory.add_account(Account(INSTANCE, "everyone", AccountKind.CAPTURE), default=False)
    with pytest.raises(Invalid) as caught:
        await directory.change_tenant(TENANT, lambda one: replace(one, default_account="missing"))
    assert [one.path for one in caught.value.violations] == ["/default_account"]
    for name in ("everyone", None):
        await directory.change_tenant(TENANT, lambda one, name=name: replace(one, default_account=name))  # type: ignore[misc]
        assert (await directory.tenant(TENANT)).default_account == name


async def test_no_change_of_many_is_lost(store: Store) -> None:
    await store.directory.add_tenant(_renamed(""))
    await asyncio.gather(
        *(
            store.directory.change_tenant("changing", lambda one, add=add: replace(one, name=one.name + add))  # type: ignore[misc]
            for add in "abcdefghijklmnop"
        )
    )
    assert sorted((await store.directory.tenant("changing")).name) == list("abcdefghijklmnop")


async def test_the_instances_settings_are_kept(store: Store, opened: Open) -> None:
    directory = store.directory
    assert await directory.instance() == Instance(None, DispatchSettings(active=True))
    for settings in (Instance("Shop", DispatchSettings(active=False)), Instance(None, DispatchSettings(active=True))):
        assert await directory.change_instance(lambda _, to=settings: to) == settings  # type: ignore[misc]
        assert await directory.instance() == settings
        await store.close()
        store = await opened()
        directory = store.directory
        assert await directory.instance() == settings
