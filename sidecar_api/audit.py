"""Audit: what of a request goes into the command log. Secrets do not, and neither does mail."""

from __future__ import annotations

import logging
from typing import Any

import orjson

from relay.errors import RelayError
from relay.model.command import Command
from sidecar_api.call import Call
from sidecar_api.route import Route

MASK = "***"
SECRETS = frozenset(
    {"password", "secret", "token", "api_key", "api_token", "authorization", "imap_password", "bounce_imap_password"}
)
"""Members whose values are masked, at any depth; a test holds every member that no answer shows against it."""
MAX_BODY = 16 * 1024
"""Octets of JSON; a longer body is left out."""

_OF_TENANTS = ("/v1/tenants/{id}", "/tenant/{id}")

log = logging.getLogger(__name__)


async def record(route: Route, call: Call, status: int) -> None:
    """Write down that a route was called. A store that does not answer must not undo what was done."""
    if not route.audited:
        return
    request = call.request
    command = Command(
        at=call.services.clock.now(),
        actor=call.caller.name,
        tenant=_tenant_of(route, call),
        peer=None if call.local else request.remote,
        request_id=call.request_id,
        operation=route.name,
        method=request.method,
        path=request.path_qs,
        status=status,
        body=_body_of(call),
    )
    try:
        await call.services.commands.record(command)
    except RelayError as error:
        log.warning("request %s is not in the command log: %s", call.request_id, error)


def _tenant_of(route: Route, call: Call) -> str | None:
    """Whom it was done for."""
    if call.caller.tenant is not None:
        return call.caller.tenant
    if route.path.startswith(_OF_TENANTS):
        return call.parts["id"]
    said = (getattr(part, name, None) for part in (call.query, call.body) for name in ("tenant", "tenant_id"))
    named = next(filter(None, said), None)
    return named if isinstance(named, str) and named != "*" else None


def _body_of(call: Call) -> str | None:
    """As it came, if it was understood: what was not may hold a secret under any name."""
    if call.body is None:
        return None
    octets = orjson.dumps(masked(orjson.loads(call.octets)))
    return octets.decode() if len(octets) <= MAX_BODY else orjson.dumps({"left_out": len(octets)}).decode()


def masked(value: Any) -> Any:
    """The same without its secrets."""
    if isinstance(value, dict):
        return {
            name: MASK if name.lower() in SECRETS and inner is not None else masked(inner)
            for name, inner in value.items()
        }
    return [masked(each) for each in value] if isinstance(value, list) else value
