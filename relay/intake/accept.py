"""Intake: where a submission becomes a queued message, whatever door it came by.

Nothing is answered before the commit; nothing is read twice; the content of a large message is in no memory.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from relay.clock import Clock
from relay.contracts import (
    Accepted,
    ContentStore,
    ContentWriter,
    Directory,
    Handover,
    MessageQueue,
    Slot,
    SuppressionList,
)
from relay.errors import NotFound, Refusal, Rejected
from relay.intake.admission import Admission
from relay.intake.controls import CONTROL_NAMES
from relay.intake.digest import Digest, begin_digest, key_of
from relay.intake.header import HeaderSection, read_header, scan_header
from relay.intake.policy import check_hops, check_recipients, check_sender, settle_controls
from relay.intake.queue_id import QueueIds
from relay.intake.refused import Refused, write_down
from relay.intake.submission import Submission
from relay.intake.suppressing import spare_suppressed, with_suppressed
from relay.intake.trace import missing_fields, trace_fields
from relay.maillog import MailLog
from relay.metrics import Metrics
from relay.model.control import Controls
from relay.model.delivery import LeasedDelivery, NewDelivery, NewMessage, StoredContent, delivery_id, new_recipients
from relay.model.event import Event, EventKind
from relay.model.message import Message, Priority, QueueId
from relay.model.queue_key import QueueKey
from relay.model.quick import quick
from relay.model.tenant import Account, Tenant


@dataclass(frozen=True, slots=True)
class IntakeSettings:
    """`hostname` names us in Received and Message-ID; sizes in octets."""

    hostname: str
    header_prefix: str = "X-Stagepost-"
    max_size: int = 50 * 1024 * 1024
    max_recipients: int = 1000


@quick
@dataclass(frozen=True, slots=True)
class _Facts:
    """What is settled about a message before its content is read to the end."""

    id: QueueId
    now: int
    controls: Controls
    tenant: Tenant
    account: Account
    header: HeaderSection
    message_id: str


class _Begun:
    """What was read of a message's content beyond its header section: given away once, so that no frame on the way holds it
    while a client sends the rest."""

    __slots__ = ("_octets",)

    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    def take(self) -> bytes:
        """It; nothing from then on."""
        octets, self._octets = self._octets, b""
        return octets


class Intake:
    """The one place in which every door ends."""

    def __init__(
        self,
        *,
        queue: MessageQueue,
        contents: ContentStore,
        directory: Directory,
        suppressions: SuppressionList,
        handover: Handover,
        admission: Admission,
        clock: Clock,
        log: MailLog,
        metrics: Metrics,
        settings: IntakeSettings,
    ) -> None:
        self._queue = queue
        self._contents = contents
        self._directory = directory
        self._suppressions = suppressions
        self._handover = handover
        self._admission = admission
        self._clock = clock
        self._log = log
        self._metrics = metrics
        self._settings = settings
        self._prefix = settings.header_prefix.lower().encode("ascii")
        self._ids = QueueIds(clock)
        self._in_flight: set[tuple[str, str]] = set()
        """Tenants and idempotency keys of messages that are being read or committed by this process."""

    @property
    def max_size(self) -> int:
        """The largest message, in octets."""
        return self._settings.max_size

    @property
    def max_recipients(self) -> int:
        """The most recipients of one message."""
        return self._settings.max_recipients

    def check_admission(self) -> None:
        """Whether a new message may begin now: raises Rejected (QUEUE_FULL, SHUTTING_DOWN)."""
        self._admission.check()

    async def accept(self, submission: Submission) -> Accepted:
        """Check, name and commit; durable when this returns. Raises Rejected, StoreUnavailable.

        A door asks `check_admission` before it begins to read a message; one that has begun may end, even at a stop.
        """
        check_sender(submission.principal, submission.envelope.sender)
        check_recipients(submission.envelope, self._settings.max_recipients)
        facts, begun = await self._decide(submission)
        if (own := facts.controls.idempotency_key) is None:
            return await self._take_in(submission, facts, begun)
        key = (facts.tenant.id, own)
        if key in self._in_flight:
            raise Rejected(Refusal.IDEMPOTENCY_IN_FLIGHT, path="idempotency_key")
        self._in_flight.add(key)
        try:
            return await self._take_in(submission, facts, begun)
        finally:
            self._in_flight.discard(key)

    async def keep_refused(self, refused: Refused) -> bool:
        """Write down a message that was not accepted; whether there was room for it (see MessageQueue.keep_refused)."""
        new = write_down(refused, self._ids.next(), self._settings.hostname, self._clock.now())
        kept = await self._queue.keep_refused(new)
        if kept:
            self._log.events(new.events)
            self._metrics.events(new.events)
        return kept

    async def _take_in(self, submission: Submission, facts: _Facts, begun: _Begun) -> Accepted:
        digest = begin_digest(submission, facts.controls, facts.tenant, facts.header.message_id)
        writer = self._contents.writer(facts.id)
        try:
            content, size, eight_bit = await self._store(submission, facts, begun, writer, digest)
        except BaseException:
            await writer.discard()
            raise
        return await self._commit(self._name(submission, facts, content, size, eight_bit, digest), facts, writer)

    async def _decide(self, submission: Submission) -> tuple[_Facts, _Begun]:
        """Read the header section and decide all that follows from it; also what was read beyond it."""
        now = self._clock.now()
        fields, rest = await read_header(submission.content)
        header = scan_header(fields, self._prefix, CONTROL_NAMES)
        check_hops(header)
        principal = submission.principal
        controls = settle_controls(submission.controls, header, principal, self._settings.header_prefix, now)
        tenant, account = await self._find_way(principal.tenant, controls.account)
        queue_id = self._ids.next()
        message_id = header.message_id or f"<{queue_id}@{self._settings.hostname}>"
        return _Facts(queue_id, now, controls, tenant, account, header, message_id), _Begun(rest)

    async def _find_way(self, tenant: str, name: str | None) -> tuple[Tenant, Account]:
        sender = await self._sender(tenant)
        account = await self._directory.account(tenant, name)
        if account is None:
            raise Rejected(Refusal.NO_ACCOUNT, name or "no default is set", path="account")
        if not account.enabled:
            raise Rejected(Refusal.ACCOUNT_DISABLED, account.id, path="account")
        return sender, account

    async def _sender(self, tenant: str) -> Tenant:
        try:
            return await self._directory.tenant(tenant)
        except NotFound:
            raise Rejected(Refusal.AUTH_REQUIRED) from None

    async def _store(
        self, submission: Submission, facts: _Facts, begun: _Begun, writer: ContentWriter, digest: Digest | None
    ) -> tuple[bytes | StoredContent, int, bool]:
        """Write what will be sent: our fields, the client's, the body. Answers content, size, and whether it is 8-bit."""
        settings = self._settings
        ours = trace_fields(submission.trace, facts.id, settings.hostname, settings.header_prefix, facts.now)
        theirs = facts.header.fields + b"\r\n" + begun.take()
        if digest:
            digest.update(theirs)
        piece = b"".join((ours, missing_fields(facts.header, facts.message_id, facts.now), theirs))
        size = len(piece)
        most = settings.max_size + size - len(theirs)  # SIZE promised the client its own octets (RFC 1870)
        eight_bit = not piece.isascii()
        await writer.write(piece)
        theirs = piece = b""  # a client that is waited for keeps none of it in memory, here and below
        async for piece in submission.content:
            size += len(piece)
            if size > most:
                break
            eight_bit = eight_bit or not piece.isascii()
            if digest:
                digest.update(piece)
            await writer.write(piece)
            piece = b""
        if size > most:
            raise Rejected(Refusal.TOO_BIG, str(settings.max_size))
        return await writer.finish(), size, eight_bit

    def _name(
        self,
        submission: Submission,
        facts: _Facts,
        content: bytes | StoredContent,
        size: int,
        eight_bit: bool,
        digest: Digest | None,
    ) -> NewMessage:
        """The message with all its facts; its delivery is still to be leased or not."""
        envelope, controls, tenant = submission.envelope, facts.controls, submission.principal.tenant
        utf8 = envelope.smtputf8 and not (
            facts.header.fields.isascii() and _is_ascii(*envelope.recipients, envelope.sender)
        )
        message = Message(
            id=facts.id,
            tenant=tenant,
            sender=envelope.sender,
            priority=controls.priority if controls.priority is not None else Priority.MEDIUM,
            accepted_at=facts.now,
            size=size,
            message_id=facts.message_id,
            source=submission.source,
            account=facts.account.id,
            client_id=controls.client_id,
            batch=controls.batch,
            not_before=controls.not_before,
            expires_at=controls.expires_at,
            tags=controls.tags,
            metadata=controls.metadata,
            eight_bit=eight_bit,
            smtputf8=utf8,
        )
        event = Event(EventKind.ACCEPTED, facts.now, tenant, facts.id, facts=_accepted_facts(submission, message))
        due = max(facts.now, controls.not_before or 0)
        delivery = NewDelivery(str(QueueKey(facts.account.key, tenant)), due, leased=False)
        key = key_of(digest, controls, facts.tenant, facts.message_id, facts.now)
        return NewMessage(message, new_recipients(envelope.recipients), content, delivery, (event,), key)

    async def _commit(self, new: NewMessage, facts: _Facts, writer: ContentWriter) -> Accepted:
        """Commit, as leased where the outbound pool has a place for it at once, and hand it over."""
        try:
            tenant = await self._sender(facts.tenant.id)  # it may have been suspended while the content was read
            if tenant.suppresses:
                new = await spare_suppressed(new, self._suppressions)
        except BaseException:  # nothing was committed
            await writer.discard()
            raise
        at_once = _may_go_at_once(new, tenant)
        slot = self._handover.reserve(facts.account, new.delivery.queue_key) if at_once else None
        # What follows from the commit does not hang on the caller: a client that goes away now leaves a message that is
        # committed, handed over and logged like any other.
        committing = asyncio.ensure_future(self._queue.accept(new if slot is None else new.as_leased()))
        committing.add_done_callback(lambda done: self._follow_up(done, new, slot))
        try:
            accepted = await asyncio.shield(committing)
        except Rejected:  # of anything else it is not known whether it was committed: the content stays, or is swept
            await writer.discard()
            raise
        if accepted.replayed:
            await writer.discard()
            return accepted
        return with_suppressed(accepted, new) if tenant.suppresses else accepted

    def _follow_up(self, done: asyncio.Future[Accepted], new: NewMessage, slot: Slot | None) -> None:
        """Hand over what was committed, and tell of it."""
        fault = asyncio.CancelledError() if done.cancelled() else done.exception()
        if slot is None:
            # Where the store went away it may be committed all the same, and a look costs little.
            if new.is_open:
                self._handover.wake(new.delivery.queue_key, new.delivery.due, new.message.expires_at)
        elif fault is None and not done.result().replayed:
            slot.start(_leased(new))
        elif fault is None or isinstance(fault, Rejected):
            slot.give_back()
        else:  # the store went away: it may be committed all the same
            slot.abandon(_leased(new))
        if fault is None and not done.result().replayed:
            self._tell(new, done.result())

    def _tell(self, new: NewMessage, accepted: Accepted) -> None:
        self._admission.count(new.is_open - (accepted.replaces is not None))
        if accepted.replaces is not None:
            new = new.in_place_of(accepted.replaces)
        self._log.events(new.events)
        self._metrics.events(new.events)
        self._metrics.accepted(new.message.source, len(new.recipients), new.message.size)


def _may_go_at_once(new: NewMessage, tenant: Tenant) -> bool:
    """Whether nothing but a connection is needed: what limits and suspension say is read from the store by a claim."""
    return (
        new.is_open
        and new.delivery.due <= new.message.accepted_at
        and not tenant.limits.is_set
        and not tenant.domain_limits
        and not tenant.suspends(new.message.batch)
    )


def _leased(new: NewMessage) -> LeasedDelivery:
    waiting = new.waiting
    return LeasedDelivery(
        id=delivery_id(new.message.id, 1),
        message=new.message,
        queue_key=new.delivery.queue_key,
        attempt=1,
        recipients=waiting,
        content=new.content if isinstance(new.content, bytes) else None,
        due=new.delivery.due,
        whole=len(waiting) == len(new.recipients),
    )


def _accepted_facts(submission: Submission, message: Message) -> dict[str, str | int | None]:
    facts: dict[str, str | int | None] = {
        "from": message.sender,
        "recipients": len(submission.envelope.recipients),
        "size": message.size,
        "source": message.source.value,
        "by": submission.principal.name,
        "peer": submission.trace.peer,
        "message_id": message.message_id,
        "account": message.account,
    }
    if message.client_id:
        facts["client_id"] = message.client_id
    if message.batch:
        facts["batch"] = message.batch
    return facts


def _is_ascii(*addresses: str) -> bool:
    return all(address.isascii() for address in addresses)
