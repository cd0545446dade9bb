"""Event: what happened to a message, a recipient or an account. Append-only; the source of reports and of the mail log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from relay.model.message import QueueId
from relay.model.quick import quick
from relay.model.word import Word

Facts = Mapping[str, str | int | None]
"""As reports show them: an instant is RFC 3339."""


class EventKind(Word):
    """The kinds, as reports name them."""

    ACCEPTED = "accepted"
    DEFERRED = "deferred"
    SENT = "sent"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    HELD = "held"
    RELEASED = "released"
    REROUTED = "rerouted"
    SUPPRESSED = "suppressed"  # the tenant must not send to the recipient
    UNKNOWN = "unknown"
    CAPTURED = "captured"
    ACCOUNT_PAUSED = "account_paused"  # its own fault: its mail waits
    ACCOUNT_RESUMED = "account_resumed"


@quick
@dataclass(frozen=True, slots=True)
class Event:
    """`recipient` is an address, or None where the event speaks of the whole message; `at` in µs.

    One of an account has no `message`, and its owner as `tenant` (INSTANCE where it serves all).
    """

    kind: EventKind
    at: int
    tenant: str
    message: QueueId | None
    recipient: str | None = None
    facts: Facts = field(default_factory=dict)
    sequence: int = 0
    """Given by the store; the order of the feed. 0 until stored."""
