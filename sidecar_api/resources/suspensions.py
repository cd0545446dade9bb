"""Stopping and resuming a tenant's mail, or a batch of it; and the batches there are."""

from __future__ import annotations

from aiohttp import web

from relay.errors import NotFound
from relay.intake.controls import BATCH
from sidecar_api.auth import one_tenant
from sidecar_api.call import Call, answer
from sidecar_api.schemas import suspensions as shapes
from sidecar_api.schemas.queries import BatchesQuery, ResumeQuery, TenantQuery


async def suspend_tenant(call: Call) -> web.Response:
    """POST /v1/tenants/{id}/suspend."""
    tenant = await _tenant(call)
    pending = await call.services.suspensions.suspend(tenant, None, call.services.clock.now())
    return await _answer(call, tenant, None, pending)


async def resume_tenant(call: Call) -> web.Response:
    """POST /v1/tenants/{id}/resume."""
    tenant, everything = await _tenant(call), call.asked(ResumeQuery).all
    suspensions = call.services.suspensions
    pending = await suspensions.resume(tenant, None, call.services.clock.now(), everything=everything)
    return await _answer(call, tenant, None, pending)


async def _tenant(call: Call) -> str:
    return await one_tenant(call.caller, call.named(), call.services.directory)


async def list_batches(call: Call) -> web.Response:
    """GET /v1/batches."""
    query = call.asked(BatchesQuery)
    tenant = await one_tenant(call.caller, query.tenant, call.services.directory)
    found = await call.services.suspensions.batches(tenant, query.cursor or "", query.limit + 1)
    page = found[: query.limit]
    cursor = page[-1].batch if len(found) > query.limit else None
    return answer(200, shapes.BatchesOut(items=[shapes.batch_standing_out(one) for one in page], next_cursor=cursor))


async def suspend_batch(call: Call) -> web.Response:
    """POST /v1/batches/{batch}/suspend."""
    tenant, batch = await _batch(call)
    pending = await call.services.suspensions.suspend(tenant, batch, call.services.clock.now())
    return await _answer(call, tenant, batch, pending)


async def resume_batch(call: Call) -> web.Response:
    """POST /v1/batches/{batch}/resume."""
    tenant, batch = await _batch(call)
    pending = await call.services.suspensions.resume(tenant, batch, call.services.clock.now())
    return await _answer(call, tenant, batch, pending)


async def _batch(call: Call) -> tuple[str, str]:
    tenant = await one_tenant(call.caller, call.asked(TenantQuery).tenant, call.services.directory)
    return tenant, call.named("batch", BATCH)


async def _answer(call: Call, tenant: str, batch: str | None, pending: int) -> web.Response:
    """As it stands now: another client may have had a say as well."""
    try:
        suspended = (await call.services.directory.tenant(tenant)).suspends(batch)
    except NotFound:  # deleted since
        suspended = False
    return answer(200, shapes.SuspensionOut(tenant=tenant, batch=batch, suspended=suspended, pending=pending))
