"""The feed of events."""

from __future__ import annotations

from aiohttp import web

from relay.contracts.feed import FeedFilter
from relay.model.message import QueueId
from sidecar_api.auth import tenant_or_any
from sidecar_api.call import Call, answer
from sidecar_api.schemas.events import FeedOut, feed_event_out
from sidecar_api.schemas.queries import EventsQuery


async def list_events(call: Call) -> web.Response:
    """GET /v1/events."""
    query = call.asked(EventsQuery)
    wanted = FeedFilter(
        tenant=await tenant_or_any(call.caller, query.tenant, call.services.directory),
        kind=query.kind,
        message=None if query.message is None else QueueId(query.message),
        after=query.after or 0,
        limit=query.limit,
    )
    page = await call.services.feed.page(wanted)
    items = [feed_event_out(one) for one in page.events]
    return answer(200, FeedOut(items=items, next_cursor=str(page.cursor), more=page.more))
