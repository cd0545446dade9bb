"""Command: what somebody did by the API: who, from where, for whom, with what, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Command:
    """`actor` is a token's id, or `local` for the command line; `body` JSON with its secrets masked."""

    at: int
    actor: str
    tenant: str | None
    """Whom it was done for; None: the instance."""
    peer: str | None
    """From where; None: over the Unix socket."""
    request_id: str
    operation: str
    """As the description of the API calls it."""
    method: str
    path: str
    """With its query, which says for whom, or up to when."""
    status: int
    body: str | None = None
    sequence: int = 0
    """Given by the store; 0 until then."""
