"""A call: one request with all that was settled about it before its handler runs."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import orjson
from aiohttp import hdrs, web
from pydantic import BaseModel

from relay.errors import NotFound
from relay.model.tenant import IDENTIFIER
from sidecar_api.auth import UNKNOWN, Caller
from sidecar_api.coding import Pieces
from sidecar_api.cors import allow
from sidecar_api.dialect import Dialect
from sidecar_api.request_ids import REQUEST_ID, SERVER
from sidecar_api.schemas.fields import Reading
from sidecar_api.services import Services
from sidecar_api.streams import Streams
from sidecar_api.throttle import Standing

ADDRESS = re.compile(r"[^\x00-\x20@]{0,64}@[^\x00-\x20@]{1,253}")
"""What can be an address or a domain on a list of suppressions."""
_Model = TypeVar("_Model", bound=BaseModel)


class Description(Protocol):
    """What the application serves about itself."""

    @property
    def octets(self) -> bytes:
        """For programs."""

    @property
    def page(self) -> bytes:
        """For people."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What the calls of an application have in common, besides its services."""

    description: Description
    streams: Streams


@dataclass(slots=True)
class Call:
    """The request, who makes it, and its query and body as the route table declares them."""

    request: web.Request
    services: Services
    shared: Shared
    request_id: str
    local: bool
    """Over the Unix socket."""
    content: Pieces
    """The body, without its content coding."""
    coding: str | None = None
    """That one."""
    dialect: Dialect = Dialect.OURS
    parts: Mapping[str, str] = field(default_factory=dict)
    """Of the path, by name."""
    caller: Caller = UNKNOWN
    standing: Standing | None = None
    """How the caller stands, where requests are limited."""
    query: BaseModel | None = None
    body: BaseModel | None = None
    octets: bytes = b""
    """The body as it came, where the route reads it by itself, or the command log is to tell of it."""
    digest: str | None = None
    """SHA-256 of the JSON body, in hex, where an idempotency key is to be held against it."""

    def asked(self, kind: type[_Model]) -> _Model:
        """The query, which the route declares as `kind`."""
        if not isinstance(self.query, kind):
            raise TypeError(f"the route declares another query than {kind.__name__}")
        return self.query

    def given(self, kind: type[_Model]) -> _Model:
        """The body, which the route declares as `kind`."""
        if not isinstance(self.body, kind):
            raise TypeError(f"the route declares another body than {kind.__name__}")
        return self.body

    def named(self, part: str = "id", pattern: re.Pattern[str] = IDENTIFIER) -> str:
        """A part of the path; what cannot be an id is not found, so that no odd text reaches the store."""
        value = self.parts[part]
        if not pattern.fullmatch(value):
            raise NotFound("there is no such thing")
        return value

    def reading(self) -> Reading:
        """What reading a body depends on."""
        return Reading(self.services.clock.now(), self.services.header_prefix)

    def dress(self, response: web.StreamResponse) -> None:
        """What every answer says beside its own. To be called before `prepare`."""
        headers = response.headers
        headers[REQUEST_ID] = self.request_id
        headers[hdrs.SERVER] = SERVER
        headers["X-Content-Type-Options"] = "nosniff"
        headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
        if self.standing is not None:
            headers.update(self.standing.headers)
        allow(self.request, response, self.services.cors_origins)


def answer(status: int, value: object, headers: Mapping[str, str] | None = None) -> web.Response:
    """JSON."""
    return web.Response(status=status, body=orjson.dumps(value), content_type="application/json", headers=headers)


def no_content() -> web.Response:
    """204."""
    return web.Response(status=204)


async def stream(call: Call, pieces: AsyncIterable[bytes], headers: Mapping[str, str]) -> web.StreamResponse:
    """An answer piece by piece; a client that goes away in the middle is nobody's fault."""
    response = web.StreamResponse(headers=headers)
    with contextlib.suppress(ConnectionError):
        call.dress(response)
        await response.prepare(call.request)
        if call.request.method != hdrs.METH_HEAD:
            async for piece in pieces:
                await response.write(piece)
        await response.write_eof()
    return response
