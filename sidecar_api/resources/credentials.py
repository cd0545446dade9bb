"""Credentials: what legacy clients present at the SMTP door."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from aiohttp import web

from relay.errors import Conflict, Invalid, NotFound, Violation
from relay.model.tenant import USERNAME, Credential
from relay.secrets import generate_secret, hash_chosen, hash_generated
from sidecar_api.auth import one_tenant, tenant_or_any
from sidecar_api.call import Call, answer, no_content
from sidecar_api.etags import must_match
from sidecar_api.problems import ProblemError
from sidecar_api.schemas import credentials as shapes
from sidecar_api.schemas.queries import TenantQuery

_HASHERS = ThreadPoolExecutor(max_workers=2, thread_name_prefix="hash")
"""A chosen secret costs a tenth of a second and 16 MiB to hash: off the loop, and no more than two at a time."""


async def list_credentials(call: Call) -> web.Response:
    """GET /v1/credentials."""
    directory = call.services.directory
    found = await directory.credentials(await tenant_or_any(call.caller, call.asked(TenantQuery).tenant, directory))
    return answer(200, shapes.CredentialsOut(items=[shapes.credential_out(one) for one in found], next_cursor=None))


async def add_credential(call: Call) -> web.Response:
    """POST /v1/credentials: without a secret or networks, a secret is made and shown this once."""
    wanted = call.given(shapes.CredentialIn)
    directory = call.services.directory
    tenant = await one_tenant(call.caller, call.asked(TenantQuery).tenant, directory)
    _check_networks(call, wanted.networks)
    await _check_account(call, tenant, wanted.account)
    generated = generate_secret() if wanted.secret is None and not wanted.networks else None
    await directory.add_credential(
        Credential(
            username=wanted.username,
            tenant=tenant,
            secret_hash=await _hash(wanted.secret, generated),
            networks=tuple(wanted.networks),
            account=wanted.account,
            allowed_senders=tuple(wanted.allowed_senders),
            priority=wanted.priority,
            batch=wanted.batch,
            tags=tuple(wanted.tags),
            created_at=call.services.clock.now(),
        )
    )
    return answer(201, shapes.IssuedCredentialOut(username=wanted.username, secret=generated))


async def _check_account(call: Call, tenant: str, account: str | None) -> None:
    if account is not None and await call.services.directory.account(tenant, account) is None:
        raise Invalid(Violation("/account", "there is no such account"))


async def _hash(chosen: str | None, generated: str | None) -> str | None:
    if generated is not None:
        return hash_generated(generated)
    if chosen is None:
        return None
    return await asyncio.get_running_loop().run_in_executor(_HASHERS, hash_chosen, chosen)


async def show_credential(call: Call) -> web.Response:
    """GET /v1/credentials/{username}."""
    return answer(200, shapes.credential_out(await _credential(call)))


async def change_credential(call: Call) -> web.Response:
    """PATCH /v1/credentials/{username}."""
    wanted = call.given(shapes.CredentialPatch)
    if "networks" in wanted.model_fields_set:
        _check_networks(call, wanted.networks)

    def change(credential: Credential) -> Credential:
        must_match(call.request, shapes.credential_out(credential))
        changed = wanted.apply_to(credential)
        if changed.secret_hash is None and not changed.networks:
            raise Invalid(Violation("/networks", "this credential has no secret: it is its networks"))
        return changed

    if wanted.account is not None:
        await _check_account(call, (await _credential(call)).tenant, wanted.account)
    return answer(200, shapes.credential_out(await _change(call, change)))


async def rotate_credential(call: Call) -> web.Response:
    """POST /v1/credentials/{username}/rotate: a new secret, and the old one good for a while."""
    wanted, now = call.given(shapes.SecretRotationIn), call.services.clock.now()
    generated = generate_secret() if wanted.secret is None else None
    secret_hash = await _hash(wanted.secret, generated)

    def change(credential: Credential) -> Credential:
        if credential.secret_hash is None:
            raise Conflict("this credential has no secret: it is its networks")
        before = credential.secret_hash
        return replace(credential, secret_hash=secret_hash, previous_hash=before, previous_until=now + wanted.overlap)

    changed = await _change(call, change)
    return answer(200, shapes.IssuedCredentialOut(username=changed.username, secret=generated))


async def _credential(call: Call) -> Credential:
    directory = call.services.directory
    tenant = await tenant_or_any(call.caller, call.asked(TenantQuery).tenant, directory)
    username = call.named("username", USERNAME)
    found = await directory.credential(username)
    if found is None or tenant not in {None, found.tenant}:
        raise NotFound(f"no credential {username}")
    return found


async def _change(call: Call, change: Callable[[Credential], Credential]) -> Credential:
    directory = call.services.directory
    tenant = await tenant_or_any(call.caller, call.asked(TenantQuery).tenant, directory)
    return await directory.change_credential(tenant, call.named("username", USERNAME), change)


def _check_networks(call: Call, networks: Sequence[object]) -> None:
    """A network lets in whoever is in it, other tenants' clients included: who is where, the operator knows."""
    if networks and not call.caller.is_admin:
        raise ProblemError(403, "admin_only", "only an admin may let a network in without a secret")


async def delete_credential(call: Call) -> web.Response:
    """DELETE /v1/credentials/{username}."""
    directory = call.services.directory
    tenant = await tenant_or_any(call.caller, call.asked(TenantQuery).tenant, directory)
    await directory.delete_credential(tenant, call.named("username", USERNAME))
    return no_content()
