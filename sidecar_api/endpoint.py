"""An endpoint: a row of the route table as it is served, with all that is the same for each of its calls.

Everything happens in the order in which it may be refused: who calls, how often, what they ask, then the body.
"""

from __future__ import annotations

from aiohttp import web

from sidecar_api.audit import record
from sidecar_api.auth import authenticate
from sidecar_api.bodies import (
    SMALL_BODY,
    BodyMemory,
    check_json,
    declared_size,
    digest_of,
    nothing_asked,
    read_json,
    read_query,
)
from sidecar_api.call import Call
from sidecar_api.coding import Inflated, coding_of, read_all
from sidecar_api.etags import tag
from sidecar_api.problems import problem_of
from sidecar_api.resources.submissions import IDEMPOTENCY_KEY
from sidecar_api.route import Route
from sidecar_api.services import Services
from sidecar_api.throttle import Throttle, too_many

_NOTHING = b"{}"


class Endpoint:
    """Answers the calls of one route."""

    def __init__(self, route: Route, services: Services, memory: BodyMemory, throttle: Throttle | None) -> None:
        self.dialect = route.dialect
        self._route = route
        self._services = services
        self._memory = memory
        self._throttle = throttle
        self._handler = route.handler
        self._body = route.body
        self._takes_body = route.takes_body
        self._body_may_be_absent = route.body_may_be_absent
        self._media_types = route.media_types
        self._audited = route.audited
        self._nothing_asked = nothing_asked(route.query)

    async def answer(self, call: Call) -> web.StreamResponse:
        """The answer; what was done, and how it ended, is written down."""
        await self._admit(call)
        response = await (self._answer_audited(call) if self._audited else self._handle(call))
        return tag(call.request, response) if self._route.tagged else response

    async def _answer_audited(self, call: Call) -> web.StreamResponse:
        try:
            response = await self._handle(call)
        except Exception as error:
            await record(self._route, call, problem_of(error).status)
            raise
        await record(self._route, call, response.status)
        return response

    async def _admit(self, call: Call) -> None:
        """Who calls, how often, what they ask."""
        request, route, services = call.request, self._route, self._services
        caller = call.caller = await authenticate(
            request, route.access, call.local, services.directory, services.clock, route.dialect
        )
        if self._throttle is not None and caller.has_token:
            granted, call.standing = self._throttle.take(caller.name, services.clock.boot())
            if not granted:
                raise too_many(call.standing)
        if self._nothing_asked is None or request.query_string:
            call.query = read_query(request.query, route.query, call.reading())
        else:
            call.query = self._nothing_asked
        if self._takes_body and (coding := coding_of(request)) is not None:
            call.coding = coding
            call.content = Inflated(request.content, coding)

    async def _handle(self, call: Call) -> web.StreamResponse:
        """With the body, in its turn."""
        if self._body is None:
            return await self._handler(call)
        if self._body_may_be_absent and not call.request.can_read_body:
            self._take(call, _NOTHING)
            return await self._handler(call)
        check_json(call.request, self._media_types)
        size = declared_size(call.request, self._services.max_body, call.coding)
        if size <= SMALL_BODY:
            self._take(call, await read_all(call.content, self._services.max_body))
            return await self._handler(call)
        async with self._memory.held(size):
            self._take(call, await read_all(call.content, self._services.max_body))
            return await self._handler(call)

    def _take(self, call: Call, octets: bytes) -> None:
        """The body as it came, or as its model where the handler does not read it by itself."""
        route = self._route
        if route.reads_itself:
            call.octets = octets
            return
        if self._body is None:
            raise TypeError("a route without a body has none to be read")
        call.body = read_json(octets, self._body, call.reading())
        if self._audited:
            call.octets = octets
        if route.idempotent and IDEMPOTENCY_KEY in call.request.headers:
            call.digest = digest_of(octets)
