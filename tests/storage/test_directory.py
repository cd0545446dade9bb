"""The directory's contract: look-ups from memory that follow every change, and what must not be deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from relay.contracts.directory import NewToken
from relay.errors import Conflict, NotFound
from relay.model.limit import Limits, LimitUnit, OnLimit
from relay.model.message import Priority
from relay.model.tenant import (
    INSTANCE,
    Account,
    AccountKind,
    Credential,
    OnUnknown,
    RetrySettings,
    Scope,
    Tenant,
    TlsMode,
    Token,
)
from storage import Store
from storage.cache import MAX_MISSING, Cache
from tests.storage.conftest import Open, furnish
from tests.storage.mail import TENANT, leased, mail, settled

SHARED = Account(INSTANCE, "shared", AccountKind.CAPTURE)


def at_once(look_up: Awaitable[Any]) -> Any:
    """The answer of a look-up that does not suspend."""
    with pytest.raises(StopIteration) as end:
        look_up.__await__().__next__()
    return end.value.value


async def test_tenants(store: Store) -> None:
    directory = store.directory
    patient = Tenant("b", "B", None, 1, retry=RetrySettings(max_age=9))
    await directory.add_tenant(patient)
    assert [tenant.id for tenant in await directory.tenants()] == [TENANT, "b"]
    assert await directory.tenant("b") == patient
    for taken in ("b", INSTANCE):
        with pytest.raises(Conflict):
            await directory.add_tenant(Tenant(taken, "again", None, 1))
    await directory.delete_tenant("b")
    for look_up in (directory.tenant, directory.delete_tenant):
        with pytest.raises(NotFound):
            await look_up("b")


async def test_a_tenant_is_made_with_its_first_token_or_not_at_all(store: Store) -> None:
    taken = Token("taken", "first", TENANT, frozenset(Scope), None, 1)
    await store.directory.add_token(taken, "00")
    with pytest.raises(Conflict):
        await store.directory.add_tenant(Tenant("b", "B", None, 1), NewToken(replace(taken, tenant="b"), "11"))
    assert [tenant.id for tenant in await store.directory.tenants()] == [TENANT]
    first = replace(taken, id="new", tenant="b")
    await store.directory.add_tenant(Tenant("b", "B", None, 1), NewToken(first, "22"))
    assert await store.directory.token("22") == first


async def test_an_account_comes_back_whole(store: Store) -> None:
    account = Account(
        TENANT,
        "full",
        AccountKind.SMTP,
        "smtp.example.com",
        465,
        TlsMode.IMPLICIT,
        "user",
        "pässword",
        3,
        7,
        Limits(1, 2, None, LimitUnit.RECIPIENTS, OnLimit.REJECT),
        9,
        OnUnknown.HOLD,
        guarded=True,
        created_at=5,
        retry=RetrySettings((1, 2), 0.5, 3, 4),
    )
    await store.directory.add_account(account, default=False)
    found = await store.directory.owned_account(TENANT, "full")
    assert found.version > 1
    assert found.retry == account.retry
    assert (found.password, found.limits, found.guarded, found.tls) == (
        "pässword",
        Limits(1, 2, None, LimitUnit.RECIPIENTS, OnLimit.REJECT),
        True,
        TlsMode.IMPLICIT,
    )
    assert "pässword" not in repr(found)
    assert await store.directory.account(TENANT, "full") == found
    assert found in await store.directory.accounts(TENANT)
    await store.directory.delete_account(TENANT, "full")
    await store.directory.add_account(account, default=False)
    assert (await store.directory.owned_account(TENANT, "full")).version > found.version


async def test_which_account_mail_goes_by(store: Store) -> None:
    directory = store.directory
    await directory.add_tenant(Tenant("bare", "Bare", None, 1))
    assert await directory.account("bare", None) is None
    await directory.add_account(SHARED, default=True)
    await directory.add_account(Account(INSTANCE, "main", AccountKind.CAPTURE), default=False)

    async def goes_by(tenant: str, name: str | None) -> str | None:
        account = await directory.account(tenant, name)
        return None if account is None else account.key

    assert await goes_by("bare", None) == "*/shared"
    assert await goes_by("bare", "main") == "*/main"
    assert await goes_by("bare", "missing") is None
    assert await goes_by(TENANT, None) == "acme/main"
    assert await goes_by(TENANT, "main") == "acme/main"
    await directory.set_default_account("bare", "main")
    assert await goes_by("bare", None) == "*/main"
    await directory.delete_account(INSTANCE, "main")
    assert (await directory.tenant("bare")).default_account is None
    assert await goes_by("bare", None) == "*/shared"
    await directory.delete_account(TENANT, "main")
    assert await goes_by(TENANT, None) == "*/shared"
    await directory.delete_account(INSTANCE, "shared")
    assert await goes_by(TENANT, None) is None


async def test_what_is_missing_is_said(store: Store) -> None:
    directory = store.directory
    missing: list[Awaitable[object]] = [
        directory.set_default_account(TENANT, "missing"),
        directory.set_default_account("missing", "main"),
        directory.set_default_account(INSTANCE, "main"),
        directory.owned_account(INSTANCE, "main"),
        directory.delete_account(INSTANCE, "main"),
        directory.add_account(Account("missing", "main", AccountKind.CAPTURE), default=False),
        directory.add_credential(Credential("u", "missing")),
        directory.delete_credential(None, "u"),
        directory.add_token(Token("t", "T", "missing"), "hash"),
        directory.revoke_token(None, "t"),
    ]
    for one in missing:
        with pytest.raises(NotFound):
            await one
    with pytest.raises(Conflict):
        await directory.add_account(Account(TENANT, "main", AccountKind.CAPTURE), default=False)


async def test_credentials(store: Store) -> None:
    directory = store.directory
    credential = Credential(
        "printer@acme",
        TENANT,
        "hash",
        (ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")),
        "main",
        ("a@example.org", "@example.com"),
        Priority.LOW,
        "batch",
        ("x", "y"),
        9,
    )
    assert await directory.credential("printer@acme") is None
    await directory.add_credential(credential)
    assert await directory.credential("printer@acme") == credential
    assert await directory.credentials(TENANT) == await directory.credentials(None) == [credential]
    assert await directory.credentials("other") == []
    with pytest.raises(Conflict):
        await directory.add_credential(Credential("printer@acme", TENANT))
    with pytest.raises(NotFound):
        await directory.delete_credential("other", "printer@acme")
    await directory.delete_credential(TENANT, "printer@acme")
    assert await directory.credential("printer@acme") is None


async def test_tokens(store: Store) -> None:
    directory = store.directory
    admin = Token("root", "Root", None, created_at=1)
    reader = Token("reader", "Reader", TENANT, frozenset({Scope.READ}), expires_at=99, created_at=2)
    await directory.add_token(admin, "hash-a")
    await directory.add_token(reader, "hash-r")
    assert await directory.token("hash-r") == reader
    assert (await directory.tokens(TENANT), await directory.tokens(None)) == ([reader], [reader, admin])
    with pytest.raises(Conflict):
        await directory.add_token(reader, "hash-x")
    with pytest.raises(NotFound):
        await directory.revoke_token("other", "reader")
    await directory.revoke_token(TENANT, "reader")
    assert await directory.token("hash-r") is None


async def test_look_ups_answer_from_memory(store: Store) -> None:
    directory = store.directory
    await store.ready()
    known = [
        await directory.tenant(TENANT),
        await directory.account(TENANT, None),
        await directory.credential("missing"),
        await directory.token("missing"),
        await directory.credentials(None),
    ]
    assert known[2:] == [None, None, []]
    assert at_once(directory.tenant(TENANT)) == known[0]
    assert at_once(directory.account(TENANT, None)) == known[1]
    assert at_once(directory.credential("missing")) is None
    assert at_once(directory.token("missing")) is None
    assert at_once(directory.credentials(None)) == []


async def test_nothing_is_deleted_while_mail_waits_for_it(store: Store) -> None:
    new = mail(leased=True)
    await store.queue.accept(new)
    for delete in (store.directory.delete_tenant(TENANT), store.directory.delete_account(TENANT, "main")):
        with pytest.raises(Conflict):
            await delete
    assert (await store.directory.account(TENANT, None)) is not None
    await store.queue.settle(settled(leased(new)))
    await store.directory.delete_account(TENANT, "main")
    await store.directory.add_token(Token("t", "T", TENANT), "hash")
    await store.directory.add_credential(Credential("u", TENANT))
    await store.directory.delete_tenant(TENANT)
    assert (await store.directory.tokens(None), await store.directory.credentials(None)) == ([], [])
    assert await store.archive.counts() == []


async def test_passwords_are_ciphertext_and_outlive_a_restart(opened: Open, url: str, tmp_path: Path) -> None:
    store = await opened()
    await furnish(store)
    secret = "correct horse battery staple"
    account = Account(TENANT, "secret", AccountKind.SMTP, "smtp.example.com", user="u", password=secret)
    await store.directory.add_account(account, default=False)
    await store.close()
    if url.startswith("sqlite"):
        for path in (tmp_path / "store").iterdir():
            assert not path.is_file() or secret.encode() not in path.read_bytes()
    store = await opened()
    assert (await store.directory.owned_account(TENANT, "secret")).password == secret


async def test_a_change_while_looking_up_is_not_overwritten() -> None:
    cache = Cache()
    stands = ["new", "old"]

    async def look_up(_: str) -> str:
        cache.forget()  # the change comes while the old value is being read
        return stands.pop()

    known = cache.kind(look_up)
    assert await known.get("key") == "old"
    assert await known.get("key") == "new"


async def test_what_is_missing_is_remembered_within_bounds() -> None:
    asked: list[int] = []

    async def nothing(key: int) -> None:
        asked.append(key)

    known = Cache().kind(nothing)
    for key in range(MAX_MISSING + 1):
        await known.get(key)
    await known.get(MAX_MISSING)
    assert len(asked) == MAX_MISSING + 1
    await known.get(0)  # the oldest was given up
    assert asked[-1] == 0


async def test_nothing_comes_in_for_a_tenant_that_is_gone(store: Store) -> None:
    await store.directory.delete_tenant(TENANT)
    results = await asyncio.gather(store.queue.accept(mail()), return_exceptions=True)
    assert isinstance(results[0], Exception)
    assert await store.queue.open_deliveries() == 0


async def test_an_account_changes_under_a_new_version_and_keeps_its_secret(store: Store) -> None:
    directory = store.directory
    before = await directory.owned_account(TENANT, "main")
    same = await directory.change_account(TENANT, "main", lambda account: account)
    assert same.version == before.version
    changed = await directory.change_account(
        TENANT, "main", lambda account: replace(account, user="u", password="pässword", enabled=False, batch_size=3)
    )
    found = await directory.owned_account(TENANT, "main")
    assert found == changed
    assert (found.password, found.enabled, found.batch_size) == ("pässword", False, 3)
    assert found.version > before.version
    with pytest.raises(NotFound):
        await directory.change_account(TENANT, "missing", lambda account: account)


async def test_a_tenants_limits_come_back_whole(store: Store) -> None:
    wanted = {"b.example": Limits(per_day=3), "c.example": Limits(1, 2, 3, LimitUnit.RECIPIENTS, OnLimit.REJECT)}
    limits = Limits(per_hour=7, unit=LimitUnit.RECIPIENTS)
    await store.directory.change_tenant(TENANT, lambda found: replace(found, limits=limits, domain_limits=wanted))
    found = await store.directory.tenant(TENANT)
    assert (found.limits, found.domain_limits) == (limits, wanted)
    await store.directory.change_tenant(TENANT, lambda found: replace(found, domain_limits={}))
    assert (await store.directory.tenant(TENANT)).domain_limits == {}
