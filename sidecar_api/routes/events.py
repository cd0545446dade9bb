"""Routes to the feed of events."""

from __future__ import annotations

from sidecar_api.auth import Access
from sidecar_api.resources import event_stream, events
from sidecar_api.route import EVENT_STREAM, Group, Route, get
from sidecar_api.schemas.events import FeedOut
from sidecar_api.schemas.queries import EventsQuery, EventStreamQuery

GROUP = Group(
    "events",
    "What happened, of all messages and accounts in one order: every event is given once to who goes on from `next_cursor`.",
    (
        get("/v1/events", events.list_events, FeedOut, "Events behind a cursor, oldest first", query=EventsQuery),
        Route(
            "GET",
            "/v1/events/stream",
            event_stream.stream_events,
            Access.READ,
            "The same as they happen (Server-Sent Events)",
            {200: EVENT_STREAM},
            EventStreamQuery,
            description="`data` is an event as in `GET /v1/events`, `id` is the cursor behind it. A client that comes again "
            "with `Last-Event-ID` goes on there: no event is lost and none comes twice. Comments keep the connection alive.",
        ),
    ),
)
