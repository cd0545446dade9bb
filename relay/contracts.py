"""What the parts ask of each other across the walls of the house, as Protocols.

Most are asked of `storage`: one object there, the Store, holds them all, and `relay.app` hands it in. Every method may
raise StoreUnavailable; none leaves a transaction half done. Where a method takes a tenant, `None` means "any" and is for
an admin alone; a thing of another tenant is NotFound, like a missing one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from relay.model.act import Act, WhyNot
from relay.model.bounce_mailbox import BounceMailbox
from relay.model.client_side import ClientSide
from relay.model.command import Command
from relay.model.delivery import Attempt, Claim, LeasedDelivery, NewMessage, QueueHead, Settlement, StoredContent
from relay.model.event import Event, EventKind
from relay.model.explanation import DeliveryExplanation, DeliveryStanding, LimitStanding
from relay.model.instance import Instance
from relay.model.limit import Limits
from relay.model.message import MessageDetail, MessageState, Priority, QueueId
from relay.model.quick import quick
from relay.model.suppression import Found, Imported, Suppression, SuppressionFilter
from relay.model.tenant import Account, Credential, Tenant, Token


@quick
@dataclass(frozen=True, slots=True)
class Accepted:
    """The queue's answer: the message's id; `replayed` when it had come before, as its key tells."""

    id: QueueId
    replayed: bool = False
    replaces: QueueId | None = None
    """It is an edit of this one, which had its client id and was still queued; that one is gone."""
    suppressed: frozenset[str] = frozenset()
    """Recipients that stand on the tenant's list, and are not sent to."""


class MessageQueue(Protocol):
    """The durable queue. Leases are held by this instance; their clock is the store's own affair."""

    def accept(self, new: NewMessage) -> asyncio.Future[Accepted]:
        """Commit a message with its recipients, content, delivery and events; durable when this is done.

        One whose client id a message has that was never attempted takes its place; of one that failed or was cancelled it
        takes the client id. Raises Rejected (DUPLICATE_CLIENT_ID, IDEMPOTENCY_MISMATCH). Not undone when who
        waits is cancelled.
        """

    async def keep_refused(self, refused: NewMessage) -> bool:
        """Write down, as failed, a message that was not accepted, for its client's reports. False: a message has its client
        id and does not give it up, so nothing was written."""

    async def claim(self, queue_key: str, limit: int | Callable[[], int]) -> Claim:
        """Lease up to `limit` due deliveries of one queue: by priority, then by due time. Their attempt number rises.
        A function is asked for it right before they are looked for, perhaps more than once."""

    async def claim_expired(self, limit: int) -> Claim:
        """Lease up to `limit` deliveries that wait although their message has expired, of any queue, earliest first. The
        claim's `next_due` is when the next one expires."""

    async def claim_overdue(self, queue_key: str, wait: int, limit: int) -> Claim:
        """Lease up to `limit` deliveries of one queue that have been due for `wait` µs, without regard to its limits."""

    def settle(self, settlement: Settlement) -> asyncio.Future[bool]:
        """Write what an attempt brought, in the next transaction: on its way when this returns, answered by its commit.
        False: the lease had been lost, and nothing was written."""

    async def release(self, deliveries: Sequence[LeasedDelivery]) -> None:
        """Give leases back untried: ready again as of their due time, the attempt not counted."""

    async def renew(self, deliveries: Sequence[LeasedDelivery]) -> frozenset[str]:
        """Extend leases; answers the ids of those still held."""

    async def recover(self) -> int:
        """Make the deliveries of dead leases ready again; answers how many."""

    async def heads(self) -> Sequence[QueueHead]:
        """Every queue with ready deliveries and when its earliest is due; costs the number of queues, not of messages."""

    async def limits(self, queue_key: str) -> Sequence[LimitStanding]:
        """How the limits of a queue stand for one more delivery."""

    async def open_deliveries(self) -> int:
        """How many deliveries are not done (a start-up count; not for the hot path)."""


class LimitMeters(Protocol):
    """How limits stand, for people."""

    async def standings(self, limits: Mapping[str, Limits]) -> Sequence[LimitStanding]:
        """Of limits by their keys (relay.model.limit), each of which is set, in that order."""


class ContentWriter(Protocol):
    """Takes the content of one message in pieces; holds a bounded part of it in memory."""

    async def write(self, piece: bytes) -> None:
        """Append."""

    async def finish(self) -> bytes | StoredContent:
        """Small content comes back as bytes, to be committed with its message; large content is durable now."""

    async def discard(self) -> None:
        """Forget it; safe at any time, and more than once."""


class ContentStore(Protocol):
    """The bytes of messages."""

    @property
    def small(self) -> int:
        """Content of at most so many octets needs no writer: it is committed with its message."""

    def writer(self, message: QueueId) -> ContentWriter:
        """Open a writer."""

    def read(self, message: QueueId) -> AsyncIterator[bytes]:
        """The content in pieces of at most 1 MiB; NotFound when it is gone."""


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


@dataclass(frozen=True, slots=True)
class BatchStanding:
    """How a batch of a tenant stands: its messages by state. One may be suspended before it has any."""

    tenant: str
    batch: str
    suspended: bool
    """By a word of its own or its tenant's."""
    messages: Mapping[MessageState, int]


class Suspensions(Protocol):
    """Stopping and resuming a tenant (`batch` None) or one of its batches. What it stops stays queued, editable, counted."""

    async def suspend(self, tenant: str, batch: str | None, at: int) -> int:
        """From now on nothing of it is attempted, what comes in included. How many of its messages wait; NotFound."""

    async def resume(self, tenant: str, batch: str | None, at: int, *, everything: bool = False) -> int:
        """What waited may go at once, and a batch even while its tenant stays suspended. Batches that were suspended
        themselves stay so when their tenant is resumed, unless `everything` is. How many of its messages wait; NotFound."""

    async def batches(self, tenant: str, after: str, limit: int) -> Sequence[BatchStanding]:
        """A tenant's, by name, those behind `after`. Costs the number of their messages; NotFound."""

    async def finish(self) -> None:
        """Bring to an end what resumptions before a crash or an outage have left."""


class SuppressionList(Protocol):
    """To whom tenants must not send. A list may be long: it is asked for addresses, never read as a whole. What has ended is
    as if it were not there."""

    async def find(self, tenant: str, addresses: Sequence[str]) -> Found:
        """What stands against these; one indexed look-up for all of them."""

    async def suppressions(self, wanted: SuppressionFilter) -> Sequence[Suppression]:
        """A page, by address."""

    async def suppression(self, tenant: str, address: str) -> Suppression:
        """Exactly this entry (an address in normal form, or a domain); NotFound."""

    async def put(self, tenant: str, entries: Sequence[Suppression]) -> Imported:
        """Put a tenant's on the list, in place of what it says of the same addresses, in one transaction. NotFound."""

    async def remove(self, tenant: str, address: str) -> None:
        """NotFound."""


class NewToken(NamedTuple):
    """A token that is to be, and the hash of its secret (Directory.token)."""

    token: Token
    secret_hash: str


class Directory(Protocol):
    """The instance's settings, tenants and what they own. Look-ups answer from memory and follow every change at once."""

    async def instance(self) -> Instance:
        """The settings of the store's instance."""

    async def change_instance(self, change: Callable[[Instance], Instance]) -> Instance:
        """The settings as they are now; `change` as in change_tenant."""

    @property
    def generation(self) -> int:
        """Rises with each change: what was looked up before holds while it stands. Below zero: nothing is sure to hold."""

    async def tenant(self, tenant: str) -> Tenant:
        """NotFound."""

    async def tenants(self) -> Sequence[Tenant]:
        """All, by id."""

    async def add_tenant(self, tenant: Tenant, first: NewToken | None = None) -> None:
        """With its first token, where one is given, in one transaction. Conflict where an id is taken."""

    async def change_tenant(self, tenant: str, change: Callable[[Tenant], Tenant]) -> Tenant:
        """The tenant as it is now. NotFound; Invalid where its default account is none.

        `change` is a pure function of the tenant as it stands, run inside the transaction (and not on the event loop's
        thread): what it raises leaves all as it was, and no change of another client is lost between reading and writing.
        """

    async def delete_tenant(self, tenant: str) -> None:
        """With all it owns; Conflict while mail of it is open."""

    async def set_default_account(self, tenant: str, account: str) -> None:
        """`tenant` may be INSTANCE. NotFound where either is missing."""

    async def account(self, tenant: str, account: str | None) -> Account | None:
        """The account that mail of `tenant` naming `account` goes by: the tenant's own, else the instance's of that id.

        None asks for the default: the tenant's, else the instance's.
        """

    async def owned_account(self, owner: str, account: str) -> Account:
        """Exactly this owner's (a tenant or INSTANCE); NotFound."""

    async def accounts(self, owner: str | None) -> Sequence[Account]:
        """All of an owner, or all."""

    async def add_account(self, account: Account, *, default: bool) -> None:
        """Conflict where the id is taken by the same owner. The password is stored encrypted."""

    async def change_account(self, owner: str, account: str, change: Callable[[Account], Account]) -> Account:
        """The account as it is now; `change` as in change_tenant. NotFound."""

    async def note_mended(self) -> None:
        """An account was found in order: what is paused is tried at once, by all instances, as after a change."""

    async def delete_account(self, owner: str, account: str) -> None:
        """Conflict while mail waits for it."""

    async def credential(self, username: str) -> Credential | None:
        """By AUTH user name."""

    async def credentials(self, tenant: str | None) -> Sequence[Credential]:
        """All of a tenant, or all (those with networks are asked at each connection)."""

    async def add_credential(self, credential: Credential) -> None:
        """Conflict where the user name is taken on this store."""

    async def change_credential(
        self, tenant: str | None, username: str, change: Callable[[Credential], Credential]
    ) -> Credential:
        """The credential as it is now; `change` as in change_tenant. NotFound."""

    async def delete_credential(self, tenant: str | None, username: str) -> None:
        """NotFound."""

    async def token(self, secret_hash: str) -> Token | None:
        """By the SHA-256 of the secret, in hex; after a rotation also of the one before, while that is good."""

    async def tokens(self, tenant: str | None) -> Sequence[Token]:
        """All of a tenant, or all."""

    async def add_token(self, token: Token, secret_hash: str) -> None:
        """Conflict where the id is taken."""

    async def change_token(self, tenant: str | None, token: str, change: Callable[[Token], Token]) -> Token:
        """The token as it is now; `change` as in change_tenant. NotFound."""

    async def rotate_token(self, tenant: str | None, token: str, secret_hash: str, previous_until: int) -> Token:
        """A new secret; the one before is good until `previous_until` (µs). NotFound."""

    def token_used(self, token: str, at: int) -> None:
        """It was presented at `at` (µs): written down within a minute or so."""

    async def revoke_token(self, tenant: str | None, token: str) -> None:
        """NotFound."""


class Slot(Protocol):
    """A place in the outbound pool, kept free for one delivery."""

    def start(self, delivery: LeasedDelivery) -> None:
        """Attempt it now. The slot is used up."""

    def give_back(self) -> None:
        """Not needed after all: nothing was committed as leased."""

    def abandon(self, delivery: LeasedDelivery) -> None:
        """Whether the commit happened is not known (cancelled, connection lost): release the lease if there is one."""


class Handover(Protocol):
    """How intake hands a delivery to dispatch without a detour through the store."""

    def reserve(self, account: Account, queue_key: str) -> Slot | None:
        """A slot where the account has a free connection and nothing older waits for it; else None."""

    def wake(self, queue_key: str, due: int, expires_at: int | None = None) -> None:
        """A delivery of this queue was committed as ready, is due at `due` and too late at `expires_at`."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What a test of an account found: the phase reached, and the reply or error there."""

    ok: bool
    phase: str
    detail: str


class AccountProbe(Protocol):
    """Testing an account for real: connects, secures, authenticates, and says goodbye."""

    async def probe(self, account: Account) -> ProbeResult:
        """Never raises for what the network does."""


class Explainer(Protocol):
    """Saying why a message has not been sent yet."""

    async def explain(self, tenant: str | None, message: QueueId) -> Sequence[DeliveryExplanation]:
        """Each of its deliveries that is not done; NotFound."""


@dataclass(frozen=True, slots=True)
class CommandFilter:
    """What is asked of the command log; None asks nothing. `before` is the cursor: the last sequence of the page before."""

    tenant: str | None = None
    operation: str | None = None
    since: int | None = None
    until: int | None = None
    before: int | None = None
    limit: int = 50
    actor: str | None = None


class CommandLog(Protocol):
    """Who did what by the API, kept as long as the configuration says."""

    async def record(self, command: Command) -> None:
        """One more."""

    async def commands(self, wanted: CommandFilter) -> Sequence[Command]:
        """A page, newest first."""

    async def remove_before(self, horizon: int) -> int:
        """Forget what was done before a time (µs); how many."""


@dataclass(frozen=True, slots=True)
class FeedFilter:
    """What is asked of the feed; None asks nothing. `after` is the cursor: the last sequence that was read."""

    tenant: str | None = None
    kind: EventKind | None = None
    message: QueueId | None = None
    after: int = 0
    limit: int = 50


@dataclass(frozen=True, slots=True)
class FeedPage:
    """Events in order; `cursor` goes on behind them, and behind what was passed over. `more`: ask again at once."""

    events: Sequence[Event]
    cursor: int
    more: bool


class EventFeed(Protocol):
    """The events of all messages and accounts in one order."""

    async def page(self, wanted: FeedFilter) -> FeedPage:
        """Oldest first. Who goes on from each page's cursor is given every event once: nothing appears behind it later."""

    async def newest(self) -> int:
        """A cursor behind everything that is there."""

    def watch(self, event: asyncio.Event) -> AbstractContextManager[None]:
        """While it is entered, `event` is set when there may be something new, or when the configuration has changed, by
        whatever process on the store; and now and then without a reason."""


class ClientSides(Protocol):
    """Where tenants have their own HTTP servers. Secrets are stored encrypted."""

    async def client_side(self, tenant: str) -> ClientSide:
        """A tenant's; one that says nothing where there is none."""

    async def client_sides(self) -> Mapping[str, ClientSide]:
        """All there are, by tenant."""

    async def change_client_side(self, tenant: str, change: Callable[[ClientSide], ClientSide]) -> ClientSide:
        """As it is now; `change` as in Directory.change_tenant. NotFound: no such tenant."""


class BounceMailboxes(Protocol):
    """The instance's mailbox for notifications. Its password is stored encrypted."""

    async def bounce_mailbox(self) -> BounceMailbox:
        """As it is set up; one that says nothing where there is none."""

    async def change_bounce_mailbox(self, change: Callable[[BounceMailbox], BounceMailbox]) -> BounceMailbox:
        """As it is now; `change` as in Directory.change_tenant."""
