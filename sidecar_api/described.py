"""What the description says of every route alike: parameters and header fields of the conventions, and the problems."""

from __future__ import annotations

from relay.intake.controls import BATCH
from relay.model.tenant import IDENTIFIER, USERNAME
from sidecar_api.call import ADDRESS
from sidecar_api.dialect import Dialect
from sidecar_api.phrase import phrase
from sidecar_api.problems import MEDIA_TYPE
from sidecar_api.shapes import Json

INTRODUCTION = """\
Hand in mail, and see what became of it for every recipient.

**Who calls.** A token (`Authorization: Bearer sp_…`) belongs to a tenant or is an admin's, and has the scopes `send`, `read`
or `manage`. The tenant is what the token says; an admin acts for a tenant by `?tenant=`. What belongs to another tenant is
answered like what is not there.

**Problems** are `application/problem+json` (RFC 9457). `code` is a stable word for programs, `violations` names every fault
at once: by a JSON pointer into the body, `?name` for a query parameter, or a header field's name.

**Once, and only once.** With an `Idempotency-Key` a submission may be repeated: the same key with the same content gives the
same answer, with `Idempotent-Replayed: true`.

**Settings** are read with an `ETag` and changed by merge patch (RFC 7396): what is not named stays, `null` clears.
`If-Match` changes them only as they were read.

**Requests** may be compressed (`Content-Encoding: gzip` or `deflate`); answers are, to who asks by `Accept-Encoding`. Where
a limit of requests is set, `RateLimit` says what is left of it. `X-Request-ID` goes through to the answer and the log.
HEAD answers as GET does, without the body.
"""

_TEXT: Json = {"type": "string"}


def _parameter(name: str, schema: Json, description: str) -> Json:
    return {"name": name, "in": "header", "required": False, "schema": schema, "description": description}


PARAMETERS: dict[str, Json] = {
    "RequestId": _parameter(
        "X-Request-ID",
        _TEXT,
        "An id of the client's for this request, 1 to 128 of `A-Z a-z 0-9 . _ -`; else the relay makes one",
    ),
    "IdempotencyKey": _parameter(
        "Idempotency-Key",
        {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+( +[!-~]+)*$"},
        "The same key with the same content gives the same answer, with `Idempotent-Replayed: true`",
    ),
    "LastEventId": _parameter(
        "Last-Event-ID",
        {"type": "string", "pattern": r"^\d{1,18}$"},
        "The last `id` that was received: the stream goes on behind it, whatever `after` says",
    ),
    "IfMatch": _parameter("If-Match", _TEXT, "Tags as they were read; 412 where it has changed meanwhile"),
    "IfNoneMatch": _parameter("If-None-Match", _TEXT, "Tags that the client has; 304 where one is still right"),
}

HEADERS: dict[str, Json] = {
    "RequestId": {"description": "The request's id", "required": True, "schema": _TEXT},
    "ETag": {"description": "A strong tag of what is shown", "required": True, "schema": _TEXT},
    "Location": {
        "description": "Where what was made is found",
        "schema": {"type": "string", "format": "uri-reference"},
    },
    "IdempotentReplayed": {"description": "`true`: this key had brought it in before", "schema": {"const": "true"}},
    "RateLimit": {"description": "Requests left, and seconds until there are more", "schema": _TEXT},
    "RateLimitPolicy": {"description": "Requests that are allowed, and in how many seconds", "schema": _TEXT},
    "RetryAfter": {
        "description": "Seconds after which to try again",
        "required": True,
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
    "Challenge": {"description": "How to authenticate", "required": True, "schema": _TEXT},
}

_FIELDS = {
    "RequestId": "X-Request-ID",
    "IdempotentReplayed": "Idempotent-Replayed",
    "RateLimitPolicy": "RateLimit-Policy",
    "RetryAfter": "Retry-After",
    "Challenge": "WWW-Authenticate",
}


def parameter(name: str) -> Json:
    """A reference to one of PARAMETERS."""
    return {"$ref": f"#/components/parameters/{name}"}


def headers(*names: str) -> Json:
    """Header fields of an answer, as references to HEADERS."""
    return {_FIELDS.get(name, name): {"$ref": f"#/components/headers/{name}"} for name in ("RequestId", *names)}


def path_parameter(name: str) -> Json:
    """A part of a path: what cannot be an id is not found."""
    pattern = {"username": USERNAME, "batch": BATCH, "address": ADDRESS}.get(name, IDENTIFIER)
    return {
        "name": name,
        "in": "path",
        "required": True,
        "schema": {"type": "string", "pattern": f"^{pattern.pattern}$"},
    }


_PROBLEMS: dict[int, tuple[str, str, str, str | None]] = {
    400: ("malformed_json", "The body is no JSON, or not of its content coding", "unexpected end of data", ""),
    401: ("bad_token", "There is no token, or none that is known and valid", "this token is not known", None),
    403: ("missing_scope", "The token may not do this", "this token lacks the scope manage", None),
    404: ("not_found", "There is no such thing, or it is another tenant's", "no such tenant: acme", None),
    408: ("timeout", "The request was not complete in time", "the request was not complete in time", None),
    409: ("conflict", "It is there already, or its state forbids it", "account out exists already", None),
    412: (
        "changed_meanwhile",
        "It is not as it was read",
        "it is not as it was read (If-Match): read it again",
        "If-Match",
    ),
    413: ("too_large", "The body is too large, as it comes or decoded", "the request body is larger than …", None),
    415: (
        "unsupported_media_type",
        "Another media type or coding",
        "send Content-Type: application/json",
        "Content-Type",
    ),
    422: ("invalid", "Some values are not valid; each is named", "one value is not valid", "/to/0"),
    429: (
        "too_many_requests",
        "Too many requests, or more than may be sent",
        "this token has made 600 requests …",
        None,
    ),
    500: ("internal", "Something went wrong in the relay", "something went wrong here; the log tells more", None),
    503: ("queue_full", "The relay takes nothing now", "insufficient system storage", None),
}
_KINDS = {Dialect.OURS: "Problem", Dialect.GENRO: "Fault"}
_MORE = {401: ("Challenge",), 412: ("ETag",), 429: ("RetryAfter",), 503: ("RetryAfter",)}


def problem(status: int, dialect: Dialect) -> Json:
    """A reference to the problem of a status."""
    return {"$ref": f"#/components/responses/{_KINDS[dialect]}{status}"}


def problems(schema: Json) -> Json:
    """Every problem as a component: what it means, its header fields, an example."""
    return {f"{_KINDS[Dialect.OURS]}{status}": _problem(status, schema) for status in _PROBLEMS}


def faults(schema: Json) -> Json:
    """The same as clients of genro-mail-proxy read them."""
    return {f"{_KINDS[Dialect.GENRO]}{status}": _fault(status, schema) for status in _PROBLEMS if status != 409}


def _fault(status: int, schema: Json) -> Json:
    _, description, detail, at = _PROBLEMS[status]
    example: Json = {"detail": detail}
    if status == 422 and at is not None:
        example = {"detail": [{"type": "value_error", "loc": ["body", *at[1:].split("/")], "msg": detail}]}
    return {
        "description": description,
        "headers": headers(*_MORE.get(status, ())),
        "content": {"application/json": {"schema": schema, "example": example}},
    }


def _problem(status: int, schema: Json) -> Json:
    code, description, detail, at = _PROBLEMS[status]
    example: Json = {
        "type": "about:blank",
        "title": phrase(status),
        "status": status,
        "code": code,
        "detail": detail,
        "request_id": "5f0c9a3e-2a",
    }
    if at is not None:
        example["violations"] = [{"path": at, "detail": detail}]
    return {
        "description": description,
        "headers": headers(*_MORE.get(status, ())),
        "content": {MEDIA_TYPE: {"schema": schema, "example": example}},
    }
