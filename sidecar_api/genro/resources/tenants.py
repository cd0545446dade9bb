"""Tenants, their key, and their own servers."""

from __future__ import annotations

from aiohttp import web

from relay.contracts.directory import NewToken
from relay.errors import Conflict, Invalid, NotFound, Violation
from relay.model.client_side import NO_CLIENT_SIDE, ClientSide
from relay.model.tenant import Scope, Tenant, Token
from relay.secrets import token_hash
from sidecar_api.auth import existing_tenant
from sidecar_api.call import Call, answer
from sidecar_api.genro.schemas import tenants as shapes
from sidecar_api.genro.schemas.commands import GenroOkOut
from sidecar_api.genro.schemas.queries import GenroTenantsQuery
from sidecar_api.genro.whose import tenant_in_path
from sidecar_api.problems import ProblemError
from sidecar_api.resources.tokens import new_token

KEY = "api-key"
"""The name of the token that is a tenant's key."""


async def put_tenant(call: Call) -> web.Response:
    """POST /tenant: a new one gets a key."""
    wanted = call.given(shapes.GenroTenantIn)
    directory = call.services.directory
    new = wanted.tenant_applied_to(Tenant(wanted.id, wanted.id, None, call.services.clock.now()))
    token, secret = _new_key(call, wanted.id)
    try:
        await directory.add_tenant(new, NewToken(token, token_hash(secret)))
    except Conflict:
        await _change(call, wanted.id, wanted)
        return answer(200, shapes.GenroTenantKeyOut(ok=True))
    await call.services.client_sides.change_client_side(wanted.id, wanted.side_applied_to)
    return answer(200, shapes.GenroTenantKeyOut(ok=True, api_key=secret))


async def _change(call: Call, tenant: str, wanted: shapes.GenroTenantIn | shapes.GenroTenantChange) -> None:
    by_tenant = not call.caller.is_admin

    def change(side: ClientSide) -> ClientSide:
        changed = wanted.side_applied_to(side)
        said_again = "client_auth" in wanted.model_fields_set
        if by_tenant and changed.base_url != side.base_url and side.secret is not None and not said_again:
            raise Invalid(
                Violation("/client_auth", "give it again: a secret goes nowhere else than where it was meant for")
            )
        return changed

    await call.services.client_sides.change_client_side(tenant, change)
    await call.services.directory.change_tenant(tenant, wanted.tenant_applied_to)


async def list_tenants(call: Call) -> web.Response:
    """GET /tenants."""
    only_active = call.asked(GenroTenantsQuery).active_only
    found = [shapes.tenant_out(tenant, side) for tenant, side in await _all(call)]
    tenants = [one for one in found if one["active"] or not only_active]
    return answer(200, shapes.GenroTenantsOut(ok=True, tenants=tenants))


async def _all(call: Call) -> list[tuple[Tenant, ClientSide]]:
    directory, found = call.services.directory, list[tuple[Tenant, ClientSide]]()
    sides = await call.services.client_sides.client_sides()
    for one in await directory.tenants():
        try:
            found.append((await directory.tenant(one.id), sides.get(one.id, NO_CLIENT_SIDE)))
        except NotFound:  # deleted meanwhile
            continue
    return found


async def show_sync_status(call: Call) -> web.Response:
    """GET /tenants/sync-status."""
    found = [shapes.sync_out(tenant, side) for tenant, side in await _all(call)]
    out = shapes.GenroSyncsOut(ok=True, sync_interval_seconds=shapes.SYNC_INTERVAL, tenants=found)
    return answer(200, out)


async def show_tenant(call: Call) -> web.Response:
    """GET /tenant/{id}."""
    tenant = await call.services.directory.tenant(await tenant_in_path(call))
    return answer(200, shapes.tenant_out(tenant, await call.services.client_sides.client_side(tenant.id)))


async def change_tenant(call: Call) -> web.Response:
    """PUT /tenant/{id}: a tenant changes what is on its own side, its limits are an admin's to say."""
    wanted = call.given(shapes.GenroTenantChange)
    tenant = await tenant_in_path(call)
    if "rate_limits" in wanted.model_fields_set and not call.caller.is_admin:
        raise ProblemError(403, "admin_only", "rate_limits are an admin's to change")
    await _change(call, tenant, wanted)
    return answer(200, GenroOkOut(ok=True))


async def delete_tenant(call: Call) -> web.Response:
    """DELETE /tenant/{id}: with all it owns, but not while mail of it is open."""
    await call.services.directory.delete_tenant(await tenant_in_path(call))
    return answer(200, GenroOkOut(ok=True))


async def make_key(call: Call) -> web.Response:
    """POST /tenant/{id}/api-key: the key before is good no longer."""
    tenant = await existing_tenant(call.named(), call.services.directory)
    return answer(200, shapes.GenroKeyOut(ok=True, api_key=await _make_key(call, tenant)))


async def revoke_key(call: Call) -> web.Response:
    """DELETE /tenant/{id}/api-key."""
    await _revoke_keys(call, await existing_tenant(call.named(), call.services.directory))
    return answer(200, GenroOkOut(ok=True))


def _new_key(call: Call, tenant: str) -> tuple[Token, str]:
    return new_token(KEY, tenant, frozenset(Scope), None, call.services.clock)


async def _make_key(call: Call, tenant: str) -> str:
    token, secret = _new_key(call, tenant)
    await _revoke_keys(call, tenant)
    await call.services.directory.add_token(token, token_hash(secret))
    return secret


async def _revoke_keys(call: Call, tenant: str) -> None:
    """Those that were made here; the tenant's other tokens stay."""
    directory = call.services.directory
    for token in await directory.tokens(tenant):
        if token.name == KEY:
            try:
                await directory.revoke_token(tenant, token.id)
            except NotFound:  # somebody else has
                continue
