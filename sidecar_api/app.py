"""The application: the route table bound to its services, and one middleware around all of it.

The middleware gives every request an id, turns what is raised into problems and, when debugging, writes a line of log.
Everything else happens in the order in which it may be refused: who calls, how often, what they ask, then the body.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import hdrs, web

from sidecar_api.audit import record
from sidecar_api.auth import Caller, authenticate, is_local
from sidecar_api.bodies import (
    SMALL_BODY,
    BodyMemory,
    check_json,
    declared_size,
    digest_of,
    read_json,
    read_query,
)
from sidecar_api.call import Call, reading_of
from sidecar_api.coding import Inflated, coding_of, compress, read_all
from sidecar_api.cors import allow, preflight
from sidecar_api.dialect import Dialect
from sidecar_api.etags import tag
from sidecar_api.genro.faults import fault_response
from sidecar_api.openapi import DESCRIPTION, Description
from sidecar_api.problems import UNEXPECTED, of_status, problem_of
from sidecar_api.request_ids import REQUEST_ID, SERVER, request_id_of
from sidecar_api.resources.submissions import IDEMPOTENCY_KEY
from sidecar_api.route import Group, Route
from sidecar_api.routes import GROUPS, OURS
from sidecar_api.schemas.queries import NoQuery
from sidecar_api.services import SERVICES, Services
from sidecar_api.streams import STREAMS, Streams
from sidecar_api.throttle import Standing, Throttle, too_many

Handle = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = logging.getLogger(__name__)
access_log = logging.getLogger(f"{__name__}.access")

_ID = web.RequestKey("request_id", str)
_CALLER = web.RequestKey("caller", Caller)
_STANDING = web.RequestKey("standing", Standing)
_DIALECT = web.RequestKey("dialect", Dialect)
_ANONYMOUS = "-"
_NOTHING = b"{}"


def make_app(services: Services) -> web.Application:
    """The application, to be served by `sidecar_api.site.start_site`."""
    groups: Sequence[Group] = GROUPS if services.genro_mail_proxy else OURS
    app = web.Application(middlewares=[_around], client_max_size=services.max_body)
    app[SERVICES] = services
    app[DESCRIPTION] = Description(groups, services.version)
    app[STREAMS] = Streams(services.streams)
    app.on_response_prepare.append(_dress)
    app.on_shutdown.append(_end_streams)
    binder = _Binder(services)
    for route in (route for group in groups for route in group.routes):
        handle = binder.bind(route)
        app.router.add_route(route.method, route.path, handle, name=route.name, expect_handler=_expect)
        if route.has_head:
            app.router.add_route(hdrs.METH_HEAD, route.path, handle, expect_handler=_expect)
    return app


class _Binder:
    """Makes of a row of the table what aiohttp calls."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._memory = BodyMemory(services.body_memory)
        limit = services.requests_per_minute
        self._throttle = None if limit is None else Throttle(limit)

    def bind(self, route: Route) -> Handle:
        """The route's handler as aiohttp calls it."""

        async def handle(request: web.Request) -> web.StreamResponse:
            request[_DIALECT] = route.dialect
            call = await self._admit(route, request)
            response = await self._handle(route, call)
            return tag(request, response) if route.tagged else response

        return handle

    async def _handle(self, route: Route, call: Call) -> web.StreamResponse:
        """The answer; what was done, and how it ended, is written down."""
        try:
            response = await (route.handler(call) if route.body is None else self._read_and_handle(route, call))
        except Exception as error:
            await record(route, call, problem_of(error).status)
            raise
        await record(route, call, response.status)
        return response

    async def _admit(self, route: Route, request: web.Request) -> Call:
        """Who calls, how often, what they ask."""
        services = self._services
        local = is_local(request)
        caller = await authenticate(request, route.access, local, services.directory, services.clock, route.dialect)
        request[_CALLER] = caller
        if self._throttle is not None and caller.has_token:
            granted, standing = self._throttle.take(caller.name, services.clock.boot())
            request[_STANDING] = standing
            if not granted:
                raise too_many(standing)
        query = None
        if request.query_string or route.query is not NoQuery:
            query = read_query(request.query, route.query, reading_of(services))
        call = Call(request, services, caller, request[_ID], local, query)
        if route.takes_body and (coding := coding_of(request)) is not None:
            call.content = Inflated(request.content, coding)
        return call

    async def _read_and_handle(self, route: Route, call: Call) -> web.StreamResponse:
        """With the body, in its turn."""
        request, largest = call.request, self._services.max_body
        if route.body_may_be_absent and not request.can_read_body:
            return await self._with_octets(route, call, _NOTHING)
        check_json(request, route.media_types)
        size = declared_size(request, largest, coding_of(request))
        if size <= SMALL_BODY:
            return await self._with_body(route, call)
        async with self._memory.held(size):
            return await self._with_body(route, call)

    async def _with_body(self, route: Route, call: Call) -> web.StreamResponse:
        if call.content is None:
            octets = await call.request.read()
        else:
            octets = await read_all(call.content, self._services.max_body)
        return await self._with_octets(route, call, octets)

    @staticmethod
    async def _with_octets(route: Route, call: Call, octets: bytes) -> web.StreamResponse:
        if route.reads_itself:
            call.octets = octets
            return await route.handler(call)
        if route.body is None:
            raise TypeError("a route without a body has none to be read")
        call.body = read_json(octets, route.body, call.reading())
        call.octets = octets if route.audited else b""
        if route.idempotent and IDEMPOTENCY_KEY in call.request.headers:
            call.digest = digest_of(octets)
        return await route.handler(call)


@web.middleware
async def _around(request: web.Request, handler: Handle) -> web.StreamResponse:
    request_id = request[_ID] = request_id_of(request)
    began = time.perf_counter()
    response: web.StreamResponse
    try:
        asked = preflight(request, request.app[SERVICES].cors_origins)
        response = await handler(request) if asked is None else asked
    except ConnectionError:
        raise  # the client has gone: there is nobody to answer
    except Exception as error:
        problem = problem_of(error)
        if problem is UNEXPECTED:
            log.exception("request %s failed unexpectedly: %s %s", request_id, request.method, request.path)
        is_ours = request.get(_DIALECT, Dialect.OURS) is Dialect.OURS
        response = problem.response(request_id) if is_ours else fault_response(problem)
    if not response.prepared:  # a stream has called this itself, if it wants to
        compress(request, response)
    if access_log.isEnabledFor(logging.DEBUG):
        caller = request.get(_CALLER)
        access_log.debug(
            "%s %s %s %s %s %.1f ms",
            request_id,
            _ANONYMOUS if caller is None else caller.name,
            request.method,
            request.path,
            response.status,
            1000 * (time.perf_counter() - began),
        )
    return response


async def _end_streams(app: web.Application) -> None:
    """At a stop, before requests under way are waited for."""
    app[STREAMS].close()


async def _dress(request: web.Request, response: web.StreamResponse) -> None:
    """What every answer says beside its own; just before its header is sent, streams included."""
    headers = response.headers
    if _ID in request:
        headers[REQUEST_ID] = request[_ID]
    headers[hdrs.SERVER] = SERVER
    headers["X-Content-Type-Options"] = "nosniff"
    headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
    if _STANDING in request:
        headers.update(request[_STANDING].headers)
    allow(request, response, request.app[SERVICES].cors_origins)


async def _expect(request: web.Request) -> web.Response | None:
    """`Expect: 100-continue` is answered before the body is sent; other expectations cannot be met."""
    if request.version < (1, 1):
        return None
    if request.headers.get(hdrs.EXPECT, "").lower() != "100-continue":
        request_id = request[_ID] = request_id_of(request)
        return of_status(417).response(request_id)
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0
    return None
