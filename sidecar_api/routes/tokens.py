"""Routes to tokens."""

from __future__ import annotations

from sidecar_api.resources import tokens
from sidecar_api.route import Group, create, delete, get
from sidecar_api.schemas.tokens import IssuedTokenOut, TokenIn, TokensOut

GROUP = Group(
    "tokens",
    "What clients of this API present: of a tenant or an admin, with scopes and an expiry.",
    (
        get("/v1/tokens", tokens.list_tokens, TokensOut, "List tokens"),
        create("/v1/tokens", tokens.add_token, TokenIn, IssuedTokenOut, "Make a token"),
        delete("/v1/tokens/{id}", tokens.revoke_token, "Revoke a token"),
    ),
)
