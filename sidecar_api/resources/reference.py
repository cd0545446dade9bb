"""The reference: its page, its style and its script, all from the package."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from aiohttp import web

from sidecar_api.call import Call

_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_ASSETS = files("sidecar_api.reference")


async def show_docs(call: Call) -> web.Response:
    """GET /docs."""
    return web.Response(
        body=call.shared.description.page,
        content_type="text/html",
        charset="utf-8",
        headers={"Content-Security-Policy": _POLICY, "Referrer-Policy": "no-referrer"},
    )


async def show_style(call: Call) -> web.Response:
    """GET /docs/reference.css."""
    return _asset(call, "text/css")


async def show_script(call: Call) -> web.Response:
    """GET /docs/reference.js."""
    return _asset(call, "text/javascript")


def _asset(call: Call, content_type: str) -> web.Response:
    """The file of the route's name."""
    return web.Response(body=_octets(call.request.path.rpartition("/")[2]), content_type=content_type, charset="utf-8")


@cache
def _octets(name: str) -> bytes:
    return (_ASSETS / name).read_bytes()
