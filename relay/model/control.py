"""Controls: what a client may say about a message besides its envelope and content; the same at every door."""

from __future__ import annotations

from dataclasses import dataclass

from relay.model.message import Priority
from relay.model.quick import quick


@quick
@dataclass(frozen=True, slots=True)
class Controls:
    """None (or an empty tuple) is "not said", so that a default of the credential or tenant can stand in."""

    priority: Priority | None = None
    batch: str | None = None
    not_before: int | None = None
    """µs since the epoch."""
    expires_at: int | None = None
    """µs since the epoch."""
    account: str | None = None
    client_id: str | None = None
    idempotency_key: str | None = None
    tags: tuple[str, ...] = ()
    metadata: str | None = None
    """A JSON object as text."""


UNSAID = Controls()
"""Nothing was said: what most messages come with."""
