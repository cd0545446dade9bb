"""Tenants: who shares the instance."""

from __future__ import annotations

from aiohttp import web

from relay.contracts.directory import NewToken
from relay.model.tenant import Scope, SuppressOn, Tenant
from relay.secrets import token_hash
from sidecar_api.auth import one_tenant
from sidecar_api.call import Call, answer, no_content
from sidecar_api.etags import must_match
from sidecar_api.resources.tokens import new_token
from sidecar_api.schemas import tenants as shapes
from sidecar_api.schemas.tokens import IssuedTokenOut

FIRST_TOKEN = "first"  # noqa: S105  # a name


async def list_tenants(call: Call) -> web.Response:
    """GET /v1/tenants."""
    tenants = await call.services.directory.tenants()
    return answer(200, shapes.TenantsOut(items=[shapes.tenant_out(one) for one in tenants], next_cursor=None))


async def add_tenant(call: Call) -> web.Response:
    """POST /v1/tenants: with a first token, which may do all in it."""
    wanted = call.given(shapes.TenantIn)
    directory, clock = call.services.directory, call.services.clock
    token, secret = new_token(FIRST_TOKEN, wanted.id, frozenset(Scope), None, clock)
    await directory.add_tenant(
        Tenant(
            wanted.id,
            wanted.name or wanted.id,
            None,
            clock.now(),
            wanted.limits.limits(),
            {domain: limits.limits() for domain, limits in wanted.domain_limits.items()},
            retry=wanted.retry.settings(),
            duplicates_window=wanted.duplicates_window,
            suppress_on=SuppressOn(wanted.suppress_on),
            suppress_for=wanted.suppress_for,
        ),
        NewToken(token, token_hash(secret)),
    )
    return answer(201, IssuedTokenOut(id=wanted.id, token=secret), {"Location": f"/v1/tenants/{wanted.id}"})


async def show_tenant(call: Call) -> web.Response:
    """GET /v1/tenants/{id}."""
    directory = call.services.directory
    tenant = await one_tenant(call.caller, call.named(), directory)
    return answer(200, shapes.tenant_out(await directory.tenant(tenant)))


async def change_tenant(call: Call) -> web.Response:
    """PATCH /v1/tenants/{id}."""
    wanted = call.given(shapes.TenantPatch)

    def change(tenant: Tenant) -> Tenant:
        must_match(call.request, shapes.tenant_out(tenant))
        return wanted.apply_to(tenant)

    return answer(200, shapes.tenant_out(await call.services.directory.change_tenant(call.named(), change)))


async def delete_tenant(call: Call) -> web.Response:
    """DELETE /v1/tenants/{id}."""
    directory = call.services.directory
    must_match(call.request, shapes.tenant_out(await directory.tenant(call.named())))
    await directory.delete_tenant(call.named())
    return no_content()
