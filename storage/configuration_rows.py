"""Rows of the configuration: what tenants, accounts, credentials, tokens and suppressions look like in SQL, both ways."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from ipaddress import ip_network

import orjson

from relay.model.limit import Limits, LimitUnit, OnLimit
from relay.model.message import Priority
from relay.model.suppression import Suppression, SuppressionReason
from relay.model.tenant import (
    Account,
    AccountKind,
    Credential,
    OnUnknown,
    RetrySettings,
    Scope,
    SuppressOn,
    Tenant,
    TlsMode,
    Token,
)
from storage.rows import write_json
from storage.work import Row


def read_limits(row: Row, first: int) -> Limits:
    """per_minute, per_hour, per_day, limit_unit and on_limit, from column `first` on."""
    minute, hour, day, unit, on_limit = row[first : first + 5]
    return Limits(minute, hour, day, LimitUnit(unit), OnLimit(on_limit))


def write_limits(limits: Limits) -> dict[str, object]:
    """Their values by name."""
    return {
        "per_minute": limits.per_minute,
        "per_hour": limits.per_hour,
        "per_day": limits.per_day,
        "limit_unit": limits.unit.value,
        "on_limit": limits.on_limit.value,
    }


def read_tenant(
    row: Row, domain_limits: Iterable[Row] = (), suspensions: Iterable[Row] = (), *, suppresses: bool = False
) -> Tenant:
    """{tenant_columns}, with the rows of domain_limits and suspensions, and whether it has suppressions."""
    key, name, default_account, created_at = row[:4]
    return Tenant(
        key,
        name,
        default_account,
        created_at,
        read_limits(row, 4),
        {each[0]: read_limits(each, 1) for each in domain_limits},
        {batch: bool(suspended) for batch, suspended in suspensions},
        read_retry(row[9]),
        row[10],
        SuppressOn(row[11]),
        row[12],
        suppresses,
    )


def write_tenant(tenant: Tenant) -> dict[str, object]:
    """The values of insert_tenant."""
    return {
        "id": tenant.id,
        "name": tenant.name,
        "default_account": tenant.default_account,
        "created_at": tenant.created_at,
        **write_limits(tenant.limits),
        "retry": write_retry(tenant.retry),
        "duplicates_window": tenant.duplicates_window,
        "suppress_on": tenant.suppress_on.value,
        "suppress_for": tenant.suppress_for,
    }


def write_domain_limits(tenant: Tenant) -> list[tuple[object, ...]]:
    """`rows:` of insert_domain_limits."""
    return [
        (tenant.id, domain, *write_limits(limits).values()) for domain, limits in sorted(tenant.domain_limits.items())
    ]


def write_suppression(one: Suppression) -> tuple[object, ...]:
    """`rows:` of put_suppressions."""
    return one.tenant, one.address, one.reason.value, one.since, one.until, one.note, one.message


def read_suppression(row: Row) -> Suppression:
    """{suppression_columns}."""
    tenant, address, reason, *facts = row
    return Suppression(tenant, address, SuppressionReason(reason), *facts)


def write_retry(retry: RetrySettings) -> str | None:
    """What differs from the level above."""
    given = {name: value for name, value in asdict(retry).items() if value is not None}
    return write_json(given) if given else None


def read_retry(text: str | None) -> RetrySettings:
    """The same back."""
    given = orjson.loads(text) if text else {}
    schedule = given.pop("schedule", None)
    return RetrySettings(None if schedule is None else tuple(schedule), **given)


def write_account(account: Account, password: str | None, version: int) -> dict[str, object]:
    """The values of insert_account; `password` as ciphertext."""
    return {
        "tenant_id": account.tenant,
        "id": account.id,
        "kind": account.kind.value,
        "host": account.host,
        "port": account.port,
        "tls": account.tls.value,
        "login": account.user,
        "password": password,
        "max_connections": account.max_connections,
        "max_messages_per_connection": account.max_messages_per_connection,
        **write_limits(account.limits),
        "batch_size": account.batch_size,
        "enabled": int(account.enabled),
        "on_unknown": account.on_unknown.value,
        "guarded": int(account.guarded),
        "version": version,
        "created_at": account.created_at,
        "retry": write_retry(account.retry),
    }


def read_account(row: Row, password: str | None) -> Account:
    """{account_columns}; `password` in clear, in place of the ciphertext in column 7."""
    tenant, key, kind, host, port, tls, login, _, connections, messages = row[:10]
    batch_size, unknown, guarded, version, created_at, retry, enabled = row[15:]
    return Account(
        tenant,
        key,
        AccountKind(kind),
        host,
        port,
        TlsMode(tls),
        login,
        password,
        connections,
        messages,
        read_limits(row, 10),
        batch_size,
        OnUnknown(unknown),
        bool(guarded),
        version,
        created_at,
        read_retry(retry),
        bool(enabled),
    )


def write_credential(credential: Credential) -> dict[str, object]:
    """The values of insert_credential."""
    return {
        "username": credential.username,
        "tenant_id": credential.tenant,
        "secret_hash": credential.secret_hash,
        "networks": write_json([str(network) for network in credential.networks]),
        "account_id": credential.account,
        "allowed_senders": write_json(credential.allowed_senders),
        "priority": None if credential.priority is None else int(credential.priority),
        "batch": credential.batch,
        "tags": write_json(credential.tags),
        "created_at": credential.created_at,
        "previous_hash": credential.previous_hash,
        "previous_until": credential.previous_until,
    }


def read_credential(row: Row) -> Credential:
    """{credential_columns}."""
    username, tenant, secret_hash, networks, account, senders, priority, batch, tags, created_at, *previous = row
    return Credential(
        username,
        tenant,
        secret_hash,
        tuple(ip_network(network) for network in orjson.loads(networks)),
        account,
        tuple(orjson.loads(senders)),
        None if priority is None else Priority(priority),
        batch,
        tuple(orjson.loads(tags)),
        created_at,
        *previous,
    )


def write_token(token: Token) -> dict[str, object]:
    """The values of insert_token and update_token but for the secret's hash."""
    return {
        "id": token.id,
        "name": token.name,
        "tenant_id": token.tenant,
        "scopes": write_json(sorted(token.scopes)),
        "expires_at": token.expires_at,
        "created_at": token.created_at,
        "networks": write_json([str(network) for network in token.networks]),
    }


def read_token(row: Row) -> Token:
    """{token_columns}."""
    key, name, tenant, scopes, expires_at, created_at, networks, last_used_at = row[:8]
    return Token(
        key,
        name,
        tenant,
        frozenset(Scope(scope) for scope in orjson.loads(scopes)),
        expires_at,
        created_at,
        tuple(ip_network(network) for network in orjson.loads(networks)),
        last_used_at,
    )
