"""Explanation: why a message has not been sent yet, delivery by delivery; what an operator asks first."""

from __future__ import annotations

from dataclasses import dataclass

from relay.model.address import Address
from relay.model.message import DeliveryState
from relay.model.word import Word


class ReasonKind(Word):
    """What a delivery waits for."""

    NOT_YET = "not_yet"  # its send-at or its retry is due later
    HELD = "held"
    SUSPENDED = "suspended"
    LIMIT = "limit"
    PAUSED = "paused"  # its account's breaker is open
    NO_ACCOUNT = "no_account"  # or one that is disabled
    ATTEMPTED = "attempted"  # leased: an instance is at it
    INACTIVE = "inactive"  # the scheduler is stopped, or this instance does not send
    TURN = "turn"  # nothing else: a free connection, and what stands before it


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that keeps it back; `until` (µs) where that is known."""

    kind: ReasonKind
    detail: str
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """By which way it goes: the account as it is now."""

    account: str
    """Account.key."""
    kind: str
    next_hop: str
    """`host:port`, or `capture`."""
    tls: str


@dataclass(frozen=True, slots=True)
class DeliveryStanding:
    """How a delivery stands in the store."""

    id: str
    queue_key: str
    state: DeliveryState
    due: int
    attempt: int
    holder: str | None
    lease_left: int | None
    """µs until its lease ends unless it is renewed; below 0 it is about to be taken over."""
    recipients: tuple[Address, ...]
    """Those still open."""


@dataclass(frozen=True, slots=True)
class WindowStanding:
    """How much of a window of a limit is used: sent within it, or under way."""

    length: str
    """`minute`, `hour` or `day`."""
    most: int
    used: int
    """More than `most` where the limit was lowered."""


@dataclass(frozen=True, slots=True)
class LimitStanding:
    """How a limit stands for one more: `opens_at` None is open now."""

    key: str
    in_flight: int
    opens_at: int | None
    windows: tuple[WindowStanding, ...] = ()


@dataclass(frozen=True, slots=True)
class LaneStanding:
    """How dispatch of this instance stands towards a queue."""

    active: bool
    free: int
    capacity: int
    faults: int
    """Of its account, in a row; 0 is a closed breaker."""
    ailment: str
    """The latest of them."""
    paused_until: int
    """While faults stand."""


@dataclass(frozen=True, slots=True)
class DeliveryExplanation:
    """Why one delivery waits, and when it is tried next (µs; None: an event must come first)."""

    delivery: DeliveryStanding
    route: Route | None
    reasons: tuple[Reason, ...]
    next_attempt_at: int | None
