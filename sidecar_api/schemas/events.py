"""Events, as the API shows them: those of a message, and the feed of all."""

from __future__ import annotations

from typing_extensions import TypedDict

from relay.clock import rfc3339
from relay.model.event import Event
from sidecar_api.schemas.exact import exact
from sidecar_api.schemas.examples import example

_SENT = {
    "sequence": 4711,
    "kind": "sent",
    "at": "2026-01-01T09:00:00Z",
    "tenant": "acme",
    "message": "0HK3J5V8M2QZ7",
    "recipient": "ann@example.net",
    "facts": {"code": 250},
}


@example(_SENT)
@exact
class FeedEventOut(TypedDict):
    """What happened. `message` null speaks of an account, `recipient` null of the whole message."""

    sequence: int
    kind: str
    at: str
    tenant: str
    message: str | None
    recipient: str | None
    facts: dict[str, str | int | None]


@example(
    {
        "items": [_SENT],
        "next_cursor": "4711",
        "more": False,
    }
)
@exact
class FeedOut(TypedDict):
    """A page, oldest first. `next_cursor` is the next `after`; `more`: ask again at once, even if this page is empty."""

    items: list[FeedEventOut]
    next_cursor: str
    more: bool


def feed_event_out(event: Event) -> FeedEventOut:
    """One."""
    return FeedEventOut(
        sequence=event.sequence,
        kind=event.kind,
        at=rfc3339(event.at),
        tenant=event.tenant,
        message=event.message,
        recipient=event.recipient,
        facts=dict(event.facts),
    )


@example(
    {
        "sequence": 17,
        "kind": "sent",
        "at": "2026-01-01T09:00:01Z",
        "recipient": "ann@example.net",
        "facts": {"code": 250},
    }
)
@exact
class EventOut(TypedDict):
    """What happened; `recipient` null speaks of the whole message."""

    sequence: int
    kind: str
    at: str
    recipient: str | None
    facts: dict[str, str | int | None]


@exact
class EventsOut(TypedDict):
    """In order."""

    items: list[EventOut]
    next_cursor: str | None


def event_out(event: Event) -> EventOut:
    """An event."""
    return EventOut(
        sequence=event.sequence,
        kind=event.kind,
        at=rfc3339(event.at),
        recipient=event.recipient,
        facts=dict(event.facts),
    )
