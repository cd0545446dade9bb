"""Rows: what the model looks like in SQL, both ways. Each tuple has the order of a fragment or `rows:` line in sql/."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from ipaddress import ip_network
from typing import Any

import orjson

from relay.model.address import Address
from relay.model.delivery import AccountFault, Attempt, Category, NewMessage, Phase, RecipientOutcome, Verdict
from relay.model.event import Event, EventKind
from relay.model.limit import Limits, LimitUnit, OnLimit
from relay.model.message import Message, MessageState, Priority, QueueId, Recipient, RecipientState, Source
from relay.model.reply import Reply
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
from storage.work import Row

NO_MESSAGE = ""
"""Stands for the message in events of accounts, which so have their place in the one sequence of all events."""
_PRIORITIES = tuple(Priority)
_MESSAGE_STATES = {state.value: state for state in MessageState}
_RECIPIENT_STATES = {state.value: state for state in RecipientState}
_SOURCES = {source.value: source for source in Source}


def write_json(value: object) -> str:
    """JSON as text."""
    return orjson.dumps(value).decode()


def write_message(message: Message) -> tuple[object, ...]:
    """`rows:` of insert_messages."""
    return (
        message.id,
        message.tenant,
        message.sender,
        int(message.priority),
        message.accepted_at,
        message.size,
        message.message_id,
        message.source.value,
        message.account,
        message.client_id,
        message.batch,
        message.not_before,
        message.expires_at,
        write_json(message.tags) if message.tags else None,
        message.metadata,
        int(message.eight_bit),
        int(message.smtputf8),
        message.state.value,
    )


def read_message(row: Row, first: int = 0) -> Message:
    """{message_columns}, from column `first` on."""
    (
        key,
        tenant,
        sender,
        priority,
        accepted_at,
        size,
        message_id,
        source,
        account,
        client_id,
        batch,
        not_before,
        expires_at,
        tags,
        metadata,
        eight_bit,
        smtputf8,
        state,
    ) = row[first:] if first else row
    return Message(
        key,
        tenant,
        sender,
        _PRIORITIES[priority],
        accepted_at,
        size,
        message_id,
        _SOURCES[source],
        account,
        client_id,
        batch,
        not_before,
        expires_at,
        tuple(orjson.loads(tags)) if tags else (),
        metadata,
        bool(eight_bit),
        bool(smtputf8),
        _MESSAGE_STATES[state],
    )


def write_content(new: NewMessage) -> tuple[str, int, bytes | None]:
    """`rows:` of insert_contents."""
    if isinstance(new.content, bytes):
        return new.message.id, len(new.content), new.content
    return new.message.id, new.content.size, None


def read_recipient(row: Row, first: int, next_attempt_at: int | None = None) -> Recipient:
    """{recipient_columns}, from column `first` on."""
    position, address, state, code, enhanced, text, category, attempts, changed_at = row[first:]
    reply = None if code is None else Reply(code, enhanced, text)
    return Recipient(
        position, Address(address), _RECIPIENT_STATES[state], reply, category, attempts, next_attempt_at, changed_at
    )


def write_reply(reply: Reply | None) -> tuple[int | None, str | None, str | None]:
    """Code, enhanced code, text."""
    return (None, None, None) if reply is None else (reply.code, reply.enhanced, reply.text)


def write_event(event: Event) -> tuple[object, ...]:
    """`rows:` of insert_events."""
    facts = write_json(event.facts) if event.facts else None
    return event.tenant, event.message or NO_MESSAGE, event.recipient, event.kind.value, event.at, facts


def read_event(row: Row) -> Event:
    """A row of events_of."""
    sequence, kind, at, tenant, message, recipient, facts = row
    known: Mapping[str, Any] = orjson.loads(facts) if facts else {}
    return Event(EventKind(kind), at, tenant, QueueId(message) if message else None, recipient, known, sequence)


def write_attempt(message: str, delivery: int, number: int, holder: str, attempt: Attempt) -> tuple[object, ...]:
    """`rows:` of insert_attempts."""
    fault = attempt.fault
    return (
        message,
        delivery,
        number,
        holder,
        attempt.started_at,
        attempt.finished_at,
        attempt.next_hop,
        attempt.peer,
        attempt.tls,
        int(attempt.reused),
        None if fault is None else write_json([fault.category, fault.phase, write_reply(fault.reply), fault.detail]),
        write_json([[o.position, o.verdict, write_reply(o.reply), o.category, o.phase] for o in attempt.outcomes]),
        "\n".join(attempt.transcript) or None,
    )


def read_attempt(row: Row) -> Attempt:
    """A row of attempts_of."""
    outcomes, started_at, finished_at, next_hop, peer, tls, reused, fault, transcript = row
    return Attempt(
        tuple(
            RecipientOutcome(position, Verdict(verdict), _read_reply(reply), Category(category), Phase(phase))
            for position, verdict, reply, category, phase in orjson.loads(outcomes)
        ),
        started_at,
        finished_at,
        next_hop,
        peer,
        tls,
        bool(reused),
        _read_fault(fault),
        tuple(transcript.split("\n")) if transcript else (),
    )


def _read_reply(parts: Iterable[Any]) -> Reply | None:
    code, enhanced, text = parts
    return None if code is None else Reply(code, enhanced, text)


def _read_fault(text: str | None) -> AccountFault | None:
    if text is None:
        return None
    category, phase, reply, detail = orjson.loads(text)
    return AccountFault(Category(category), Phase(phase), _read_reply(reply), detail)


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
