"""Messages as people look at them and act on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from relay.model.act import Act, WhyNot
from relay.model.delivery import Attempt
from relay.model.event import Event
from relay.model.explanation import DeliveryExplanation, DeliveryStanding
from relay.model.message import MessageDetail, MessageState, Priority, QueueId


@dataclass(frozen=True, slots=True)
class MessageFilter:
    """What a listing asks for; None asks nothing. `before` is the cursor: the last id of the page before (newest first)."""

    tenant: str | None = None
    states: frozenset[MessageState] = frozenset()
    batch: str | None = None
    client_id: str | None = None
    account: str | None = None
    recipient: str | None = None
    since: int | None = None
    until: int | None = None
    tags: tuple[str, ...] = ()
    """All of them."""
    priority: Priority | None = None
    suspended: bool | None = None
    before: QueueId | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """How the queue stands, by queue key: deliveries by state, and the earliest due time of those that are ready.

    `suspended` counts those that a claim has met and put aside; behind them more may stand as ready.
    """

    queue_key: str
    ready: int
    suspended: int
    leased: int
    held: int
    next_due: int | None


@dataclass(frozen=True, slots=True)
class Acted:
    """What an act did to a message: to how many recipients, and how many it left because they are being attempted."""

    detail: MessageDetail
    """As it stands now; of one that was deleted, as it was."""
    concerned: int
    under_way: int


@dataclass(frozen=True, slots=True)
class ActedOnAll:
    """What an act did, or would do, to the messages that a filter found."""

    matched: int
    changed: int
    skipped: Mapping[WhyNot, int]
    next_before: QueueId | None
    """From where to go on; None: there is no more."""


class MessageArchive(Protocol):
    """Reading what was accepted, and the acts of an operator on it."""

    async def list_messages(self, wanted: MessageFilter) -> Sequence[MessageDetail]:
        """A page, newest first."""

    async def message(self, tenant: str | None, message: QueueId) -> MessageDetail:
        """One message; NotFound."""

    async def events(self, tenant: str | None, message: QueueId) -> Sequence[Event]:
        """Its events in order; NotFound."""

    async def attempts(self, tenant: str | None, message: QueueId) -> Sequence[Attempt]:
        """Its attempts in order; NotFound."""

    async def deliveries(self, tenant: str | None, message: QueueId) -> Sequence[DeliveryStanding]:
        """How its deliveries stand, in order; NotFound."""

    async def act(
        self, tenant: str | None, message: QueueId, act: Act, at: int, *, account: str | None = None
    ) -> Acted:
        """Do something to it, as far as it is not being attempted; `account` is where a reroute leads. NotFound, Invalid
        (the account), Conflict where nothing could be done."""

    async def act_on_all(
        self, wanted: MessageFilter, act: Act, at: int, *, account: str | None = None, dry_run: bool = False
    ) -> ActedOnAll:
        """The same to all messages of a tenant that a filter finds, newest first, at most `wanted.limit`, in small
        transactions. Invalid (the account)."""

    async def counts(self) -> Sequence[QueueCounts]:
        """How each queue stands."""


class Explainer(Protocol):
    """Saying why a message has not been sent yet."""

    async def explain(self, tenant: str | None, message: QueueId) -> Sequence[DeliveryExplanation]:
        """Each of its deliveries that is not done; NotFound."""
