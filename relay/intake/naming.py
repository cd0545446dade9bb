"""Naming: the message, its delivery and its event, made of what is settled about them."""

from __future__ import annotations

from dataclasses import dataclass

from relay.intake.digest import Digest, key_of
from relay.intake.inflow import Inflow
from relay.intake.route import Route
from relay.intake.submission import Submission
from relay.model.control import Controls
from relay.model.delivery import LeasedDelivery, NewDelivery, NewMessage, StoredContent, delivery_id, new_recipients
from relay.model.event import Event, EventKind
from relay.model.message import Message, Priority, QueueId
from relay.model.quick import quick

_ACCEPTED = EventKind.ACCEPTED


@quick
@dataclass(frozen=True, slots=True)
class Facts:
    """What is settled about a message before its content is read to the end."""

    submission: Submission
    id: QueueId
    now: int
    controls: Controls
    route: Route
    message_id: str
    smtputf8: bool
    due: int
    digest: Digest | None


def named(facts: Facts, inflow: Inflow, content: bytes | StoredContent, *, leased: bool) -> NewMessage:
    """The message with all its facts."""
    submission, controls, account = facts.submission, facts.controls, facts.route.account
    tenant, envelope = submission.principal.tenant, submission.envelope
    message = Message(
        id=facts.id,
        tenant=tenant,
        sender=envelope.sender,
        priority=Priority.MEDIUM if controls.priority is None else controls.priority,
        accepted_at=facts.now,
        size=inflow.size,
        message_id=facts.message_id,
        source=submission.source,
        account=account.id,
        client_id=controls.client_id,
        batch=controls.batch,
        not_before=controls.not_before,
        expires_at=controls.expires_at,
        tags=controls.tags,
        metadata=controls.metadata,
        eight_bit=inflow.eight_bit,
        smtputf8=facts.smtputf8,
    )
    event = Event(_ACCEPTED, facts.now, tenant, facts.id, facts=_accepted_facts(submission, message))
    delivery = NewDelivery(facts.route.queue_key, facts.due, leased)
    key = key_of(facts.digest, controls, facts.route.tenant, facts.message_id, facts.now) if facts.digest else None
    return NewMessage(message, new_recipients(envelope.recipients), content, delivery, (event,), key)


def leased(new: NewMessage) -> LeasedDelivery:
    """Its delivery, where it was committed as leased by this instance."""
    waiting = new.waiting
    return LeasedDelivery(
        id=delivery_id(new.message.id, 1),
        message=new.message,
        queue_key=new.delivery.queue_key,
        attempt=1,
        recipients=waiting,
        content=new.content if isinstance(new.content, bytes) else None,
        due=new.delivery.due,
        whole=waiting is new.recipients,
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
