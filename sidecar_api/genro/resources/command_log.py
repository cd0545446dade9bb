"""The command log: who did what."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import orjson
from aiohttp import web

from relay.contracts.commands import CommandFilter
from relay.model.command import Command
from sidecar_api.auth import existing_tenant
from sidecar_api.call import Call, answer
from sidecar_api.genro.resources.queue import stream_list
from sidecar_api.genro.schemas import command_log as shapes
from sidecar_api.genro.schemas.queries import GenroCommandsQuery, GenroExportQuery

AT_ONCE = 500


async def list_commands(call: Call) -> web.Response:
    """GET /command-log."""
    query = call.asked(GenroCommandsQuery)
    found: list[shapes.GenroCommandOut] = []
    async for command in _commands(call, await _wanted(call, query)):
        if query.endpoint_filter is None or query.endpoint_filter in shapes.endpoint_of(command):
            found.append(shapes.command_out(command))
        if len(found) == query.limit:
            break
    return answer(200, shapes.GenroCommandsOut(ok=True, commands=found, total=len(found)))


async def export_commands(call: Call) -> web.StreamResponse:
    """GET /command-log/export: all of them, streamed."""
    wanted = await _wanted(call, call.asked(GenroExportQuery))
    return await stream_list(call, b"commands", _replays(call, wanted))


async def _wanted(call: Call, query: GenroExportQuery) -> CommandFilter:
    tenant = query.tenant_id
    if tenant is not None:
        tenant = await existing_tenant(tenant, call.services.directory)
    return CommandFilter(tenant, None, query.since_ts, query.until_ts, None, AT_ONCE)


async def _commands(call: Call, wanted: CommandFilter) -> AsyncIterator[Command]:
    while page := await call.services.commands.commands(wanted):
        for command in page:
            yield command
        wanted = replace(wanted, before=page[-1].sequence)


async def _replays(call: Call, wanted: CommandFilter) -> AsyncIterator[bytes]:
    async for command in _commands(call, wanted):
        yield orjson.dumps(shapes.replay_out(command))
