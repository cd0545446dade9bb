"""Routes to messages that were accepted."""

from __future__ import annotations

from sidecar_api.resources import messages
from sidecar_api.route import RFC822, Group, act, get
from sidecar_api.schemas import views
from sidecar_api.schemas.explain import ExplainOut
from sidecar_api.schemas.queries import MessagesQuery

GROUP = Group(
    "messages",
    "What was accepted, and what became of it for every recipient.",
    (
        get("/v1/messages", messages.list_messages, views.MessagesOut, "List messages", query=MessagesQuery),
        get("/v1/messages/{id}", messages.show_message, views.MessageOut, "Show a message"),
        get("/v1/messages/{id}/events", messages.show_events, views.EventsOut, "Its events"),
        get("/v1/messages/{id}/attempts", messages.show_attempts, views.AttemptsOut, "Its attempts"),
        get("/v1/messages/{id}/explain", messages.explain_message, ExplainOut, "Why it has not been sent yet"),
        get("/v1/messages/{id}/content", messages.show_content, RFC822, "Its content"),
        act(
            "/v1/messages/{id}/cancel",
            messages.cancel_message,
            views.MessageOut,
            "Take it back, for every recipient that is still open",
        ),
        act(
            "/v1/messages/{id}/retry",
            messages.retry_message,
            views.MessageOut,
            "Try again now, for every recipient that was not sent to",
        ),
    ),
)
