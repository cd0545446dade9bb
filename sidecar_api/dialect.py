"""Dialect: how a route is spoken to, apart from what it does: by which header field a caller shows its token, and in which
shape it reads what went wrong. Ours, and that of genro-mail-proxy."""

from __future__ import annotations

from enum import Enum


class Dialect(Enum):
    """Of a row of the route table."""

    OURS = "ours", "Authorization", "Bearer"
    """problem+json."""
    GENRO = "genro", "X-API-Token", "X-API-Token"
    """`{"detail": …}` (`sidecar_api.genro`)."""

    def __init__(self, word: str, header: str, challenge: str) -> None:
        self.word = word
        self.header = header
        """The header field with the token."""
        self.challenge = challenge
        """The scheme that a 401 asks for."""

    def secret_in(self, value: str) -> str | None:
        """The token in that field; None where it is no token's."""
        if self is Dialect.GENRO:
            return value.strip()
        scheme, _, secret = value.partition(" ")
        return secret.strip() if scheme.lower() == "bearer" else None
