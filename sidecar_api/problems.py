"""Problems (RFC 9457): the one mapping from what is raised to what the client reads.

Every answer that is not a success is `application/problem+json` with the members `type`, `title`, `status`, `code` (a
stable word for programs), `detail` and `request_id`; where the fault has a place, `violations` names every one: by a JSON
pointer (RFC 6901) into the body, `?name` for a query parameter, or a header field's name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NotRequired

import orjson
from aiohttp import web
from typing_extensions import TypedDict  # pydantic asks for this one before Python 3.12

from relay.errors import Conflict, Invalid, NotFound, Refusal, Rejected, StoreUnavailable, Violation
from sidecar_api.phrase import phrase
from sidecar_api.schemas.exact import exact

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = "5"
"""Seconds, with every 503, and a 429 that does not know it better."""


@exact
class ViolationOut(TypedDict):
    """One fault of a request."""

    path: str
    """A JSON pointer into the body, `?name` for a query parameter, or a header field's name; empty is the whole body."""
    detail: str
    """What is wrong with it, for people."""


@exact
class ProblemOut(TypedDict):
    """A problem as it is sent."""

    type: str
    """Always `about:blank`: `code` tells problems apart."""
    title: str
    """The phrase of the status."""
    status: int
    """The status, again."""
    code: str
    """A stable word for programs."""
    detail: str
    """What is wrong and what to do, for people."""
    request_id: NotRequired[str]
    """As in `X-Request-ID`: the log tells more under it."""
    violations: NotRequired[list[ViolationOut]]
    """Every fault that has a place."""
    parts: NotRequired[dict[str, str]]
    """The ill parts of the relay and what ails them, at `/health/ready`."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is to be said: status, code, detail for people."""

    status: int
    code: str
    detail: str
    violations: Sequence[Violation] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    parts: Mapping[str, str] = field(default_factory=dict)
    """The ill parts of the relay, for /health/ready."""

    def body(self, request_id: str = "") -> ProblemOut:
        """The members of RFC 9457 and ours."""
        out = ProblemOut(
            type="about:blank",
            title=phrase(self.status),
            status=self.status,
            code=self.code,
            detail=self.detail,
        )
        if request_id:
            out["request_id"] = request_id
        if self.violations:
            out["violations"] = [ViolationOut(path=v.path, detail=v.detail) for v in self.violations]
        if self.parts:
            out["parts"] = dict(self.parts)
        return out

    def response(self, request_id: str) -> web.Response:
        """The answer."""
        return web.Response(
            status=self.status,
            body=orjson.dumps(self.body(request_id)),
            content_type=MEDIA_TYPE,
            headers={**self.headers, "Cache-Control": "no-store"},
        )


class ProblemError(Exception):
    """A problem found by this door itself."""

    def __init__(
        self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None, *, at: str | None = None
    ) -> None:
        """`at` names the place of the fault, as a Violation does."""
        super().__init__(detail)
        violations = () if at is None else (Violation(at, detail),)
        self.problem = Problem(status, code, detail, violations, headers or {})


UNEXPECTED = Problem(500, "internal", "something went wrong here; the log tells more under this request id")

_OF_HTTP = {
    400: ("bad_request", "the request is not valid HTTP"),
    404: ("no_such_route", "there is no such resource; /openapi.json lists them all"),
    405: ("method_not_allowed", "this resource does not know that method"),
    408: ("timeout", "the request was not complete in time"),
    413: ("too_large", "the request body is larger than this relay accepts"),
    417: ("expectation_failed", "only 100-continue can be expected"),
}


def problem_of(error: BaseException) -> Problem:
    """What to say about an error; UNEXPECTED, which names nothing, for one that was not raised on purpose."""
    match error:
        case ProblemError():
            return error.problem
        case Invalid():
            return invalid(error.violations)
        case Rejected():
            return _rejected(error)
        case NotFound():
            return Problem(404, "not_found", str(error) or "there is no such thing")
        case Conflict():
            return Problem(409, "conflict", str(error) or "its state forbids what was asked")
        case StoreUnavailable():
            return _rejected(Rejected(Refusal.STORE_DOWN))
        case web.RequestPayloadError():
            return of_status(400)
        case web.HTTPException():
            return of_status(error.status, error.headers)
    return UNEXPECTED


def of_status(status: int, headers: Mapping[str, str] | None = None) -> Problem:
    """A problem that aiohttp found: no route, a wrong method, a body too large, HTTP that is none."""
    code, detail = _OF_HTTP.get(status, ("http_error", phrase(status).lower()))
    kept = {name: value for name, value in (headers or {}).items() if name in {"Allow", "Retry-After"}}
    return Problem(status, code, detail, headers=kept)


def invalid(violations: Sequence[Violation]) -> Problem:
    """422, with a sentence that counts the faults."""
    count = len(violations)
    detail = "one value is not valid" if count == 1 else f"{count} values are not valid"
    return Problem(422, "invalid", detail, violations=violations)


def _rejected(error: Rejected) -> Problem:
    status = error.refusal.http_status
    detail = error.refusal.reply(error.detail).text
    violations = (Violation(_pointer(error.path), detail),) if status == 422 else ()
    headers = {"Retry-After": RETRY_AFTER} if status in {429, 503} else {}
    return Problem(status, error.refusal.name.lower(), detail, violations, headers)


def _pointer(path: str) -> str:
    """A field's name as a JSON pointer; header fields and pointers stay as they are, and a key came as a header field."""
    if path == "idempotency_key":
        return "Idempotency-Key"
    return f"/{path}" if path.isidentifier() else path
