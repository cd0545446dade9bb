"""The command log: who did what by this API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import orjson
from aiohttp import web

from relay.contracts.commands import CommandFilter
from sidecar_api.auth import tenant_or_any
from sidecar_api.call import Call, answer, stream
from sidecar_api.schemas.commands import CommandsOut, RemovedOut, command_out
from sidecar_api.schemas.queries import CommandsQuery, PurgeQuery

NDJSON = "application/x-ndjson"
EXPORTED_AT_ONCE = 500


async def list_commands(call: Call) -> web.Response:
    """GET /v1/commands."""
    query = call.asked(CommandsQuery)
    wanted = await _wanted(call)
    found = await call.services.commands.commands(replace(wanted, limit=query.limit + 1))
    page = found[: query.limit]
    cursor = str(page[-1].sequence) if len(found) > query.limit else None
    return answer(200, CommandsOut(items=[command_out(one) for one in page], next_cursor=cursor))


async def _wanted(call: Call) -> CommandFilter:
    query = call.asked(CommandsQuery)
    tenant = await tenant_or_any(call.caller, query.tenant, call.services.directory)
    return CommandFilter(tenant, query.operation, query.since, query.until, query.cursor, actor=query.actor)


async def export_commands(call: Call) -> web.StreamResponse:
    """GET /v1/commands/export: all that the filter lets through, newest first, a JSON object a line."""
    wanted = replace(await _wanted(call), limit=EXPORTED_AT_ONCE)
    return await stream(call, _lines(call, wanted), {"Content-Type": NDJSON, "Content-Disposition": "attachment"})


async def _lines(call: Call, wanted: CommandFilter) -> AsyncIterator[bytes]:
    while page := await call.services.commands.commands(wanted):
        yield b"".join(orjson.dumps(command_out(one)) + b"\n" for one in page)
        wanted = replace(wanted, before=page[-1].sequence)


async def purge_commands(call: Call) -> web.Response:
    """DELETE /v1/commands: what was done before a time is forgotten; that this was done is not."""
    removed = await call.services.commands.remove_before(call.asked(PurgeQuery).before)
    return answer(200, RemovedOut(removed=removed))
