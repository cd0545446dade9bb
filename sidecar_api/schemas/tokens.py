"""Tokens, as the API reads and shows them. A secret is shown once, when it is made."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from typing_extensions import TypedDict

from relay.clock import rfc3339
from relay.model.tenant import Scope, Token
from sidecar_api.schemas.exact import exact
from sidecar_api.schemas.examples import example
from sidecar_api.schemas.fields import (
    Identifier,
    Name,
    Networks,
    Overlap,
    Strict,
    TimeIn,
)
from sidecar_api.schemas.patch import Patch
from sidecar_api.schemas.views import when

_Scopes = Annotated[list[Literal["send", "read", "manage"]], Field(min_length=1, max_length=3)]


@example({"name": "newsletter", "scopes": ["send", "read"], "expires_at": "2027-01-01T00:00:00Z"})
class TokenIn(Strict):
    """A new token. `tenant` is an admin's to say (null: an admin's token); scopes not named are the caller's own."""

    name: Name
    tenant: Identifier | None = None
    scopes: _Scopes | None = None
    expires_at: TimeIn | None = None
    networks: Networks = Field(default_factory=list)


def _read_scopes(names: list[str]) -> frozenset[Scope]:
    return frozenset(SCOPES[name] for name in names)


@example({"name": "newsletter 2", "networks": ["192.0.2.0/24"]})
class TokenPatch(Patch):
    """What can be changed of a token; `expires_at` null is never."""

    name: Name = ""
    scopes: Annotated[_Scopes, AfterValidator(lambda names: frozenset(SCOPES[name] for name in names))] = Field(
        default_factory=list
    )
    expires_at: TimeIn | None = None
    networks: Annotated[Networks, AfterValidator(tuple)] = Field(default_factory=list)


@example({"overlap": "24h"})
class RotationIn(Strict):
    """A new secret for a token: what was good before stays so for `overlap`, a day unless said otherwise."""

    overlap: Overlap = Field(default="24h", validate_default=True)


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
        "networks": [],
        "last_used_at": "2026-11-22T08:00:00Z",
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
    networks: list[str]
    last_used_at: str | None
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
        networks=[str(network) for network in token.networks],
        last_used_at=when(token.last_used_at),
        created_at=rfc3339(token.created_at),
    )


SCOPES = {scope.value: scope for scope in Scope}
