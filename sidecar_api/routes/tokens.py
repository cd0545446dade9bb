"""Routes to tokens."""

from __future__ import annotations

from sidecar_api.auth import Access
from sidecar_api.resources import tokens
from sidecar_api.route import Group, act, create, delete, get, patch, settings
from sidecar_api.schemas.tokens import IssuedTokenOut, RotationIn, TokenIn, TokenOut, TokenPatch, TokensOut

GROUP = Group(
    "tokens",
    "What clients of this API present: of a tenant or an admin, with scopes and an expiry.",
    (
        get("/v1/tokens", tokens.list_tokens, TokensOut, "List tokens"),
        create("/v1/tokens", tokens.add_token, TokenIn, IssuedTokenOut, "Make a token"),
        settings("/v1/tokens/{id}", tokens.show_token, TokenOut, "Show a token"),
        patch("/v1/tokens/{id}", tokens.change_token, TokenPatch, TokenOut, "Change a token"),
        act(
            "/v1/tokens/{id}/rotate",
            tokens.rotate_token,
            IssuedTokenOut,
            "Give it a new secret; the old one stays good for a while",
            access=Access.MANAGE,
            body=RotationIn,
        ),
        delete("/v1/tokens/{id}", tokens.revoke_token, "Revoke a token"),
    ),
)
