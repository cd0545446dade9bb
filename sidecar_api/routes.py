"""The one route table: method, path, handler, shapes, who may call, and what may go wrong.

The application serves exactly these, `/openapi.json` describes exactly these, and a test holds both equal.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web
from pydantic import BaseModel

from sidecar_api.auth import Access
from sidecar_api.call import Call
from sidecar_api.resources import accounts, batches, directory, instance, messages, raw, submissions
from sidecar_api.schemas import directory as shapes
from sidecar_api.schemas import instance as health
from sidecar_api.schemas import views
from sidecar_api.schemas.messages import BatchIn, MessageIn
from sidecar_api.schemas.queries import MessagesQuery, NoQuery, RawQuery, TenantQuery

Handler = Callable[[Call], Awaitable[web.StreamResponse]]

JSON = "application/json"
RFC822 = "message/rfc822"

_COMMON = frozenset({400, 401, 403, 404, 422, 500, 503})
_BODY = frozenset({413, 415})
_SUBMIT = _COMMON | _BODY | {409, 429}


@dataclass(frozen=True, slots=True)
class Route:
    """A row. `answers` maps a status to the shape of its JSON (None: no body), or to a media type."""

    method: str
    path: str
    handler: Handler
    access: Access
    summary: str
    answers: Mapping[int, type | str | None]
    query: type[BaseModel] = NoQuery
    body: type[BaseModel] | None = None
    media: str = JSON
    """Of the body."""
    reads_itself: bool = False
    """The handler reads the body: item by item, or streamed."""
    idempotent: bool = False
    """Takes `Idempotency-Key`."""
    problems: frozenset[int] = _COMMON
    tag: str = "messages"

    @property
    def name(self) -> str:
        """The handler's name: the operation's id."""
        return str(getattr(self.handler, "__name__", self.path))


def _get(path: str, handler: Handler, out: type | str, summary: str, tag: str, query: type[BaseModel]) -> Route:
    return Route("GET", path, handler, Access.READ, summary, {200: out}, query, tag=tag)


def _delete(path: str, handler: Handler, summary: str, tag: str) -> Route:
    return Route(
        "DELETE", path, handler, Access.MANAGE, summary, {204: None}, TenantQuery, problems=_COMMON | {409}, tag=tag
    )


def _create(path: str, handler: Handler, body: type[BaseModel], out: type, summary: str, tag: str) -> Route:
    return Route(
        "POST",
        path,
        handler,
        Access.MANAGE,
        summary,
        {201: out},
        TenantQuery,
        body,
        problems=_COMMON | _BODY | {409},
        tag=tag,
    )


def _act(path: str, handler: Handler, access: Access, out: type, summary: str, tag: str) -> Route:
    return Route("POST", path, handler, access, summary, {200: out}, TenantQuery, problems=_COMMON | {409}, tag=tag)


def _open(path: str, handler: Handler, out: type | str, summary: str, problems: frozenset[int]) -> Route:
    return Route("GET", path, handler, Access.PUBLIC, summary, {200: out}, problems=problems, tag="instance")


_SUBMISSIONS = (
    Route(
        "POST",
        "/v1/messages",
        submissions.submit,
        Access.SEND,
        "Hand in a message in parts",
        {202: views.SubmittedOut},
        TenantQuery,
        MessageIn,
        idempotent=True,
        problems=_SUBMIT,
    ),
    Route(
        "POST",
        "/v1/messages/batch",
        batches.submit_batch,
        Access.SEND,
        "Hand in up to 1000 messages; each is accepted or refused by itself",
        {202: views.BatchOut, 207: views.BatchOut},
        TenantQuery,
        BatchIn,
        reads_itself=True,
        idempotent=True,
        problems=_SUBMIT,
    ),
    Route(
        "POST",
        "/v1/messages/raw",
        raw.submit_raw,
        Access.SEND,
        "Hand in a finished RFC 5322 message, streamed",
        {202: views.SubmittedOut},
        RawQuery,
        media=RFC822,
        reads_itself=True,
        idempotent=True,
        problems=_SUBMIT | {408},
    ),
)

_MESSAGES = (
    _get("/v1/messages", messages.list_messages, views.MessagesOut, "List messages", "messages", MessagesQuery),
    _get("/v1/messages/{id}", messages.show_message, views.MessageOut, "Show a message", "messages", TenantQuery),
    _get("/v1/messages/{id}/events", messages.show_events, views.EventsOut, "Its events", "messages", TenantQuery),
    _get(
        "/v1/messages/{id}/attempts", messages.show_attempts, views.AttemptsOut, "Its attempts", "messages", TenantQuery
    ),
    _get("/v1/messages/{id}/content", messages.show_content, RFC822, "Its content", "messages", TenantQuery),
    _act(
        "/v1/messages/{id}/cancel",
        messages.cancel_message,
        Access.SEND,
        views.MessageOut,
        "Take it back, for every recipient that is still open",
        "messages",
    ),
    _act(
        "/v1/messages/{id}/retry",
        messages.retry_message,
        Access.SEND,
        views.MessageOut,
        "Try again now, for every recipient that was not sent to",
        "messages",
    ),
)

_TENANTS = (
    Route(
        "GET",
        "/v1/tenants",
        directory.list_tenants,
        Access.ADMIN_READ,
        "List tenants",
        {200: shapes.TenantsOut},
        tag="tenants",
    ),
    Route(
        "POST",
        "/v1/tenants",
        directory.add_tenant,
        Access.ADMIN,
        "Make a tenant with a first token",
        {201: shapes.IssuedTokenOut},
        body=shapes.TenantIn,
        problems=_COMMON | _BODY | {409},
        tag="tenants",
    ),
    Route(
        "GET",
        "/v1/tenants/{id}",
        directory.show_tenant,
        Access.ADMIN_READ,
        "Show a tenant",
        {200: shapes.TenantOut},
        tag="tenants",
    ),
    Route(
        "DELETE",
        "/v1/tenants/{id}",
        directory.delete_tenant,
        Access.ADMIN,
        "Delete a tenant with all it owns",
        {204: None},
        problems=_COMMON | {409},
        tag="tenants",
    ),
)

_OWNED = (
    _get("/v1/accounts", accounts.list_accounts, shapes.AccountsOut, "List accounts", "accounts", TenantQuery),
    _create("/v1/accounts", accounts.add_account, shapes.AccountIn, shapes.AccountOut, "Make an account", "accounts"),
    _get("/v1/accounts/{id}", accounts.show_account, shapes.AccountOut, "Show an account", "accounts", TenantQuery),
    _delete("/v1/accounts/{id}", accounts.delete_account, "Delete an account", "accounts"),
    _act(
        "/v1/accounts/{id}/test",
        accounts.test_account,
        Access.MANAGE,
        health.ProbeOut,
        "Test it for real: connect, secure, authenticate",
        "accounts",
    ),
    _get(
        "/v1/credentials",
        accounts.list_credentials,
        shapes.CredentialsOut,
        "List credentials",
        "credentials",
        TenantQuery,
    ),
    _create(
        "/v1/credentials",
        accounts.add_credential,
        shapes.CredentialIn,
        shapes.IssuedCredentialOut,
        "Make a credential for the SMTP door",
        "credentials",
    ),
    _delete("/v1/credentials/{username}", accounts.delete_credential, "Delete a credential", "credentials"),
    _get("/v1/tokens", directory.list_tokens, shapes.TokensOut, "List tokens", "tokens", TenantQuery),
    _create("/v1/tokens", directory.add_token, shapes.TokenIn, shapes.IssuedTokenOut, "Make a token", "tokens"),
    _delete("/v1/tokens/{id}", directory.revoke_token, "Revoke a token", "tokens"),
)

_INSTANCE = (
    Route(
        "GET",
        "/v1/queue",
        instance.show_queue,
        Access.ADMIN_READ,
        "How the queue stands",
        {200: health.QueuesOut},
        tag="instance",
    ),
    _open("/health/live", instance.show_live, health.HealthOut, "Whether the process answers", frozenset({422})),
    _open(
        "/health/ready",
        instance.show_ready,
        health.HealthOut,
        "Whether it can do its work; 503 names the ill parts",
        frozenset({422, 503}),
    ),
    Route(
        "GET",
        "/metrics",
        instance.show_metrics,
        Access.METRICS,
        "Metrics for Prometheus; from loopback without a token",
        {200: "text/plain"},
        problems=frozenset({401, 422}),
        tag="instance",
    ),
)

DESCRIBED: tuple[Route, ...] = _SUBMISSIONS + _MESSAGES + _TENANTS + _OWNED + _INSTANCE
"""All but `/openapi.json`, whose handler needs this table and is added by `sidecar_api.openapi`."""
