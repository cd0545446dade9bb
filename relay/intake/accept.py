"""Intake: where a submission becomes a queued message, whatever door it came by.

Nothing is answered before the commit; nothing is read twice; the content of a large message is in no memory.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from functools import partial

from relay.clock import Clock
from relay.contracts.content import ContentStore
from relay.contracts.directory import Directory
from relay.contracts.queue import Accepted, Handover, MessageQueue, Slot
from relay.contracts.suppressions import SuppressionList
from relay.errors import Refusal, Rejected
from relay.intake.admission import Admission
from relay.intake.controls import CONTROL_NAMES
from relay.intake.digest import begin_digest
from relay.intake.header import read_header, scan_header
from relay.intake.inflow import Inflow
from relay.intake.naming import Facts, leased, named
from relay.intake.policy import check_hops, check_recipients, check_sender, needs_smtputf8, settle_controls
from relay.intake.queue_id import QueueIds
from relay.intake.refused import Refused, write_down
from relay.intake.route import Routes
from relay.intake.submission import Submission
from relay.intake.suppressing import spare
from relay.intake.trace import missing_fields, trace_fields
from relay.maillog import MailLog
from relay.metrics import Metrics
from relay.model.delivery import NewMessage
from relay.model.suppression import Found


@dataclass(frozen=True, slots=True)
class IntakeSettings:
    """`hostname` names us in Received and Message-ID; sizes in octets."""

    hostname: str
    header_prefix: str = "X-Stagepost-"
    max_size: int = 50 * 1024 * 1024
    max_recipients: int = 1000


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
        self._routes = Routes(directory)
        self._suppressions = suppressions
        self._handover = handover
        self._admission = admission
        self._clock = clock
        self._log = log
        self._metrics = metrics
        self._settings = settings
        self._prefix = settings.header_prefix.lower().encode("ascii")
        self._ids = QueueIds()
        self._in_flight: set[tuple[str, str]] = set()
        """Tenants and idempotency keys of messages that are being read or committed by this process."""
        self.max_size = settings.max_size
        """The largest message, in octets."""
        self.max_recipients = settings.max_recipients
        """The most recipients of one message."""
        self.check_admission = admission.check
        """Whether a new message may begin now: raises Rejected (QUEUE_FULL, SHUTTING_DOWN)."""

    async def accept(self, submission: Submission) -> Accepted:
        """Check, name and commit; durable when this returns. Raises Rejected, StoreUnavailable.

        A door asks `check_admission` before it begins to read a message; one that has begun may end, even at a stop.
        """
        check_sender(submission.principal, submission.envelope.sender)
        check_recipients(submission.envelope, self.max_recipients)
        facts, inflow = await self._decide(submission)
        if (own := facts.controls.idempotency_key) is None:
            return await self._take_in(facts, inflow)
        key = (facts.route.tenant.id, own)
        if key in self._in_flight:
            raise Rejected(Refusal.IDEMPOTENCY_IN_FLIGHT, path="idempotency_key")
        self._in_flight.add(key)
        try:
            return await self._take_in(facts, inflow)
        finally:
            self._in_flight.discard(key)

    async def keep_refused(self, refused: Refused) -> bool:
        """Write down a message that was not accepted; whether there was room for it (see MessageQueue.keep_refused)."""
        now = self._clock.now()
        new = write_down(refused, self._ids.next(now), self._settings.hostname, now)
        kept = await self._queue.keep_refused(new)
        if kept:
            self._log.events(new.events)
            self._metrics.events(new.events)
        return kept

    async def _decide(self, submission: Submission) -> tuple[Facts, Inflow]:
        """Read the header section and decide all that follows from it."""
        now, settings = self._clock.now(), self._settings
        fields, rest = await read_header(submission.content)
        header = scan_header(fields, self._prefix, CONTROL_NAMES)
        check_hops(header)
        principal, envelope = submission.principal, submission.envelope
        controls = settle_controls(submission.controls, header, principal, settings.header_prefix, now)
        route = await self._routes.find(principal.tenant, controls.account)
        queue_id = self._ids.next(now)
        message_id = header.message_id or f"<{queue_id}@{settings.hostname}>"
        utf8 = envelope.smtputf8 and needs_smtputf8(envelope, header)
        due = now if controls.not_before is None else max(now, controls.not_before)
        digest = begin_digest(submission, controls, route.tenant, header.message_id)
        ours = trace_fields(submission.trace, queue_id, settings.hostname, settings.header_prefix, now)
        if header.message_id is None or not header.has_date:
            ours += missing_fields(header, message_id, now)
        inflow = Inflow(self._contents, queue_id, ours, header.fields + b"\r\n" + rest, self.max_size, digest)
        return Facts(submission, queue_id, now, controls, route, message_id, utf8, due, digest), inflow

    async def _take_in(self, facts: Facts, inflow: Inflow) -> Accepted:
        """Commit it, as leased where the outbound pool has a place for it at once, and hand it over."""
        recipients = facts.submission.envelope.recipients
        listed: Found = {}
        try:
            content = await inflow.take(facts.submission.content)
            route = await self._routes.renewed(facts.route)  # its tenant may have been suspended meanwhile
            if route.tenant.suppresses:
                listed = await self._suppressions.find(route.tenant.id, recipients)
        except BaseException:  # nothing was committed
            await inflow.discard()
            raise
        may_go = facts.due <= facts.now and route.is_free_for(facts.controls.batch)
        if may_go and (not listed or len(listed) < len(recipients)):
            slot = self._handover.reserve(route.account, route.queue_key)
        else:
            slot = None
        new = named(facts, inflow, content, leased=slot is not None)
        if listed:
            new = spare(new, listed)
        try:
            accepted = await self._commit(new, slot)
        except Rejected:  # of anything else it is not known whether it was committed: the content stays, or is swept
            await inflow.discard()
            raise
        if accepted.replayed:
            await inflow.discard()
            return accepted
        return replace(accepted, suppressed=frozenset(listed)) if listed else accepted

    def _commit(self, new: NewMessage, slot: Slot | None) -> asyncio.Future[Accepted]:
        """The queue's answer. What follows from the commit does not hang on who waits for it: a client that goes away now
        leaves a message that is committed, handed over and logged like any other."""
        try:
            committing = self._queue.accept(new)
        except BaseException:  # it cannot even be written down
            if slot is not None:
                slot.give_back()
            raise
        answer: asyncio.Future[Accepted] = committing.get_loop().create_future()
        committing.add_done_callback(partial(self._follow_up, new, slot, answer))
        return answer

    def _follow_up(
        self, new: NewMessage, slot: Slot | None, answer: asyncio.Future[Accepted], done: asyncio.Future[Accepted]
    ) -> None:
        """Hand over what was committed, tell of it, and answer who waits."""
        try:
            accepted = done.result()
        except (Exception, asyncio.CancelledError) as fault:
            try:
                self._give_up(new, slot, fault)
            finally:
                if not answer.done():
                    answer.set_exception(fault)
            return
        try:
            if slot is None:
                self._wake(new)
            elif accepted.replayed:
                slot.give_back()
            else:
                slot.start(leased(new))
            if not accepted.replayed:
                self._tell(new, accepted)
        finally:
            if not answer.done():
                answer.set_result(accepted)

    def _give_up(self, new: NewMessage, slot: Slot | None, fault: BaseException) -> None:
        """It was refused; or the store went away: then it may be committed all the same."""
        if slot is None:  # a look costs little
            self._wake(new)
        elif isinstance(fault, Rejected):
            slot.give_back()
        else:
            slot.abandon(leased(new))

    def _wake(self, new: NewMessage) -> None:
        if new.is_open:
            self._handover.wake(new.delivery.queue_key, new.delivery.due, new.message.expires_at)

    def _tell(self, new: NewMessage, accepted: Accepted) -> None:
        if accepted.replaces is not None:
            self._admission.count(-1)
            new = new.in_place_of(accepted.replaces)
        if new.is_open:
            self._admission.count(1)
        self._log.events(new.events)
        self._metrics.events(new.events)
        self._metrics.accepted(new.message.source, len(new.recipients), new.message.size)
