"""Cross-origin requests (the Fetch standard's CORS protocol): off unless origins are configured.

Tokens travel in `Authorization`, which a page has to hold itself; no cookie is ever involved, so credentials are allowed to
no origin.
"""

from __future__ import annotations

from collections.abc import Collection

from aiohttp import hdrs, web

ANY = "*"
_ALLOWED = (
    "Authorization, Content-Encoding, Content-Type, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID, "
    "X-API-Token, X-Request-ID"
)
_EXPOSED = "ETag, Idempotent-Replayed, Location, RateLimit, RateLimit-Policy, Retry-After, X-Request-ID"
_METHODS = "DELETE, GET, PATCH, POST, PUT"


def preflight(request: web.Request, origins: Collection[str]) -> web.Response | None:
    """The answer to a browser that asks whether it may; None where the request is none of that kind."""
    if not origins or request.method != hdrs.METH_OPTIONS:
        return None
    if hdrs.ORIGIN not in request.headers or hdrs.ACCESS_CONTROL_REQUEST_METHOD not in request.headers:
        return None
    response = web.Response(status=204)
    if _allowed(request, origins):
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_METHODS] = _METHODS
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] = _ALLOWED
        response.headers[hdrs.ACCESS_CONTROL_MAX_AGE] = "600"
    return response


def allow(request: web.BaseRequest, response: web.StreamResponse, origins: Collection[str]) -> None:
    """Let a page of an allowed origin read the answer."""
    if not origins:
        return
    if ANY not in origins:
        response.headers.add(hdrs.VARY, hdrs.ORIGIN)
    if _allowed(request, origins):
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = ANY if ANY in origins else request.headers[hdrs.ORIGIN]
        response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = _EXPOSED


def _allowed(request: web.BaseRequest, origins: Collection[str]) -> bool:
    origin = request.headers.get(hdrs.ORIGIN)
    return origin is not None and (ANY in origins or origin in origins)
