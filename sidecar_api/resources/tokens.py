"""Tokens: what clients of the API present, and with what right they call."""

from __future__ import annotations

from aiohttp import web

from relay.clock import Clock
from relay.errors import Invalid, Violation
from relay.model.tenant import Scope, Token
from relay.secrets import generate_token, token_hash
from sidecar_api.auth import existing_tenant, tenant_or_any
from sidecar_api.call import Call, answer, no_content
from sidecar_api.problems import ProblemError
from sidecar_api.schemas import tokens as shapes
from sidecar_api.schemas.queries import TenantQuery


async def list_tokens(call: Call) -> web.Response:
    """GET /v1/tokens."""
    directory = call.services.directory
    tokens = await directory.tokens(await tenant_or_any(call.caller, call.asked(TenantQuery).tenant, directory))
    return answer(200, shapes.TokensOut(items=[shapes.token_out(one) for one in tokens], next_cursor=None))


async def add_token(call: Call) -> web.Response:
    """POST /v1/tokens: never with more rights than the caller's own."""
    wanted = call.given(shapes.TokenIn)
    caller, services = call.caller, call.services
    scopes = caller.scopes if wanted.scopes is None else frozenset(shapes.SCOPES[one] for one in wanted.scopes)
    if not scopes <= caller.scopes:
        raise ProblemError(403, "missing_scope", "a token cannot give scopes that it lacks itself")
    if wanted.expires_at is not None and wanted.expires_at <= services.clock.now():
        raise Invalid(Violation("/expires_at", "has passed"))
    tenant = await _tenant_of_token(call, wanted.tenant)
    token, secret = new_token(wanted.name, tenant, scopes, wanted.expires_at, services.clock)
    await services.directory.add_token(token, token_hash(secret))
    return answer(201, shapes.IssuedTokenOut(id=token.id, token=secret))


async def _tenant_of_token(call: Call, in_body: str | None) -> str | None:
    """The tenant by query or body, which must not differ; None (by an admin alone) is an admin's token."""
    in_query = call.asked(TenantQuery).tenant
    if in_query is not None and in_body is not None and in_query != in_body:
        raise Invalid(Violation("/tenant", "differs from ?tenant"))
    tenant = await tenant_or_any(call.caller, in_body or in_query, call.services.directory)
    return None if tenant is None else await existing_tenant(tenant, call.services.directory)


async def revoke_token(call: Call) -> web.Response:
    """DELETE /v1/tokens/{id}."""
    directory = call.services.directory
    await directory.revoke_token(
        await tenant_or_any(call.caller, call.asked(TenantQuery).tenant, directory), call.named()
    )
    return no_content()


def new_token(
    name: str, tenant: str | None, scopes: frozenset[Scope], expires_at: int | None, clock: Clock
) -> tuple[Token, str]:
    """A token, and the secret that is shown once."""
    token_id, secret = generate_token()
    return Token(token_id, name, tenant, scopes, expires_at, clock.now()), secret
