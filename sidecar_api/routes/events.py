"""Routes to the feed of events."""

from __future__ import annotations

from sidecar_api.resources import events
from sidecar_api.route import Group, get
from sidecar_api.schemas.events import FeedOut
from sidecar_api.schemas.queries import EventsQuery

GROUP = Group(
    "events",
    "What happened, of all messages and accounts in one order: every event is given once to who goes on from `next_cursor`.",
    (get("/v1/events", events.list_events, FeedOut, "Events behind a cursor, oldest first", query=EventsQuery),),
)
