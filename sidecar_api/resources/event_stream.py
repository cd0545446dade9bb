"""The feed of events as a stream (Server-Sent Events, WHATWG HTML §9.2): each as soon as it can be read.

It is read from the same feed, by the same cursor, as pages are: so a client that comes again with the last id it has seen
misses nothing and is told nothing twice, whichever process answers it. Where nothing that it asked for has happened, a
comment goes with the id of how far it was looked, so that it need not be looked through again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import replace

import orjson
from aiohttp import web

from relay.clock import MILLISECOND, SECOND
from relay.contracts.feed import FeedFilter
from relay.errors import Invalid, StoreUnavailable, Violation
from relay.model.event import Event
from relay.model.message import QueueId
from sidecar_api.auth import Access, authenticate, tenant_or_any
from sidecar_api.call import Call
from sidecar_api.problems import ProblemError
from sidecar_api.route import EVENT_STREAM
from sidecar_api.schemas.events import feed_event_out
from sidecar_api.schemas.queries import LATEST, EventStreamQuery
from sidecar_api.site import Connection
from sidecar_api.streams import Streams

LAST_EVENT_ID = "Last-Event-ID"
PAGE = 100
"""Events at a time: what is held of a stream in memory, besides the buffers of its connection."""
_HEADERS = {"Content-Type": EVENT_STREAM, "X-Accel-Buffering": "no"}  # a proxy is not to gather them

log = logging.getLogger(__name__)


async def stream_events(call: Call) -> web.StreamResponse:
    """GET /v1/events/stream."""
    query, services = call.asked(EventStreamQuery), call.services
    after = await _place(call, query)
    wanted = FeedFilter(
        tenant=await tenant_or_any(call.caller, query.tenant, services.directory),
        kind=query.kind,
        message=None if query.message is None else QueueId(query.message),
        after=after,
    )
    streams = call.shared.streams
    with streams.enter(call.caller) as wake, services.feed.watch(wake):
        return await _Stream(call, streams, wake, wanted, query.limit).run()


async def _place(call: Call, query: EventStreamQuery) -> int:
    """Behind which sequence to begin. A client that comes again says the address of its first request, but the newer id."""
    last = call.request.headers.get(LAST_EVENT_ID)
    if last is None:
        return await call.services.feed.newest() if query.after == LATEST else query.after or 0
    if not (last.isascii() and last.isdigit() and len(last) <= 18):
        raise Invalid(Violation(LAST_EVENT_ID, "is not a cursor"))
    return int(last)


class _Stream:
    """One client's."""

    def __init__(
        self, call: Call, streams: Streams, wake: asyncio.Event, wanted: FeedFilter, limit: int | None
    ) -> None:
        self._call = call
        self._clock = call.services.clock
        self._streams = streams
        self._terms = streams.terms
        self._wake = wake
        self._wanted = wanted
        self._left = limit
        self._sent_at = 0
        self._told = wanted.after
        """The id that the client has."""
        self._response = web.StreamResponse(headers=_HEADERS)

    async def run(self) -> web.StreamResponse:
        """Until the client has gone or has had enough, may no longer read, or the relay stops."""
        connection = self._call.request.protocol
        if isinstance(connection, Connection):
            connection.when_lost = self._wake.set
        try:
            self._call.dress(self._response)
            await self._response.prepare(self._call.request)
            await self._write(f"retry: {self._terms.retry // MILLISECOND}\nid: {self._told}\n\n".encode())
            with contextlib.suppress(StoreUnavailable):  # it comes again, and is told so
                await self._write(f": {await self._follow()}\n\n".encode())
            await self._response.write_eof()
        except ConnectionError:
            pass  # the client has gone, or was cut off
        finally:
            if isinstance(connection, Connection):
                connection.when_lost = None
        return self._response

    async def _follow(self) -> str:
        """Send what comes; answers why it ends."""
        while True:
            self._wake.clear()
            if self._streams.closing:
                return "the relay stops"
            if self._call.request.transport is None:
                raise ConnectionError("the client has gone")
            if (why := await self._forbidden()) is not None:
                return why
            page = await self._call.services.feed.page(replace(self._wanted, limit=min(PAGE, self._left or PAGE)))
            self._wanted = replace(self._wanted, after=page.cursor)
            if page.events:
                await self._send(page.events)
                if self._left == 0:
                    return "that was the limit"
            elif self._clock.now() >= self._sent_at + self._terms.heartbeat:
                await self._beat()
            if not page.more:
                await self._rest(pausing=bool(page.events))

    async def _forbidden(self) -> str | None:
        """Why the caller may not read any more: its token was revoked, changed, or has expired."""
        call, services = self._call, self._call.services
        try:
            caller = await authenticate(call.request, Access.READ, call.local, services.directory, services.clock)
        except ProblemError as error:
            return error.problem.detail
        return None if caller.tenant == call.caller.tenant else "this token is another tenant's now"

    async def _rest(self, *, pausing: bool) -> None:
        """Until there may be something new, or a sign of life is due."""
        if pausing:
            await self._clock.wait(asyncio.Event(), self._clock.now() + self._terms.pace)
        await self._clock.wait(self._wake, self._sent_at + self._terms.heartbeat)

    async def _send(self, events: Sequence[Event]) -> None:
        if self._left is not None:
            self._left -= len(events)
        await self._write(b"".join(map(_frame, events)))
        self._told = events[-1].sequence

    async def _beat(self) -> None:
        """A comment, and how far it was looked: a client keeps the id, and is told of no event (an empty one is none)."""
        moved, self._told = self._told != self._wanted.after, self._wanted.after
        await self._write(f":\nid: {self._told}\n\n".encode() if moved else b":\n\n")

    async def _write(self, octets: bytes) -> None:
        """ConnectionError where the client does not take what it is sent."""
        try:
            async with asyncio.timeout(self._terms.patience / SECOND):
                await self._response.write(octets)
        except TimeoutError:
            log.info("a stream of %s is cut off: it is not read", self._call.caller.name)
            if (transport := self._call.request.transport) is not None:
                transport.abort()
            raise ConnectionError("the client does not read") from None
        self._sent_at = self._clock.now()


def _frame(event: Event) -> bytes:
    return b"id: %d\ndata: %s\n\n" % (event.sequence, orjson.dumps(feed_event_out(event)))
