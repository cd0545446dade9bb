"""Routes to messages that were accepted."""

from __future__ import annotations

from sidecar_api.auth import Access
from sidecar_api.resources import messages
from sidecar_api.route import BODY, COMMON, RFC822, Group, Route, act, delete, get
from sidecar_api.schemas import views
from sidecar_api.schemas.acts import BulkIn, RerouteIn
from sidecar_api.schemas.attempts import AttemptsOut
from sidecar_api.schemas.events import EventsOut
from sidecar_api.schemas.explain import ExplainOut
from sidecar_api.schemas.queries import MessagesQuery, TenantQuery

GROUP = Group(
    "messages",
    "What was accepted, and what became of it for every recipient.",
    (
        get("/v1/messages", messages.list_messages, views.MessagesOut, "List messages", query=MessagesQuery),
        get("/v1/messages/{id}", messages.show_message, views.MessageOut, "Show a message"),
        get("/v1/messages/{id}/events", messages.show_events, EventsOut, "Its events"),
        get("/v1/messages/{id}/attempts", messages.show_attempts, AttemptsOut, "Its attempts"),
        get("/v1/messages/{id}/explain", messages.explain_message, ExplainOut, "Why it has not been sent yet"),
        get("/v1/messages/{id}/content", messages.show_content, RFC822, "Its content"),
        act("/v1/messages/{id}/hold", messages.hold_message, views.ActedOut, "Keep back what is still open of it"),
        act("/v1/messages/{id}/release", messages.release_message, views.ActedOut, "Let go what is held of it"),
        act(
            "/v1/messages/{id}/cancel",
            messages.cancel_message,
            views.ActedOut,
            "Take it back, for every recipient that is still open",
        ),
        act(
            "/v1/messages/{id}/retry",
            messages.retry_message,
            views.ActedOut,
            "Try again now, for every recipient that was not sent to",
        ),
        Route(
            "POST",
            "/v1/messages/{id}/reroute",
            messages.reroute_message,
            Access.SEND,
            "Send what is still open of it by another account",
            {200: views.ActedOut},
            TenantQuery,
            RerouteIn,
            problems=COMMON | BODY | {409},
        ),
        delete("/v1/messages/{id}", messages.delete_message, "Delete it with its content, if it is closed"),
        Route(
            "POST",
            "/v1/messages/bulk",
            messages.act_on_messages,
            Access.MANAGE,
            "Do one of these to all messages that a filter finds",
            {200: views.BulkOut},
            TenantQuery,
            BulkIn,
            problems=COMMON | BODY,
            description="With `dry_run` it only says what it would do. What is being attempted is left alone and counted as"
            " `under_way`. It works in small transactions: what was done stays done, whatever becomes of the call.",
        ),
    ),
)
