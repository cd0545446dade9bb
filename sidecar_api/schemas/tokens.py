"""Tokens, as the API reads and shows them. A secret is shown once, when it is made."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from typing_extensions import TypedDict

from relay.clock import rfc3339
from relay.model.tenant import Scope, Token
from sidecar_api.schemas.exact import exact
from sidecar_api.schemas.examples import example
from sidecar_api.schemas.fields import (
    Identifier,
    Name,
    Strict,
    TimeIn,
)
from sidecar_api.schemas.views import when


@example({"name": "newsletter", "scopes": ["send", "read"], "expires_at": "2027-01-01T00:00:00Z"})
class TokenIn(Strict):
    """A new token. `tenant` is an admin's to say (null: an admin's token); scopes not named are the caller's own."""

    name: Name
    tenant: Identifier | None = None
    scopes: list[Literal["send", "read", "manage"]] | None = Field(default=None, min_length=1, max_length=3)
    expires_at: TimeIn | None = None


@example({"id": "acme", "token": "sp_Jx3kQ0bWm…"})
@exact
class IssuedTokenOut(TypedDict):
    """A token, shown this once; `id` is the tenant's where a tenant was made, else the token's."""

    id: str
    token: str


@example(
    {
        "id": "t-5f3a",
        "name": "newsletter",
        "tenant": "acme",
        "scopes": ["read", "send"],
        "expires_at": "2027-01-01T00:00:00Z",
        "created_at": "2026-01-01T00:00:00Z",
    }
)
@exact
class TokenOut(TypedDict):
    """A token without its secret; `tenant` null is an admin's."""

    id: str
    name: str
    tenant: str | None
    scopes: list[str]
    expires_at: str | None
    created_at: str


@exact
class TokensOut(TypedDict):
    """All of a tenant."""

    items: list[TokenOut]
    next_cursor: str | None


def token_out(token: Token) -> TokenOut:
    """A token without its secret."""
    return TokenOut(
        id=token.id,
        name=token.name,
        tenant=token.tenant,
        scopes=sorted(scope.value for scope in token.scopes),
        expires_at=when(token.expires_at),
        created_at=rfc3339(token.created_at),
    )


SCOPES = {scope.value: scope for scope in Scope}
