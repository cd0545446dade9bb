"""Suppressions: to whom a tenant must not send."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from urllib.parse import quote

import orjson
from aiohttp import web

from relay.errors import Invalid, NotFound, Violation
from relay.model.suppression import Suppression, SuppressionFilter, read_suppressed
from sidecar_api.auth import one_tenant
from sidecar_api.call import ADDRESS, Call, answer, no_content, stream
from sidecar_api.resources.suppression_rows import CSV, JSON_LINES, csv_header, csv_line
from sidecar_api.schemas import suppressions as shapes
from sidecar_api.schemas.queries import SuppressionsExportQuery, SuppressionsFilterQuery, SuppressionsQuery, TenantQuery

EXPORTED_AT_ONCE = 500


async def list_suppressions(call: Call) -> web.Response:
    """GET /v1/suppressions."""
    query = call.asked(SuppressionsQuery)
    wanted = replace(await _wanted(call), after=query.cursor or "", limit=query.limit + 1)
    found = await call.services.suppressions.suppressions(wanted)
    page = found[: query.limit]
    cursor = page[-1].address if len(found) > query.limit else None
    return answer(200, shapes.SuppressionsOut(items=[shapes.suppression_out(one) for one in page], next_cursor=cursor))


async def add_suppression(call: Call) -> web.Response:
    """POST /v1/suppressions: 201, or 200 where the list said something of it already, in place of which this stands now."""
    tenant, now = await _tenant(call), call.services.clock.now()
    entry = call.given(shapes.SuppressionIn).entry(tenant, now)
    if entry.until is not None and entry.until <= now:
        raise Invalid(Violation("/until", "has passed already"))
    is_new = (await call.services.suppressions.put(tenant, [entry])).added == 1
    place = {"Location": f"/v1/suppressions/{quote(entry.address, safe='@')}"} if is_new else None
    shown = entry if is_new else await call.services.suppressions.suppression(tenant, entry.address)
    return answer(201 if is_new else 200, shapes.suppression_out(shown), place)


async def show_suppression(call: Call) -> web.Response:
    """GET /v1/suppressions/{address}."""
    found = await call.services.suppressions.suppression(await _tenant(call), _address(call))
    return answer(200, shapes.suppression_out(found))


async def delete_suppression(call: Call) -> web.Response:
    """DELETE /v1/suppressions/{address}."""
    await call.services.suppressions.remove(await _tenant(call), _address(call))
    return no_content()


async def export_suppressions(call: Call) -> web.StreamResponse:
    """GET /v1/suppressions/export: all that the filter lets through, by address."""
    wanted = replace(await _wanted(call), limit=EXPORTED_AT_ONCE)
    as_csv = call.asked(SuppressionsExportQuery).format == "csv"
    headers = {"Content-Type": CSV if as_csv else JSON_LINES, "Content-Disposition": "attachment"}
    return await stream(call, _lines(call, wanted, as_csv=as_csv), headers)


async def _lines(call: Call, wanted: SuppressionFilter, *, as_csv: bool) -> AsyncIterator[bytes]:
    if as_csv:
        yield csv_header()
    while page := await call.services.suppressions.suppressions(wanted):
        yield b"".join(csv_line(shown) if as_csv else orjson.dumps(shown) + b"\n" for shown in map(_exported, page))
        wanted = replace(wanted, after=page[-1].address)


def _exported(one: Suppression) -> dict[str, object]:
    """As it can be imported again, by any tenant."""
    return {name: value for name, value in shapes.suppression_out(one).items() if name != "tenant"}


async def _tenant(call: Call) -> str:
    return await one_tenant(call.caller, call.asked(TenantQuery).tenant, call.services.directory)


async def _wanted(call: Call) -> SuppressionFilter:
    query = call.asked(SuppressionsFilterQuery)
    tenant = await one_tenant(call.caller, query.tenant, call.services.directory)
    return SuppressionFilter(tenant, query.reason, query.prefix or "")


def _address(call: Call) -> str:
    try:
        return read_suppressed(call.named("address", ADDRESS))
    except ValueError:
        raise NotFound("there is no such thing") from None
