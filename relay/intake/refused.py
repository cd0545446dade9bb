"""Refused: a message that was not accepted, as it is written down for the reports of whoever handed it in.

For doors whose clients hand in many messages at once and read later what became of each: without a trace of its own, one
that was refused would be missing there.
"""

from __future__ import annotations

from dataclasses import dataclass

from relay.intake.submission import Principal
from relay.model.address import NULL_SENDER, Address
from relay.model.delivery import Category, NewDelivery, NewMessage
from relay.model.event import Event, EventKind
from relay.model.message import Message, MessageState, Priority, QueueId, Recipient, Source
from relay.model.queue_key import QueueKey


@dataclass(frozen=True, slots=True)
class Refused:
    """What is known of it, and why it was refused. `recipients` may be none."""

    principal: Principal
    source: Source
    client_id: str
    reason: str
    sender: Address = NULL_SENDER
    recipients: tuple[Address, ...] = ()
    account: str | None = None
    batch: str | None = None


def write_down(refused: Refused, queue_id: QueueId, hostname: str, now: int) -> NewMessage:
    """A message without content that has failed, and an event that says why."""
    tenant, account = refused.principal.tenant, refused.account or ""
    message = Message(
        id=queue_id,
        tenant=tenant,
        sender=refused.sender,
        priority=Priority.MEDIUM,
        accepted_at=now,
        size=0,
        message_id=f"<{queue_id}@{hostname}>",
        source=refused.source,
        account=account,
        client_id=refused.client_id,
        batch=refused.batch,
        state=MessageState.FAILED,
    )
    recipients = tuple(
        Recipient(position, address, category=Category.CONTENT.value)
        for position, address in enumerate(dict.fromkeys(refused.recipients))
    )
    facts = {"reason": refused.reason, "client_id": refused.client_id, "by": refused.principal.name}
    event = Event(EventKind.FAILED, now, tenant, queue_id, facts=facts)
    delivery = NewDelivery(str(QueueKey(f"{tenant}/{account}", tenant)), now, leased=False)
    return NewMessage(message, recipients, b"", delivery, (event,))
