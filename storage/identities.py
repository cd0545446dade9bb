"""Identities in the store: the works on credentials and tokens, which is what clients present at the doors.

A rotation keeps what was good before good for a while, so that clients can be changed over one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from relay.contracts.directory import NewToken
from relay.errors import Conflict, NotFound
from relay.model.tenant import Credential, Tenant, Token
from storage import configuration
from storage.configuration import begin_change, require_tenant
from storage.configuration_rows import read_credential, read_token, write_credential, write_token
from storage.work import Work, execute, fetch_one

_Identity = TypeVar("_Identity", Credential, Token)


def add_credential(credential: Credential) -> Work[None]:
    """Conflict where the user name is taken; NotFound where there is no such tenant."""
    yield from begin_change()
    yield from require_tenant(credential.tenant)
    if not (yield from execute("insert_credential", write_credential(credential))):
        raise Conflict(f"user name {credential.username} is taken")


def delete_credential(tenant: str | None, username: str) -> Work[None]:
    """NotFound."""
    yield from begin_change()
    if not (yield from execute("delete_credential", {"tenant": tenant, "username": username})):
        raise NotFound(f"no credential {username}")


def add_tenant(tenant: Tenant, first: NewToken | None) -> Work[None]:
    """With its first token, so that there is none that nobody can use; Conflict where an id is taken."""
    yield from configuration.add_tenant(tenant)
    if first is not None:
        yield from add_token(*first)


def add_token(token: Token, secret_hash: str) -> Work[None]:
    """Conflict where the id is taken; NotFound where there is no such tenant."""
    yield from begin_change()
    if token.tenant is not None:
        yield from require_tenant(token.tenant)
    if not (yield from execute("insert_token", {**write_token(token), "secret_hash": secret_hash})):
        raise Conflict(f"token {token.id} exists already")


def delete_token(tenant: str | None, token: str) -> Work[None]:
    """NotFound."""
    yield from begin_change()
    if not (yield from execute("delete_token", {"tenant": tenant, "token": token})):
        raise NotFound(f"no token {token}")


def change_credential(
    tenant: str | None, username: str, change: Callable[[Credential], Credential]
) -> Work[Credential]:
    """The credential as it is now; NotFound, and what `change` raises."""
    yield from begin_change()
    row = yield from fetch_one("credential", {"username": username})
    current = _owned(read_credential(row) if row else None, tenant, f"credential {username}")
    changed = change(current)
    if changed != current:
        yield from execute("update_credential", write_credential(changed))
    return changed


def find_token(secret_hash: str) -> Work[Token | None]:
    """By the hash of its secret; by that of the one before its last rotation it expires with that."""
    if row := (yield from fetch_one("token", {"secret_hash": secret_hash})):
        return read_token(row)
    row = yield from fetch_one("token_by_previous", {"secret_hash": secret_hash})
    if row is None:
        return None
    token, until = read_token(row), int(row[-1])
    return replace(token, expires_at=until if token.expires_at is None else min(until, token.expires_at))


def change_token(tenant: str | None, token: str, change: Callable[[Token], Token]) -> Work[Token]:
    """The token as it is now; NotFound, and what `change` raises."""
    yield from begin_change()
    row = yield from fetch_one("token_by_id", {"token": token})
    current = _owned(read_token(row) if row else None, tenant, f"token {token}")
    changed = change(current)
    if changed != current:
        yield from execute("update_token", write_token(changed))
    return changed


def rotate_token(tenant: str | None, token: str, secret_hash: str, previous_until: int) -> Work[Token]:
    """A new secret; the one before is good until `previous_until` (µs). NotFound."""
    found = yield from change_token(tenant, token, lambda current: current)
    values = {"id": token, "secret_hash": secret_hash, "previous_until": previous_until}
    yield from execute("rotate_token", values)
    return found


def note_uses(used: Mapping[str, int]) -> Work[None]:
    """When tokens were used last. No change of the configuration: caches need not follow."""
    yield from execute("note_token_uses", given=sorted(used.items()))


def _owned(found: _Identity | None, tenant: str | None, named: str) -> _Identity:
    """What was found, if it is the tenant's; NotFound, in the same words as for what is not there. None is an admin."""
    if found is None or tenant not in {None, found.tenant}:
        raise NotFound(f"no {named}")
    return found
