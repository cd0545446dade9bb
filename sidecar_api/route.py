"""A row of the route table: method, path, handler, shapes, who may call, and what may go wrong; and rows of the usual kinds.

The rows stand in `sidecar_api/routes/`, one module for each resource. The application serves exactly these,
`/openapi.json` describes exactly these, and tests hold both equal.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from aiohttp import web
from pydantic import BaseModel

from sidecar_api.auth import Access
from sidecar_api.call import Call
from sidecar_api.dialect import Dialect
from sidecar_api.schemas.patch import MERGE_PATCH, Patch
from sidecar_api.schemas.queries import NoQuery, TenantQuery

Handler = Callable[[Call], Awaitable[web.StreamResponse]]
Answers = Mapping[int, type | str | tuple[str, ...] | None]
"""By status: the shape of the JSON, a media type or several, or None where there is no body."""

JSON = "application/json"
RFC822 = "message/rfc822"
EVENT_STREAM = "text/event-stream"

COMMON = frozenset({400, 401, 403, 404, 422, 429, 500, 503})
"""Problems of any route that needs a token."""
BODY = frozenset({413, 415})
"""Problems of a route with a body."""


@dataclass(frozen=True, slots=True)
class Route:
    """A row of the table."""

    method: str
    path: str
    handler: Handler
    access: Access
    summary: str
    answers: Answers
    query: type[BaseModel] = NoQuery
    body: type[BaseModel] | None = None
    media: str = JSON
    """Of the body."""
    also: Mapping[str, str] = field(default_factory=dict)
    """Further media types of the body, each with an example; its handler reads them itself."""
    reads_itself: bool = False
    """The handler reads the body: item by item, or streamed."""
    idempotent: bool = False
    """Takes `Idempotency-Key`."""
    tagged: bool = False
    """The answer has an ETag; a PATCH or DELETE keeps to `If-Match` (its handler calls `etags.must_match`)."""
    tagged_in_part: bool = False
    """The answer has an ETag, of the part of it that can be changed, and is never 304 (its handler sets the tag)."""
    problems: frozenset[int] = COMMON
    dialect: Dialect = Dialect.OURS
    hands_in: bool = False
    """Hands in mail in another way than `idempotent` ones."""
    description: str = ""
    """More than the summary says, where there is more to be known; in Markdown's `code` and **bold** alone."""

    @property
    def takes_body(self) -> bool:
        """Whether a request has one."""
        return self.body is not None or self.media != JSON

    @property
    def body_may_be_absent(self) -> bool:
        """Whether a request without one says as much as an empty object does: nothing is required of it."""
        if self.method != "POST" or self.body is None or self.reads_itself:
            return False
        return not any(member.is_required() for member in self.body.model_fields.values())

    @property
    def media_types(self) -> tuple[str, ...]:
        """What its body may be sent as."""
        return (MERGE_PATCH, JSON) if self.method == "PATCH" else (self.media, *self.also)

    @property
    def has_head(self) -> bool:
        """Whether HEAD answers as GET does, without the body (RFC 9110 §9.3.2): all that end."""
        return self.method == "GET" and EVENT_STREAM not in self.answers.values()

    @property
    def audited(self) -> bool:
        """Whether the command log tells of it: what changes something, but for mail, of which events tell."""
        return self.method != "GET" and not self.idempotent and not self.hands_in

    @property
    def name(self) -> str:
        """The handler's name: the operation's id."""
        name = str(getattr(self.handler, "__name__", self.path))
        return name if self.dialect is Dialect.OURS else f"{self.dialect.word}_{name}"


@dataclass(frozen=True, slots=True)
class Group:
    """The rows of one resource; `tag` and `description` head them in the reference."""

    tag: str
    description: str
    routes: Sequence[Route]


def get(
    path: str,
    handler: Handler,
    out: type | str | tuple[str, ...],
    summary: str,
    *,
    access: Access = Access.READ,
    query: type[BaseModel] = TenantQuery,
) -> Route:
    """Lists or shows."""
    return Route("GET", path, handler, access, summary, {200: out}, query)


def settings(
    path: str,
    handler: Handler,
    out: type,
    summary: str,
    *,
    access: Access = Access.READ,
    query: type[BaseModel] = TenantQuery,
) -> Route:
    """Shows something that is configured: with an ETag, and 304 to who has it."""
    return Route("GET", path, handler, access, summary, {200: out, 304: None}, query, tagged=True)


def patch(
    path: str,
    handler: Handler,
    body: type[Patch],
    out: type,
    summary: str,
    *,
    access: Access = Access.MANAGE,
    query: type[BaseModel] = TenantQuery,
) -> Route:
    """Changes what is named by a merge patch, if it is as it was read: 200 with the thing as it is now, or 412."""
    return Route(
        "PATCH",
        path,
        handler,
        access,
        summary,
        {200: out},
        query,
        body,
        tagged=True,
        problems=COMMON | BODY | {409, 412},
    )


def put(
    path: str,
    handler: Handler,
    body: type[BaseModel],
    out: type,
    summary: str,
    *,
    access: Access = Access.MANAGE,
    query: type[BaseModel] = TenantQuery,
) -> Route:
    """Puts a whole thing in the place of what is there, if that is as it was read: 200 with it, or 412."""
    problems = COMMON | BODY | {409, 412}
    return Route("PUT", path, handler, access, summary, {200: out}, query, body, tagged=True, problems=problems)


def create(
    path: str,
    handler: Handler,
    body: type[BaseModel],
    out: type,
    summary: str,
    *,
    access: Access = Access.MANAGE,
    query: type[BaseModel] = TenantQuery,
) -> Route:
    """Makes a thing: 201, or 409 where there is one already."""
    return Route("POST", path, handler, access, summary, {201: out}, query, body, problems=COMMON | BODY | {409})


def delete(
    path: str,
    handler: Handler,
    summary: str,
    *,
    access: Access = Access.MANAGE,
    query: type[BaseModel] = TenantQuery,
    tagged: bool = False,
) -> Route:
    """Deletes a thing: 204, or 409 where its state forbids it; `tagged`: 412 where it is not as it was read."""
    problems = COMMON | ({409, 412} if tagged else {409})
    return Route("DELETE", path, handler, access, summary, {204: None}, query, tagged=tagged, problems=problems)


def act(
    path: str,
    handler: Handler,
    out: type,
    summary: str,
    *,
    access: Access = Access.SEND,
    query: type[BaseModel] = TenantQuery,
    body: type[BaseModel] | None = None,
) -> Route:
    """Does something with a thing: 200, or 409 where its state forbids it."""
    problems = COMMON | {409} | (BODY if body else frozenset())
    return Route("POST", path, handler, access, summary, {200: out}, query, body, problems=problems)


def public(
    path: str,
    handler: Handler,
    out: type | str,
    summary: str,
    *,
    problems: frozenset[int] = frozenset({422}),
    tagged: bool = False,
) -> Route:
    """Open to all; `tagged`: with an ETag, and 304 to who has it."""
    answers: Answers = {200: out, 304: None} if tagged else {200: out}
    return Route("GET", path, handler, Access.PUBLIC, summary, answers, tagged=tagged, problems=problems)
