"""Messages that were accepted: list, show, their events, attempts and content; take back, try again."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aiohttp import web

from relay.contracts.archive import MessageFilter
from relay.model.act import Act
from relay.model.message import QueueId
from sidecar_api.auth import one_tenant, tenant_or_any
from sidecar_api.call import Call, answer, no_content, stream
from sidecar_api.schemas import views
from sidecar_api.schemas.acts import BulkIn, RerouteIn
from sidecar_api.schemas.attempts import AttemptsOut, attempt_out
from sidecar_api.schemas.events import EventsOut, event_out
from sidecar_api.schemas.explain import explain_out
from sidecar_api.schemas.queries import MessagesQuery, TenantQuery


async def list_messages(call: Call) -> web.Response:
    """GET /v1/messages."""
    query = call.asked(MessagesQuery)
    wanted = MessageFilter(
        tenant=await tenant_or_any(call.caller, query.tenant, call.services.directory),
        states=frozenset(query.state),
        batch=query.batch,
        client_id=query.client_id,
        account=query.account,
        recipient=query.recipient,
        since=query.since,
        until=query.until,
        tags=tuple(query.tag),
        priority=query.priority,
        suspended=query.suspended,
        before=None if query.cursor is None else QueueId(query.cursor),
        limit=query.limit + 1,
    )
    found = await call.services.archive.list_messages(wanted)
    page = found[: query.limit]
    cursor = page[-1].message.id if len(found) > query.limit else None
    return answer(200, views.MessagesOut(items=[views.message_out(one) for one in page], next_cursor=cursor))


async def _which(call: Call) -> tuple[str | None, QueueId]:
    tenant = await tenant_or_any(call.caller, call.asked(TenantQuery).tenant, call.services.directory)
    return tenant, QueueId(call.named())


async def show_message(call: Call) -> web.Response:
    """GET /v1/messages/{id}."""
    tenant, message = await _which(call)
    return answer(200, views.message_out(await call.services.archive.message(tenant, message)))


async def show_events(call: Call) -> web.Response:
    """GET /v1/messages/{id}/events."""
    tenant, message = await _which(call)
    events = await call.services.archive.events(tenant, message)
    return answer(200, EventsOut(items=[event_out(one) for one in events], next_cursor=None))


async def show_attempts(call: Call) -> web.Response:
    """GET /v1/messages/{id}/attempts."""
    tenant, message = await _which(call)
    attempts = await call.services.archive.attempts(tenant, message)
    return answer(200, AttemptsOut(items=[attempt_out(one) for one in attempts], next_cursor=None))


async def explain_message(call: Call) -> web.Response:
    """GET /v1/messages/{id}/explain."""
    tenant, message = await _which(call)
    detail = await call.services.archive.message(tenant, message)
    explained = await call.services.explainer.explain(tenant, message)
    attempts = await call.services.archive.attempts(tenant, message)
    return answer(200, explain_out(detail, explained, attempts))


async def show_content(call: Call) -> web.StreamResponse:
    """GET /v1/messages/{id}/content, streamed."""
    tenant, message = await _which(call)
    detail = await call.services.archive.message(tenant, message)
    pieces = aiter(call.services.contents.read(message))
    first = await anext(pieces, b"")  # NotFound is said before the answer begins
    headers = {
        "Content-Type": "message/rfc822",
        "Content-Disposition": f'attachment; filename="{message}.eml"',
        "Content-Length": str(detail.message.size),
    }
    return await stream(call, with_first(first, pieces), headers)


async def with_first(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """What was taken from the front, so that its faults are told in the answer's status, and what is left."""
    yield first
    async for piece in rest:
        yield piece


async def hold_message(call: Call) -> web.Response:
    """POST /v1/messages/{id}/hold."""
    return await _act(call, Act.HOLD)


async def release_message(call: Call) -> web.Response:
    """POST /v1/messages/{id}/release."""
    return await _act(call, Act.RELEASE)


async def cancel_message(call: Call) -> web.Response:
    """POST /v1/messages/{id}/cancel."""
    return await _act(call, Act.CANCEL)


async def retry_message(call: Call) -> web.Response:
    """POST /v1/messages/{id}/retry."""
    return await _act(call, Act.RETRY)


async def reroute_message(call: Call) -> web.Response:
    """POST /v1/messages/{id}/reroute."""
    return await _act(call, Act.REROUTE, call.given(RerouteIn).account)


async def _act(call: Call, act: Act, account: str | None = None) -> web.Response:
    tenant, message = await _which(call)
    acted = await call.services.archive.act(tenant, message, act, call.services.clock.now(), account=account)
    return answer(200, views.acted_out(acted))


async def delete_message(call: Call) -> web.Response:
    """DELETE /v1/messages/{id}."""
    tenant, message = await _which(call)
    await call.services.archive.act(tenant, message, Act.DELETE, call.services.clock.now())
    return no_content()


async def act_on_messages(call: Call) -> web.Response:
    """POST /v1/messages/bulk."""
    wanted = call.given(BulkIn)
    tenant = await one_tenant(call.caller, call.asked(TenantQuery).tenant, call.services.directory)
    acted = await call.services.archive.act_on_all(
        wanted.filter.wanted(tenant, wanted.cursor, wanted.limit),
        Act(wanted.action),
        call.services.clock.now(),
        account=wanted.account,
        dry_run=wanted.dry_run,
    )
    return answer(200, views.bulk_out(acted))
