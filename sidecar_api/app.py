"""The application: the route table bound to its services, and what holds for every request.

Each gets an id; what is raised becomes a problem; when debugging, a line of log is written. aiohttp's router finds the
endpoint where a path has variables, but aiohttp's `Application` is not used: its layers around a request (match,
application, middleware, signal) make some forty calls, a third of what all else of the door makes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from aiohttp import hdrs, web

from sidecar_api.bodies import BodyMemory
from sidecar_api.call import Call, Shared
from sidecar_api.coding import compress
from sidecar_api.cors import preflight
from sidecar_api.dialect import Dialect
from sidecar_api.endpoint import Endpoint
from sidecar_api.genro.faults import fault_response
from sidecar_api.openapi import Description
from sidecar_api.problems import UNEXPECTED, problem_of
from sidecar_api.request_ids import request_id_of
from sidecar_api.route import Group
from sidecar_api.routes import GROUPS, OURS
from sidecar_api.services import Services
from sidecar_api.site import is_local
from sidecar_api.streams import Streams
from sidecar_api.throttle import Throttle

log = logging.getLogger(__name__)
access_log = logging.getLogger(f"{__name__}.access")


class App:
    """Answers requests; to be served by `sidecar_api.site.start_site`."""

    def __init__(self, services: Services) -> None:
        groups: Sequence[Group] = GROUPS if services.genro_mail_proxy else OURS
        self._services = services
        self._shared = Shared(Description(groups, services.version), Streams(services.streams))
        self.router = web.UrlDispatcher()
        self._endpoints: dict[web.AbstractRoute, Endpoint] = {}
        self._plain: dict[tuple[str, str], Endpoint] = {}
        """By method and path, where no part of the path is a variable: the router would find the same."""
        memory = BodyMemory(services.body_memory)
        limit = services.requests_per_minute
        throttle = None if limit is None else Throttle(limit)
        for route in (route for group in groups for route in group.routes):
            endpoint = Endpoint(route, services, memory, throttle)
            for method in (route.method, *([hdrs.METH_HEAD] if route.has_head else [])):
                self._endpoints[self.router.add_route(method, route.path, _answered_here)] = endpoint
                if "{" not in route.path:
                    self._plain[method, route.path] = endpoint
        self.router.freeze()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """The answer to a request, whatever becomes of it."""
        began = time.perf_counter()
        call = Call(request, self._services, self._shared, request_id_of(request), is_local(request), request.content)
        try:
            response = await self._answer(call)
        except ConnectionError:
            raise  # the client has gone: there is nobody to answer
        except Exception as error:
            response = _fault(call, error)
        if not response.prepared:  # a stream has done that itself
            compress(request, response)
            call.dress(response)
        if access_log.isEnabledFor(logging.DEBUG):
            _write_down(call, response.status, time.perf_counter() - began)
        return response

    def close(self) -> None:
        """Have streams end: at a stop, before requests under way are waited for."""
        self._shared.streams.close()

    async def _answer(self, call: Call) -> web.StreamResponse:
        request = call.request
        if (asked := preflight(request, self._services.cors_origins)) is not None:
            return asked
        endpoint = self._plain.get((request.method, request.rel_url.path_safe)) or await self._find(call)
        if hdrs.EXPECT in request.headers:
            await _meet_expectation(request)
        call.dialect = endpoint.dialect
        return await endpoint.answer(call)

    async def _find(self, call: Call) -> Endpoint:
        """The endpoint of a path with variables; raises web.HTTPException where there is none."""
        found = await self.router.resolve(call.request)
        if found.http_exception is not None:
            raise found.http_exception
        call.parts = found
        return self._endpoints[found.route]


async def _answered_here(_request: web.Request) -> web.StreamResponse:
    """What the router is given for each route: it only finds them."""
    raise NotImplementedError


def _fault(call: Call, error: Exception) -> web.Response:
    problem = problem_of(error)
    if problem is UNEXPECTED:
        request = call.request
        log.error(
            "request %s failed unexpectedly: %s %s", call.request_id, request.method, request.path, exc_info=error
        )
    return problem.response(call.request_id) if call.dialect is Dialect.OURS else fault_response(problem)


def _write_down(call: Call, status: int, seconds: float) -> None:
    """For the access log."""
    request = call.request
    access_log.debug(
        "%s %s %s %s %s %.1f ms",
        call.request_id,
        call.caller.name,
        request.method,
        request.path,
        status,
        1000 * seconds,
    )


async def _meet_expectation(request: web.Request) -> None:
    """`Expect: 100-continue` is answered before the body is sent; other expectations cannot be met."""
    expected = request.headers[hdrs.EXPECT]
    if request.version < (1, 1) or not expected:
        return
    if expected.lower() != "100-continue":
        raise web.HTTPExpectationFailed
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0
