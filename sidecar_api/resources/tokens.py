"""Tokens: what clients of the API present, and with what right they call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import orjson
from aiohttp import hdrs, web

from relay.clock import Clock
from relay.errors import Invalid, NotFound, Violation
from relay.model.tenant import Scope, Token
from relay.secrets import generate_token, token_hash
from sidecar_api.auth import existing_tenant, tenant_or_any
from sidecar_api.call import Call, answer, no_content
from sidecar_api.etags import etag_of, must_match
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
    scopes = call.caller.scopes if wanted.scopes is None else frozenset(shapes.SCOPES[one] for one in wanted.scopes)
    _check(call, scopes, wanted.expires_at)
    tenant = await _tenant_of_token(call, wanted.tenant)
    token, secret = new_token(wanted.name, tenant, scopes, wanted.expires_at, call.services.clock)
    token = replace(token, networks=tuple(wanted.networks))
    await call.services.directory.add_token(token, token_hash(secret))
    return answer(201, shapes.IssuedTokenOut(id=token.id, token=secret))


def _check(call: Call, scopes: frozenset[Scope], expires_at: int | None) -> None:
    if not scopes <= call.caller.scopes:
        raise ProblemError(403, "missing_scope", "a token cannot give scopes that it lacks itself")
    if expires_at is not None and expires_at <= call.services.clock.now():
        raise Invalid(Violation("/expires_at", "has passed"))


async def show_token(call: Call) -> web.Response:
    """GET /v1/tokens/{id}."""
    return _shown(await _token(call))


def _shown(token: Token) -> web.Response:
    return answer(200, shapes.token_out(token), {hdrs.ETAG: etag_of(orjson.dumps(_settings(token)))})


def _settings(token: Token) -> dict[str, object]:
    """What can be changed by somebody who has read it before: not when it was last used."""
    return {name: value for name, value in shapes.token_out(token).items() if name != "last_used_at"}


async def change_token(call: Call) -> web.Response:
    """PATCH /v1/tokens/{id}: never to more rights than the caller's own."""
    wanted = call.given(shapes.TokenPatch)

    def change(token: Token) -> Token:
        must_match(call.request, _settings(token))
        changed = wanted.apply_to(token)
        _check(call, changed.scopes, changed.expires_at if changed.expires_at != token.expires_at else None)
        return changed

    return _shown(await _change(call, change))


async def _token(call: Call) -> Token:
    directory = call.services.directory
    tenant = await tenant_or_any(call.caller, call.asked(TenantQuery).tenant, directory)
    for token in await directory.tokens(tenant):
        if token.id == call.named():
            return token
    raise NotFound(f"no token {call.named()}")


async def _change(call: Call, change: Callable[[Token], Token]) -> Token:
    directory = call.services.directory
    tenant = await tenant_or_any(call.caller, call.asked(TenantQuery).tenant, directory)
    return await directory.change_token(tenant, call.named(), change)


async def rotate_token(call: Call) -> web.Response:
    """POST /v1/tokens/{id}/rotate: a new secret, and the old one good for a while."""
    directory, clock = call.services.directory, call.services.clock
    token = await _token(call)
    _check(call, token.scopes, None)
    until = clock.now() + call.given(shapes.RotationIn).overlap
    _, secret = generate_token()
    await directory.rotate_token(token.tenant, token.id, token_hash(secret), until)
    return answer(200, shapes.IssuedTokenOut(id=token.id, token=secret))


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
