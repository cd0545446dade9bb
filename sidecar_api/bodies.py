"""Reading what a request carries: JSON bodies and query parameters into pydantic models, every fault named at once.

What is not JSON at all is 400, another media type 415, too much 413, and JSON that says something wrong 422.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from aiohttp import hdrs, web
from multidict import MultiMapping
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from relay.errors import Invalid, Violation
from sidecar_api.coding import EXPANSION
from sidecar_api.problems import ProblemError
from sidecar_api.schemas.fields import Reading

_Model = TypeVar("_Model", bound=BaseModel)
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
MAX_VIOLATIONS = 100
SMALL_BODY = 256 * 1024
"""Octets up to which a body is read without waiting for its turn."""


class BodyMemory:
    """How many octets of large bodies are held at a time; who comes too late waits, first come first served.

    A body that waits stays in the kernel's buffers and its client's (promise 8).
    """

    def __init__(self, capacity: int) -> None:
        self._free = capacity
        self._capacity = capacity
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def held(self, size: int) -> AsyncIterator[None]:
        """Room for `size` octets, or for as many as there can be, until the block is left."""
        size = min(size, self._capacity)
        if self._waiting or size > self._free:
            await self._wait(size)
        else:
            self._free -= size
        try:
            yield
        finally:
            self._give_back(size)

    async def _wait(self, size: int) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (size, turn)
        self._waiting.append(entry)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_back(size)
            else:
                self._waiting.remove(entry)
                self._give_back(0)
            raise

    def _give_back(self, size: int) -> None:
        self._free += size
        while self._waiting and self._waiting[0][0] <= self._free:
            granted, turn = self._waiting.popleft()
            self._free -= granted
            turn.set_result(None)


def check_json(request: web.Request, media_types: Sequence[str]) -> None:
    """ProblemError 415 unless the body is declared as JSON in UTF-8, of one of these media types."""
    if request.headers.get(hdrs.CONTENT_TYPE) in media_types:  # as nearly all say it
        return
    if request.content_type not in media_types or (request.charset or "utf-8").lower() not in {"utf-8", "us-ascii"}:
        raise unsupported(" or ".join(media_types))


def unsupported(expected: str) -> ProblemError:
    """415, naming what is expected."""
    return ProblemError(415, "unsupported_media_type", f"send Content-Type: {expected}", at=hdrs.CONTENT_TYPE)


def declared_size(request: web.Request, largest: int, coding: str | None) -> int:
    """The most octets that the body can be, decoded. 413 where it says itself that it is more than `largest`."""
    size = request.content_length
    if size is None:
        return largest if request.can_read_body else 0
    if size > largest:
        raise web.HTTPRequestEntityTooLarge(max_size=largest, actual_size=size)
    return size if coding is None else min(largest, size * EXPANSION)


def read_json(octets: bytes, kind: type[_Model], reading: Reading) -> _Model:
    """The body; ProblemError 400, or Invalid with a JSON pointer for every fault."""
    if b"\\u0000" in octets and _NUL.search(octets):
        raise _malformed("holds the character NUL")
    try:
        body = kind.__pydantic_validator__.validate_json(octets, context=reading)
    except ValidationError as fault:
        raise fault_of(fault) from None
    if not isinstance(body, kind):
        raise TypeError(f"{kind.__name__} validates to something else")
    return body


def fault_of(fault: ValidationError) -> ProblemError | Invalid:
    """What a fault found by pydantic is to the client."""
    errors = fault.errors(include_url=False, include_input=False)
    if errors[0]["type"] == "json_invalid":
        return _malformed(str(errors[0].get("ctx", {}).get("error", "is not valid JSON")))
    return Invalid(*violations(errors))


def _malformed(detail: str) -> ProblemError:
    return ProblemError(400, "malformed_json", f"the body is not valid JSON: {detail}", at="")


def violations(errors: Sequence[ErrorDetails], *, prefix: str = "") -> list[Violation]:
    """One for each fault, at most MAX_VIOLATIONS."""
    return [Violation(prefix + _pointer(error["loc"]), _detail(error)) for error in errors[:MAX_VIOLATIONS]]


def _pointer(place: tuple[int | str, ...]) -> str:
    """A JSON pointer (RFC 6901)."""
    parts = [str(part).replace("~", "~0").replace("/", "~1") for part in place if part != "[key]"]
    return "".join(f"/{part}" for part in parts)


def _detail(error: ErrorDetails) -> str:
    match error["type"]:
        case "missing":
            return "is required"
        case "extra_forbidden":
            return "there is no such field"
        case "value_error":
            return str(error.get("ctx", {}).get("error", error["msg"]))
    return error["msg"][:1].lower() + error["msg"][1:]


def read_query(given: MultiMapping[str], kind: type[_Model], reading: Reading) -> _Model:
    """The query parameters; a repeated one is a list. Invalid with `?name` for every fault."""
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name not in values:
            values[name] = value
        elif isinstance(values[name], list):
            values[name].append(value)
        else:
            values[name] = [values[name], value]
    try:
        return kind.model_validate(values, context=reading)
    except ValidationError as fault:
        errors = fault.errors(include_url=False, include_input=False)
        raise Invalid(*(Violation(f"?{e['loc'][0] if e['loc'] else ''}", _detail(e)) for e in errors)) from None


def nothing_asked(kind: type[_Model]) -> _Model | None:
    """The query that says nothing; None where something must be said."""
    return None if any(member.is_required() for member in kind.model_fields.values()) else kind.model_validate({})


def digest_of(octets: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(octets).hexdigest()
