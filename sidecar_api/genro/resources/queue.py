"""The commands on the queue, and its listing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import orjson
from aiohttp import web

from relay.clock import SECOND
from relay.contracts.archive import MessageFilter
from relay.errors import Conflict, NotFound
from relay.model.act import Act
from relay.model.event import Event
from relay.model.message import CLOSED_STATES, MessageDetail, MessageState, QueueId
from relay.model.tenant import IDENTIFIER
from sidecar_api.call import Call, answer, stream
from sidecar_api.genro.schemas import commands as shapes
from sidecar_api.genro.schemas.listing import event_out, is_told_by_events, message_out
from sidecar_api.genro.schemas.queries import GenroBatchQuery, GenroMessagesQuery, GenroTenantQuery
from sidecar_api.genro.whose import tenant_of
from sidecar_api.problems import ProblemError
from sidecar_api.resources.messages import with_first

AT_ONCE = 100
"""Messages that are read at a time."""
_OPEN = frozenset(MessageState) - CLOSED_STATES


async def list_messages(call: Call) -> web.StreamResponse:
    """GET /messages: all of a tenant, streamed."""
    query = call.asked(GenroMessagesQuery)
    tenant = await tenant_of(call, query.tenant_id)
    name = (await call.services.directory.tenant(tenant)).name
    wanted = MessageFilter(tenant=tenant, states=_OPEN if query.active_only else frozenset(), limit=AT_ONCE)
    records = _records(call, wanted, name, with_history=query.include_history)
    return await stream_list(call, b"messages", records)


async def stream_list(call: Call, name: bytes, records: AsyncIterator[bytes]) -> web.StreamResponse:
    """`{"ok": true, name: […]}`, piece by piece; each of `records` is one of JSON."""
    pieces = _listed(name, records)
    first = await anext(pieces)
    return await stream(call, with_first(first, pieces), {"Content-Type": "application/json"})


async def _listed(name: bytes, records: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    lead = b'{"ok":true,"' + name + b'":['
    async for record in records:
        yield lead + record
        lead = b","
    yield (lead if lead != b"," else b"") + b"]}"


async def pages(call: Call, wanted: MessageFilter) -> AsyncIterator[Sequence[MessageDetail]]:
    """All that a filter finds, newest first."""
    while page := await call.services.archive.list_messages(wanted):
        yield page
        if len(page) < wanted.limit:
            return
        wanted = replace(wanted, before=page[-1].message.id)


async def _records(call: Call, wanted: MessageFilter, name: str, *, with_history: bool) -> AsyncIterator[bytes]:
    async for page in pages(call, wanted):
        for detail in page:
            events = await _events(call, detail) if with_history or is_told_by_events(detail) else ()
            record = message_out(detail, name, events)
            if with_history:
                record["history"] = [event_out(event) for event in events]
            yield orjson.dumps(record)


async def _events(call: Call, detail: MessageDetail) -> Sequence[Event]:
    try:
        return await call.services.archive.events(detail.message.tenant, detail.message.id)
    except NotFound:  # deleted since its page was read
        return ()


async def delete_messages(call: Call) -> web.Response:
    """POST /commands/delete-messages: what waits is taken back first; what is being attempted cannot be."""
    tenant = await tenant_of(call, call.asked(GenroTenantQuery).tenant_id)
    removed, unknown, under_way = 0, list[str](), list[str]()
    for one in dict.fromkeys(call.given(shapes.GenroDeleteIn).ids):
        found = await _find(call, tenant, one)
        if found is None:
            unknown.append(one)
        elif await _remove(call, tenant, found):
            removed += 1
        else:
            under_way.append(one)
    out = shapes.GenroDeletedOut(ok=True, removed=removed, not_found=[], unauthorized=unknown, under_way=under_way)
    return answer(200, out)


async def _find(call: Call, tenant: str, key: str) -> MessageDetail | None:
    """By the client's id, else by ours."""
    archive = call.services.archive
    if found := await archive.list_messages(MessageFilter(tenant=tenant, client_id=key, limit=1)):
        return found[0]
    if not IDENTIFIER.fullmatch(key):
        return None
    try:
        return await archive.message(tenant, QueueId(key))
    except NotFound:
        return None


async def _remove(call: Call, tenant: str, found: MessageDetail) -> bool:
    """Whether it is gone."""
    archive, now, message = call.services.archive, call.services.clock.now(), found.message.id
    try:
        if found.message.state not in CLOSED_STATES:
            await archive.act(tenant, message, Act.CANCEL, now)
        await archive.act(tenant, message, Act.DELETE, now)
    except Conflict:
        return False
    except NotFound:  # somebody else has removed it
        return True
    return True


async def cleanup_messages(call: Call) -> web.Response:
    """POST /commands/cleanup-messages: those that have been closed for long."""
    tenant = await tenant_of(call, call.asked(GenroTenantQuery).tenant_id)
    given = call.given(shapes.GenroCleanupIn).older_than_seconds
    horizon = call.services.clock.now() - max(shapes.WEEK if given is None else given, 0) * SECOND
    removed = 0
    # What was accepted later cannot have been closed before.
    wanted = MessageFilter(tenant=tenant, states=CLOSED_STATES, until=horizon + 1, limit=AT_ONCE)
    async for page in pages(call, wanted):
        for detail in page:
            if _closed_at(detail) <= horizon:
                removed += await _remove(call, tenant, detail)
    return answer(200, shapes.GenroRemovedOut(ok=True, removed=removed))


def _closed_at(detail: MessageDetail) -> int:
    changes = [one.changed_at for one in detail.recipients if one.changed_at is not None]
    return max(changes, default=detail.message.accepted_at)


async def run_now(_: Call) -> web.Response:
    """POST /commands/run-now: whatever is due is on its way already, since nothing here waits for a look at the clock."""
    return answer(200, shapes.GenroOkOut(ok=True))


async def suspend(call: Call) -> web.Response:
    """POST /commands/suspend."""
    tenant, batch = await _batch(call)
    pending = await call.services.suspensions.suspend(tenant, batch, call.services.clock.now())
    return await _suspension(call, tenant, batch, pending)


async def activate(call: Call) -> web.Response:
    """POST /commands/activate: everything, or a batch, which cannot go while everything stands still."""
    tenant, batch = await _batch(call)
    if batch is not None and (await call.services.directory.tenant(tenant)).suspends(None):
        raise ProblemError(
            400, "all_suspended", "all batches are suspended: activate them all first, without batch_code"
        )
    pending = await call.services.suspensions.resume(tenant, batch, call.services.clock.now(), everything=batch is None)
    return await _suspension(call, tenant, batch, pending)


async def _batch(call: Call) -> tuple[str, str | None]:
    query = call.asked(GenroBatchQuery)
    try:
        return await tenant_of(call, query.tenant_id), query.batch_code
    except NotFound as fault:
        raise ProblemError(400, "no_tenant", str(fault)) from None


async def _suspension(call: Call, tenant: str, batch: str | None, pending: int) -> web.Response:
    now = await call.services.directory.tenant(tenant)
    out = shapes.GenroSuspensionOut(
        ok=True,
        tenant_id=tenant,
        batch_code=batch,
        suspended_batches=shapes.suspended_batches(now),
        pending_messages=pending,
    )
    return answer(200, out)
