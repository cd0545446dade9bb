"""Mail for the store's tests: messages, and what becomes of them, with as little said as may be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from relay.clock import SystemClock
from relay.intake.queue_id import QueueIds
from relay.model.address import Address
from relay.model.delivery import (
    Attempt,
    LeasedDelivery,
    NewDelivery,
    NewKey,
    NewMessage,
    RecipientChange,
    RecipientOutcome,
    Settlement,
    StoredContent,
    Verdict,
    delivery_id,
    new_recipients,
)
from relay.model.event import Event, EventKind
from relay.model.message import DeliveryState, Message, Priority, QueueId, RecipientState, Source
from relay.model.reply import Reply


class Ids(QueueIds):
    """Queue ids of now."""

    def next(self, now: int | None = None) -> QueueId:
        """The next one."""
        return super().next(CLOCK.now() if now is None else now)


CLOCK = SystemClock()
IDS = Ids()
TENANT = "acme"
QUEUE = "acme/main/acme"
LIMIT = "account:acme/main"
OK = Reply(250, "2.0.0", "ok")
BUSY = Reply(450, "4.2.0", "busy")


def mail(
    to: Iterable[str] = ("rcpt@example.com",),
    *,
    content: bytes | StoredContent = b"Subject: hi\r\n\r\nhello\r\n",
    queue: str = QUEUE,
    due: int | None = None,
    leased: bool = False,
    now: int | None = None,
    key: NewKey | None = None,
    **facts: Any,
) -> NewMessage:
    """A new message, as of `now`; `facts` are fields of Message."""
    now = CLOCK.now() if now is None else now
    size = len(content) if isinstance(content, bytes) else content.size
    message = Message(
        facts.pop("id", None) or IDS.next(),
        facts.pop("tenant", TENANT),
        Address("sender@example.org"),
        facts.pop("priority", Priority.MEDIUM),
        now,
        size,
        "<one@example.org>",
        Source.SMTP,
        facts.pop("account", "main"),
        **facts,
    )
    accepted = Event(EventKind.ACCEPTED, now, message.tenant, message.id, facts={"size": size, "client_id": None})
    delivery = NewDelivery(queue, now if due is None else due, leased)
    return NewMessage(message, new_recipients(tuple(map(Address, to))), content, delivery, (accepted,), key)


def leased(new: NewMessage) -> LeasedDelivery:
    """The lease that a message accepted as leased comes with."""
    content = new.content if isinstance(new.content, bytes) else None
    return LeasedDelivery(
        delivery_id(new.message.id, 1),
        new.message,
        new.delivery.queue_key,
        1,
        new.recipients,
        content,
        new.delivery.due,
    )


def settled(delivery: LeasedDelivery, *states: RecipientState, due: int | None = None, **changes: Any) -> Settlement:
    """A settlement: a state for each recipient (SENT where none is said), the delivery's state from them."""
    states = states or (RecipientState.SENT,) * len(delivery.recipients)
    now = changes.get("at") or CLOCK.now()
    again = {RecipientState.DEFERRED, RecipientState.UNKNOWN} & set(states)
    settlement = Settlement(
        delivery=delivery.id,
        attempt=delivery.attempt,
        message=delivery.message.id,
        tenant=delivery.message.tenant,
        queue_key=delivery.queue_key,
        state=DeliveryState.READY if again else DeliveryState.DONE,
        due=now if due is None else due,
        at=now,
        recipients=tuple(
            RecipientChange(recipient.position, state, reply_of(state), None, recipient.attempts + 1)
            for recipient, state in zip(delivery.recipients, states, strict=True)
        ),
        events=tuple(
            Event(EventKind(state.value), now, delivery.message.tenant, delivery.message.id, recipient.address)
            for recipient, state in zip(delivery.recipients, states, strict=True)
        ),
        record=Attempt(
            tuple(RecipientOutcome(recipient.position, Verdict.SENT, OK) for recipient in delivery.recipients),
            now,
            now,
            "mx.example.com:25",
            transcript=("0 > MAIL FROM:<sender@example.org>", "1 < 250 2.1.0 ok"),
        ),
        slots=delivery.slots,
    )
    return replace(settlement, **changes)


def reply_of(state: RecipientState) -> Reply:
    """What the next hop may have said."""
    return OK if state is RecipientState.SENT else BUSY
