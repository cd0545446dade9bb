"""Message: what a client handed in, its recipients, and the states they pass through.

The tokens of the enums are the tokens of SQL, API, CLI and log. The transitions stand here and nowhere else;
`docs/architecture.md` draws them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from typing import NewType

from relay.model.address import Address
from relay.model.quick import quick
from relay.model.reply import Reply
from relay.model.word import Word

QueueId = NewType("QueueId", str)


class Priority(IntEnum):
    """0 goes first."""

    IMMEDIATE = 0
    HIGH = 1
    MEDIUM = 2
    LOW = 3


class Source(Word):
    """The door by which a message came in."""

    SMTP = "smtp"
    REST = "rest"
    SENDMAIL = "sendmail"


class RecipientState(Word):
    """The outcome for one recipient, so far."""

    QUEUED = "queued"  # waiting for its first attempt
    DEFERRED = "deferred"  # tried, refused for now, due again
    HELD = "held"  # kept back until somebody releases it
    UNKNOWN = "unknown"  # the final dot was sent, the reply never came
    SENT = "sent"  # the next hop took responsibility
    FAILED = "failed"  # refused for good, or out of retries
    EXPIRED = "expired"  # its time passed before it could be sent
    CANCELLED = "cancelled"  # taken back by its owner
    SUPPRESSED = "suppressed"  # the tenant must not send to it
    CAPTURED = "captured"  # kept by a capture account, never sent


class DeliveryState(Word):
    """Where a delivery stands in the schedule."""

    READY = "ready"  # to be claimed when due
    LEASED = "leased"  # one instance has the right to attempt it
    HELD = "held"  # not to be claimed
    DONE = "done"  # no recipient of it is open


class MessageState(Word):
    """Derived from the recipients; `preparing` is a draft still to be composed."""

    PREPARING = "preparing"
    OPEN = "open"
    HELD = "held"
    SENT = "sent"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"
    CAPTURED = "captured"


OPEN_STATES = frozenset({RecipientState.QUEUED, RecipientState.DEFERRED, RecipientState.UNKNOWN, RecipientState.HELD})
"""A recipient in one of these may still be attempted."""

CLOSED_STATES = frozenset(
    {
        MessageState.SENT,
        MessageState.PARTIAL,
        MessageState.FAILED,
        MessageState.CANCELLED,
        MessageState.CAPTURED,
    }
)
"""A message in one of these has no recipient to be attempted, but by an operator's retry."""

_OUTCOMES = frozenset(
    {
        RecipientState.SENT,
        RecipientState.FAILED,
        RecipientState.DEFERRED,
        RecipientState.UNKNOWN,
        RecipientState.EXPIRED,
        RecipientState.CANCELLED,
        RecipientState.SUPPRESSED,
        RecipientState.CAPTURED,
        RecipientState.HELD,
    }
)
_AGAIN = frozenset({RecipientState.QUEUED})

TRANSITIONS: Mapping[RecipientState, frozenset[RecipientState]] = {
    RecipientState.QUEUED: _OUTCOMES,
    RecipientState.DEFERRED: _OUTCOMES | _AGAIN,
    RecipientState.UNKNOWN: _OUTCOMES | _AGAIN,
    RecipientState.HELD: _AGAIN | {RecipientState.CANCELLED, RecipientState.EXPIRED},
    RecipientState.FAILED: _AGAIN,  # by an operator's retry alone
    RecipientState.EXPIRED: _AGAIN,  # the same
    RecipientState.SENT: frozenset(),
    RecipientState.CANCELLED: frozenset(),
    RecipientState.SUPPRESSED: frozenset(),
    RecipientState.CAPTURED: frozenset(),
}


@quick
@dataclass(frozen=True, slots=True)
class Message:
    """The immutable facts of an accepted message; times in µs since the epoch."""

    id: QueueId
    tenant: str
    sender: Address
    priority: Priority
    accepted_at: int
    size: int
    """Octets of the content as it will be sent."""
    message_id: str
    """The Message-ID header field, with its angle brackets."""
    source: Source
    account: str
    """The account's id; which of that name (the tenant's own, else the instance's) is found at each attempt."""
    client_id: str | None = None
    batch: str | None = None
    not_before: int | None = None
    expires_at: int | None = None
    tags: tuple[str, ...] = ()
    metadata: str | None = None
    """A JSON object, as the client gave it."""
    eight_bit: bool = False
    smtputf8: bool = False
    state: MessageState = MessageState.OPEN


@quick
@dataclass(frozen=True, slots=True)
class Recipient:
    """One recipient of a message, as it stands."""

    position: int
    address: Address
    state: RecipientState = RecipientState.QUEUED
    reply: Reply | None = None
    category: str | None = None
    attempts: int = 0
    next_attempt_at: int | None = None
    """When its delivery is due again; None once it is closed."""
    changed_at: int | None = None


@dataclass(frozen=True, slots=True)
class MessageDetail:
    """A message with its recipients, as the doors show it."""

    message: Message
    recipients: tuple[Recipient, ...] = field(default=())
    suspended: bool = False
    """It is not closed, and its tenant or batch is suspended."""


@lru_cache(maxsize=1024)
def derive_state(states: frozenset[RecipientState]) -> MessageState:
    """The state of a message whose recipients are in `states` (never empty)."""
    if states & {RecipientState.QUEUED, RecipientState.DEFERRED, RecipientState.UNKNOWN}:
        return MessageState.OPEN
    for token, state in (
        (RecipientState.HELD, MessageState.HELD),
        (RecipientState.CAPTURED, MessageState.CAPTURED),
    ):
        if token in states:
            return state
    if states == {RecipientState.SENT}:
        return MessageState.SENT
    if RecipientState.SENT in states:
        return MessageState.PARTIAL
    return MessageState.CANCELLED if states == {RecipientState.CANCELLED} else MessageState.FAILED
