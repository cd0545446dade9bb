"""Configuration in the store: the works that change tenants and what they own; each raises the version and tells others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from relay.errors import Conflict, Invalid, NotFound, Violation
from relay.model.instance import DispatchSettings, Instance
from relay.model.tenant import INSTANCE, Account, Tenant
from storage.cipher import Cipher
from storage.configuration_rows import read_account, read_tenant, write_account, write_domain_limits, write_tenant
from storage.work import Lock, Row, Values, Work, execute, fetch, fetch_one, notify

CHANGED = "change"
"""What other instances are told."""
DEFAULT_ACCOUNT = "default_account"
"""The setting that names the instance's default account."""
INSTANCE_NAME = "instance_name"
"""The setting that names the instance; empty or missing: it has none."""
DISPATCH_STOPPED = "dispatch_stopped"
"""The setting that stops the scheduler while it is there."""
DELETED_AT_ONCE = 200
"""Messages in one transaction when a tenant goes, or five times as many suppressions."""

_PARTS = ("contents", "recipients", "deliveries", "attempts", "events", "messages")


def begin_change() -> Work[int]:
    """One change at a time; the version that it makes."""
    yield Lock("lock_configuration", [("change",)])
    rows = yield from fetch("raise_version")
    yield from notify([CHANGED])
    return int(rows[0][0])


def find_instance() -> Work[Instance]:
    """The instance's settings."""
    name = yield from fetch_one("setting", {"name": INSTANCE_NAME})
    stopped = yield from _exists("setting", {"name": DISPATCH_STOPPED})
    return Instance((name[0] or None) if name else None, DispatchSettings(active=not stopped))


def change_instance(change: Callable[[Instance], Instance]) -> Work[Instance]:
    """The settings as they are now; what `change` raises."""
    yield from begin_change()
    current = yield from find_instance()
    changed = change(current)
    if changed.name != current.name:
        yield from execute("put_setting", {"name": INSTANCE_NAME, "value": changed.name or ""})
    if changed.dispatch != current.dispatch:
        statement = "delete_setting" if changed.dispatch.active else "put_setting"
        yield from execute(statement, {"name": DISPATCH_STOPPED, "value": "1"})
    return changed


def _exists(statement: str, values: Values) -> Work[bool]:
    return (yield from fetch_one(statement, values)) is not None


def require_tenant(tenant: str) -> Work[None]:
    """NotFound where there is none."""
    if not (yield from _exists("tenant", {"tenant": tenant})):
        raise NotFound(f"no tenant {tenant}")


def add_tenant(tenant: Tenant) -> Work[None]:
    """Conflict where the id is taken."""
    yield from begin_change()
    if tenant.id == INSTANCE or not (yield from execute("insert_tenant", write_tenant(tenant))):
        raise Conflict(f"tenant {tenant.id} exists already")


def find_tenant(tenant: str) -> Work[Tenant | None]:
    """With its limits, what it has suspended, whether it suppresses anything; None where there is none."""
    row = yield from fetch_one("tenant", {"tenant": tenant})
    if row is None:
        return None
    domain_limits = yield from fetch("domain_limits", {"tenant": tenant})
    suspensions = yield from fetch("suspensions", {"tenant": tenant})
    suppresses = yield from _exists("suppresses", {"tenant": tenant})
    return read_tenant(row, domain_limits, suspensions, suppresses=suppresses)


def change_tenant(tenant: str, change: Callable[[Tenant], Tenant]) -> Work[Tenant]:
    """The tenant as it is now; NotFound, Invalid where there is no such account, and what `change` raises."""
    yield from begin_change()
    current = yield from find_tenant(tenant)
    if current is None:
        raise NotFound(f"no tenant {tenant}")
    changed = change(current)
    if changed == current:
        return current
    if changed.default_account not in {None, current.default_account}:
        found = yield from find_owner(tenant, changed.default_account)
        if found is None:
            raise Invalid(Violation("/default_account", "there is no such account"))
    yield from execute("update_tenant", write_tenant(changed))
    if changed.domain_limits != current.domain_limits:
        yield from execute("delete_domain_limits", {"tenant": tenant})
        yield from execute("insert_domain_limits", given=write_domain_limits(changed))
    return changed


def find_owner(tenant: str, account: str | None) -> Work[str | None]:
    """Whose account a tenant means by this id: its own, else the instance's, else None."""
    for owner in (tenant, INSTANCE):
        if (yield from _exists("account", {"owner": owner, "account": account})):
            return owner
    return None


def delete_old_messages(tenant: str) -> Work[Sequence[str]]:
    """Delete some messages of a tenant without open mail; their ids. Conflict while mail of it is open."""
    yield from require_tenant(tenant)
    if (yield from _exists("is_open_for_tenant", {"tenant": tenant})):
        raise Conflict(f"tenant {tenant} has open mail: wait for it or cancel it")
    rows = yield from fetch("some_messages", {"tenant": tenant, "limit": DELETED_AT_ONCE})
    keys = [str(row[0]) for row in rows]
    for part in _PARTS:
        yield from execute(f"delete_{part}", given=[(key,) for key in keys])
    return keys


def delete_suppressions_of(tenant: str) -> Work[int]:
    """Delete some of a tenant's; how many."""
    return (yield from execute("delete_some_suppressions", {"tenant": tenant, "count": 5 * DELETED_AT_ONCE}))


def delete_tenant(tenant: str) -> Work[None]:
    """With all it owns but its messages, which are gone by now; Conflict where one has come in meanwhile."""
    yield from begin_change()
    yield from require_tenant(tenant)
    if (yield from fetch("some_messages", {"tenant": tenant, "limit": 1})):
        raise Conflict(f"tenant {tenant} has new mail: try again")
    yield from execute("delete_credentials", {"tenant": tenant})
    yield from execute("delete_tokens", {"tenant": tenant})
    yield from execute("delete_accounts", {"owner": tenant})
    yield from execute("delete_domain_limits", {"tenant": tenant})
    yield from execute("delete_suspensions", {"tenant": tenant})
    yield from execute("delete_client_side", {"tenant": tenant})
    yield from execute("delete_keys", {"tenant": tenant})
    while (yield from delete_suppressions_of(tenant)):  # those that came in meanwhile
        pass
    yield from execute("delete_tenant", {"tenant": tenant})


def set_default_account(tenant: str, account: str) -> Work[None]:
    """Of a tenant (its own account or the instance's) or of the instance; NotFound where either is missing."""
    yield from begin_change()
    if tenant != INSTANCE:
        yield from require_tenant(tenant)
    if (yield from find_owner(tenant, account)) is None:
        raise NotFound(f"no account {account}")
    yield from _put_default(tenant, account)


def _put_default(tenant: str, account: str) -> Work[None]:
    if tenant == INSTANCE:
        yield from execute("put_setting", {"name": DEFAULT_ACCOUNT, "value": account})
    else:
        yield from execute("set_default_account", {"tenant": tenant, "account": account})


def find_account(tenant: str, account: str | None, cipher: Cipher) -> Work[Account | None]:
    """As Directory.account resolves it."""
    for owner, key in (yield from _candidates(tenant, account)):
        row = yield from fetch_one("account", {"owner": owner, "account": key})
        if row is not None:
            return open_account(row, cipher)
    return None


def _candidates(tenant: str, account: str | None) -> Work[Sequence[tuple[str, str]]]:
    if account is not None:
        return [(tenant, account), (INSTANCE, account)]
    found: list[tuple[str, str]] = []
    if (row := (yield from fetch_one("tenant", {"tenant": tenant}))) and row[2] is not None:
        found += [(tenant, row[2]), (INSTANCE, row[2])]
    if row := (yield from fetch_one("setting", {"name": DEFAULT_ACCOUNT})):
        found.append((INSTANCE, row[0]))
    return found


def open_account(row: Row, cipher: Cipher) -> Account:
    """An account with its password in clear."""
    owner, key, sealed = row[0], row[1], row[7]
    return read_account(row, None if sealed is None else cipher.open(sealed, *_place(owner, key)))


def _place(owner: str, account: str) -> tuple[str, ...]:
    return "accounts", "password", owner, account


def add_account(account: Account, cipher: Cipher, *, default: bool) -> Work[None]:
    """Conflict where the owner has one of this id; NotFound where there is no such owner."""
    version = yield from begin_change()
    if account.tenant != INSTANCE:
        yield from require_tenant(account.tenant)
    sealed = None if account.password is None else cipher.seal(account.password, *_place(account.tenant, account.id))
    if not (yield from execute("insert_account", write_account(account, sealed, version))):
        raise Conflict(f"account {account.id} exists already")
    if default:
        yield from _put_default(account.tenant, account.id)


def change_account(owner: str, account: str, cipher: Cipher, change: Callable[[Account], Account]) -> Work[Account]:
    """The account as it is now; NotFound, and what `change` raises. Connections made before are not used again."""
    version = yield from begin_change()
    row = yield from fetch_one("account", {"owner": owner, "account": account})
    if row is None:
        raise NotFound(f"no account {account}")
    current = open_account(row, cipher)
    changed = change(current)
    if changed == current:
        return current
    sealed = None if changed.password is None else cipher.seal(changed.password, *_place(owner, account))
    yield from execute("update_account", write_account(changed, sealed, version))
    return replace(changed, version=version)


def delete_account(owner: str, account: str) -> Work[None]:
    """Conflict while mail waits for it. Whoever had it as default has none of its own from now on."""
    yield from begin_change()
    if not (yield from execute("delete_account", {"owner": owner, "account": account})):
        raise NotFound(f"no account {account}")
    if (yield from _exists("is_waited_for", {"first": f"{owner}/{account}/", "end": f"{owner}/{account}0"})):
        raise Conflict(f"mail waits for account {account}: cancel or reroute it, or wait until it is sent")
    yield from execute("forget_default_account", {"account": account})
    if owner == INSTANCE:
        yield from execute("delete_setting", {"name": DEFAULT_ACCOUNT, "value": account})
