"""Delivery: a message on its way to one next hop; the unit of scheduling.

NewMessage goes into the queue, LeasedDelivery comes out of it for one attempt, Attempt says what the world answered,
Settlement is what follows from that and is written in one transaction.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import count

from relay.model.address import Address
from relay.model.event import Event, EventKind
from relay.model.health import AccountHealth
from relay.model.limit import Slots
from relay.model.message import DeliveryState, Message, MessageState, QueueId, Recipient, RecipientState
from relay.model.quick import quick
from relay.model.reply import Reply
from relay.model.suppression import Suppression
from relay.model.word import Word

_OPEN, _QUEUED = MessageState.OPEN, RecipientState.QUEUED


@dataclass(frozen=True, slots=True)
class StoredContent:
    """Content that a content writer has already made durable: it is in no memory."""

    size: int


@quick
@dataclass(frozen=True, slots=True)
class NewDelivery:
    """A delivery to be queued for all recipients of its message. `leased`: this instance attempts it at once."""

    queue_key: str
    due: int
    leased: bool


@dataclass(frozen=True, slots=True)
class NewKey:
    """By what a message is known when it is handed in again: the client's idempotency key, or one of our own."""

    name: str
    digest: str
    """What a repeat is held against: SHA-256 of what the client handed in, in hex."""
    kept_until: int


@quick
@dataclass(frozen=True, slots=True)
class NewMessage:
    """What intake hands the queue: written as a whole, durable when `accept` returns."""

    message: Message
    recipients: tuple[Recipient, ...]
    content: bytes | StoredContent
    delivery: NewDelivery
    events: tuple[Event, ...]
    key: NewKey | None = None

    @property
    def is_open(self) -> bool:
        """Whether anybody is to be sent to: where all recipients are suppressed there is no delivery."""
        return self.message.state is _OPEN

    @property
    def waiting(self) -> tuple[Recipient, ...]:
        """Those to be sent to; `recipients` itself where they are all."""
        waiting = tuple([one for one in self.recipients if one.state is _QUEUED])
        return self.recipients if waiting == self.recipients else waiting

    def in_place_of(self, other: QueueId) -> NewMessage:
        """The same as an edit of one that is still queued, as its events tell."""
        at, tenant = self.message.accepted_at, self.message.tenant
        ended = Event(EventKind.CANCELLED, at, tenant, other, facts={"replaced_by": self.message.id})
        told = tuple(
            replace(one, facts={**one.facts, "replaces": other}) if one.kind is EventKind.ACCEPTED else one
            for one in self.events
        )
        return NewMessage(self.message, self.recipients, self.content, self.delivery, (ended, *told), self.key)


@quick
@dataclass(frozen=True, slots=True)
class LeasedDelivery:
    """The right to attempt `id` once, as attempt number `attempt` (the fence), for its open recipients."""

    id: str
    message: Message
    queue_key: str
    attempt: int
    recipients: tuple[Recipient, ...]
    content: bytes | None
    """The whole content where it is small; None: stream it from the content store."""
    due: int
    """When it was due: what its wait is measured from, and its place in the queue if it is given back."""
    slots: tuple[Slots, ...] = ()
    """What it has taken under limits."""
    over: str | None = None
    """The key of a limit that is reached and rejects: it is not to be attempted, but failed."""
    whole: bool = False
    """Known to be for all recipients of its message: what becomes of them is what becomes of the message."""
    suppressed: tuple[tuple[int, Suppression], ...] = ()
    """Recipients, by position, that were put on the tenant's list after the message was accepted, and why."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a claim brought, and when the queue it asked is due next (µs; None: nothing waits there)."""

    deliveries: tuple[LeasedDelivery, ...]
    next_due: int | None
    blocked_until: int | None = None
    """Where a limit let no more through: when (µs) the next slot opens, unless one is given back before."""
    again: bool = False
    """What came first was found suspended and put aside: behind it there may be more, to be asked for at once."""


@dataclass(frozen=True, slots=True)
class QueueHead:
    """One queue with deliveries waiting, and when its earliest is due."""

    queue_key: str
    next_due: int


class Verdict(Word):
    """What one attempt means for one recipient, before retry policy has its say."""

    SENT = "sent"
    DEFERRED = "deferred"
    FAILED = "failed"
    UNKNOWN = "unknown"
    CAPTURED = "captured"


class Phase(Word):
    """How far a transaction had come (RFC 5321 §3)."""

    CONNECT = "connect"
    TLS = "tls"
    EHLO = "ehlo"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    BODY = "body"
    DOT = "dot"


class Category(Word):
    """Why, in a word that reports and metrics can group by."""

    NONE = "none"
    MAILBOX = "mailbox"  # no such mailbox, or disabled
    MAILBOX_FULL = "mailbox_full"
    POLICY = "policy"  # refused for its content, sender or reputation
    RATE = "rate"  # too much, too fast
    CONTENT = "content"  # size, format, features
    AUTH = "auth"
    TLS = "tls"
    DNS = "dns"
    CONNECTION = "connection"
    TIMEOUT = "timeout"
    PROTOCOL = "protocol"  # an answer outside the protocol
    CONFIGURATION = "configuration"  # ours: no account, no secret
    EXPIRED = "expired"
    OTHER = "other"


@quick
@dataclass(frozen=True, slots=True)
class Asked:
    """A delay (µs) that a reply asks for in its text, or an operator's rule for such replies demands."""

    delay: int
    by_rule: bool = False


@quick
@dataclass(frozen=True, slots=True)
class RecipientOutcome:
    """What the attempt brought one recipient."""

    position: int
    verdict: Verdict
    reply: Reply | None
    category: Category = Category.NONE
    phase: Phase = Phase.DOT
    asked: Asked | None = None
    """When to try again, where it is deferred and somebody has said so."""


@dataclass(frozen=True, slots=True)
class AccountFault:
    """A failure that is the account's or the way's, not the mail's: the queue waits, no attempt is counted."""

    category: Category
    phase: Phase
    reply: Reply | None
    detail: str
    """For people: what failed, with no secret in it."""
    asked: Asked | None = None


@quick
@dataclass(frozen=True, slots=True)
class Attempt:
    """One try. With a `fault`, `outcomes` may be empty: those recipients stay as they were."""

    outcomes: tuple[RecipientOutcome, ...]
    started_at: int
    finished_at: int
    next_hop: str
    """`host:port`, or `capture`."""
    peer: str | None = None
    """The address connected to."""
    tls: str | None = None
    """The protocol version, such as TLSv1.3."""
    reused: bool = False
    """Whether the connection had carried mail before."""
    fault: AccountFault | None = None
    transcript: tuple[str, ...] = ()
    """What was said, line by line (relay.delivery.transcript)."""


@quick
@dataclass(frozen=True, slots=True)
class RecipientChange:
    """A recipient's new state."""

    position: int
    state: RecipientState
    reply: Reply | None
    category: str | None
    attempts: int


@dataclass(frozen=True, slots=True)
class Part:
    """Some recipients of a delivery, by position, and the queue in which they wait from now on."""

    queue_key: str
    positions: tuple[int, ...]


@quick
@dataclass(frozen=True, slots=True)
class Settlement:
    """What follows from an attempt: written in one transaction, by the holder of (delivery, attempt) alone."""

    delivery: str
    attempt: int
    message: QueueId
    tenant: str
    queue_key: str
    """Where the delivery waits from now on (a changed account moves it)."""
    state: DeliveryState
    """READY, HELD or DONE."""
    due: int
    """When READY: the next attempt. Else ignored."""
    at: int
    recipients: tuple[RecipientChange, ...]
    events: tuple[Event, ...]
    record: Attempt | None = field(default=None)
    """Kept as a row of attempts; None where nothing was tried."""
    counts: bool = True
    """Whether it counts as an attempt (an account fault does not)."""
    slots: tuple[Slots, ...] = ()
    """The delivery's slots, which end with its lease."""
    spent: bool = True
    """Whether they count as sent from now on; else they are given back."""
    parts: tuple[Part, ...] = ()
    """Recipients that leave it for deliveries of their own, ready and due as it is."""
    whole: bool = False
    """`recipients` are all that the message has: their states give its state, and nobody need read it from the rows."""
    suppressions: tuple[Suppression, ...] = ()
    """Addresses that are to be sent to no more."""
    health: AccountHealth | None = None
    """Its account's, where that has changed: the other processes of this instance are told of it."""


def delivery_id(message: QueueId, number: int) -> str:
    """The id of a message's n-th delivery, from 1: greps by queue id."""
    return f"{message}.{number}"


def new_recipients(addresses: tuple[Address, ...]) -> tuple[Recipient, ...]:
    """Fresh recipients in their order."""
    return tuple(map(Recipient, count(), addresses))
