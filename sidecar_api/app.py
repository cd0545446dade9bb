"""The application: the route table bound to its services, and one middleware around all of it.

The middleware gives every request an id, turns what is raised into problems and, when debugging, writes a line of log.
Everything else happens in the order in which it may be refused: who calls, what they ask, then the body.
"""

from __future__ import annotations

import itertools
import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import hdrs, web

from sidecar_api.auth import authenticate, is_local
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
from sidecar_api.etags import tag
from sidecar_api.openapi import DESCRIPTION, Description
from sidecar_api.problems import UNEXPECTED, of_status, problem_of
from sidecar_api.resources.submissions import IDEMPOTENCY_KEY
from sidecar_api.route import Group, Handler, Route
from sidecar_api.routes import GROUPS
from sidecar_api.schemas.queries import NoQuery
from sidecar_api.services import SERVICES, Services

REQUEST_ID = "X-Request-ID"

log = logging.getLogger(__name__)
access_log = logging.getLogger(f"{__name__}.access")

_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_PREFIX = secrets.token_hex(4)
_COUNTER = itertools.count(1)
_ID = web.RequestKey("request_id", str)


def make_app(services: Services, groups: Sequence[Group] = GROUPS) -> web.Application:
    """The application, to be served by `sidecar_api.site.start_site`."""
    app = web.Application(middlewares=[_around], client_max_size=services.max_body)
    app[SERVICES] = services
    app[DESCRIPTION] = Description(groups, services.version)
    memory = BodyMemory(services.body_memory)
    for route in (route for group in groups for route in group.routes):
        app.router.add_route(
            route.method, route.path, _bind(route, services, memory), name=route.name, expect_handler=_expect
        )
    return app


def _bind(
    route: Route, services: Services, memory: BodyMemory
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """The route's handler as aiohttp calls it."""
    handler: Handler = route.handler

    async def handle(request: web.Request) -> web.StreamResponse:
        local = is_local(request)
        caller = await authenticate(request, route.access, local, services.directory, services.clock)
        reading = reading_of(services)
        query = None
        if request.query_string or route.query is not NoQuery:
            query = read_query(request.query, route.query, reading)
        call = Call(request, services, caller, request[_ID], local, query)
        if route.body is None:
            return _finished(route, request, await handler(call))
        check_json(request, route.media_types)
        size = declared_size(request, services.max_body)
        if size <= SMALL_BODY:
            return _finished(route, request, await _with_body(route, call))
        async with memory.held(size):
            return _finished(route, request, await _with_body(route, call))

    return handle


def _finished(route: Route, request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    return tag(request, response) if route.tagged else response


async def _with_body(route: Route, call: Call) -> web.StreamResponse:
    octets = await call.request.read()
    if route.reads_itself:
        call.octets = octets
        return await route.handler(call)
    if route.body is None:
        raise TypeError("a route without a body has none to be read")
    call.body = read_json(octets, route.body, call.reading())
    if route.idempotent and IDEMPOTENCY_KEY in call.request.headers:
        call.digest = digest_of(octets)
    return await route.handler(call)


@web.middleware
async def _around(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    request_id = request[_ID] = _request_id(request)
    response: web.StreamResponse
    try:
        response = await handler(request)
    except ConnectionError:
        raise  # the client has gone: there is nobody to answer
    except Exception as error:
        problem = problem_of(error)
        if problem is UNEXPECTED:
            log.exception("request %s failed unexpectedly: %s %s", request_id, request.method, request.path)
        response = problem.response(request_id)
    if not response.prepared:
        response.headers[REQUEST_ID] = request_id
    if access_log.isEnabledFor(logging.DEBUG):
        access_log.debug("%s %s %s %s", request_id, request.method, request.path, response.status)
    return response


def _request_id(request: web.Request) -> str:
    given = request.headers.get(REQUEST_ID)
    if given is not None and _GIVEN_ID.fullmatch(given):
        return given
    return f"{_PREFIX}-{next(_COUNTER):x}"


async def _expect(request: web.Request) -> web.Response | None:
    """`Expect: 100-continue` is answered before the body is sent; other expectations cannot be met."""
    if request.version < (1, 1):
        return None
    if request.headers.get(hdrs.EXPECT, "").lower() != "100-continue":
        return of_status(417).response("")
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0
    return None
