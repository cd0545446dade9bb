"""Faults: what went wrong, as clients of genro-mail-proxy read it: `{"detail": …}`.

`detail` is a sentence; with 422 a list that names the place of each fault, without the value that stands there, which may be
a secret. What is 409 elsewhere is 400: these clients know no other word for a command that cannot be done.
"""

from __future__ import annotations

import orjson
from aiohttp import web
from typing_extensions import TypedDict

from relay.errors import Violation
from sidecar_api.problems import Problem
from sidecar_api.schemas.exact import exact
from sidecar_api.schemas.examples import example

_TYPES = {"is required": "missing", "there is no such field": "extra_forbidden"}


@example({"type": "missing", "loc": ["body", "host"], "msg": "is required"})
@exact
class GenroFieldFaultOut(TypedDict):
    """One fault of a request, and where it is."""

    type: str
    """`missing`, `extra_forbidden` or `value_error`."""
    loc: list[str | int]
    """`body`, `query` or `header`, then the way to the place."""
    msg: str


@example({"id": "invoice-118", "reason": "missing subject"})
@exact
class GenroRejectedOut(TypedDict):
    """A message that was not accepted, and why."""

    id: str | None
    """Null where it has none."""
    reason: str


@exact
class GenroRefusedOut(TypedDict):
    """Why no message of a request was accepted."""

    error: str
    rejected: list[GenroRejectedOut]


@example({"detail": "no such tenant: acme"})
@exact
class GenroFaultOut(TypedDict):
    """What went wrong."""

    detail: str | GenroRefusedOut | list[GenroFieldFaultOut]
    """A sentence; with 422 a list of faults; of messages none of which was accepted, why each was not."""


def fault_response(problem: Problem) -> web.Response:
    """The answer to what is a problem elsewhere."""
    detail: str | list[GenroFieldFaultOut] = problem.detail
    if problem.status == 422 and problem.violations:
        detail = [_field_fault(violation) for violation in problem.violations]
    return web.Response(
        status=400 if problem.status == 409 else problem.status,
        body=orjson.dumps(GenroFaultOut(detail=detail)),
        content_type="application/json",
        headers={**problem.headers, "Cache-Control": "no-store"},
    )


def _field_fault(violation: Violation) -> GenroFieldFaultOut:
    kind = _TYPES.get(violation.detail, "value_error")
    return GenroFieldFaultOut(type=kind, loc=_place(violation.path), msg=violation.detail)


def _place(path: str) -> list[str | int]:
    if path.startswith("?"):
        return ["query", path[1:]]
    if path and not path.startswith("/"):
        return ["header", path]
    parts = [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]
    return ["body", *(int(part) if part.isdigit() else part for part in parts)]
