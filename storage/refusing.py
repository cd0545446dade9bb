"""Refusing: messages that were not accepted, written down as failed so that whoever reads the reports of their sender finds
them. They have no content and are never sent."""

from __future__ import annotations

from relay.model.delivery import NewMessage, RecipientChange
from relay.model.message import DeliveryState, RecipientState
from storage.accepting import write_delivery, write_recipients
from storage.repeats import make_way_for_refused
from storage.rows import write_message
from storage.settling import Change, change_recipients
from storage.work import Values, Work, execute, fetch


def keep_refused(refused: NewMessage, lease: Values) -> Work[bool]:
    """Whether it was written; `lease` as accept_messages has it."""
    message = refused.message
    if message.client_id and not (yield from make_way_for_refused(message.tenant, message.client_id)):
        return False
    if not (yield from fetch("insert_named_messages", given=[write_message(message)])):
        return False
    yield from execute("insert_recipients", given=list(write_recipients(refused)))
    delivery = write_delivery(refused)
    yield from execute("insert_deliveries", lease, [delivery])
    done = (message.id, delivery[1], DeliveryState.DONE.value, refused.delivery.due, refused.delivery.queue_key)
    yield from execute("reschedule_deliveries", given=[done])
    changes = [
        Change(
            message.id,
            RecipientChange(one.position, RecipientState.FAILED, None, one.category, 0),
            message.accepted_at,
        )
        for one in refused.recipients
    ]
    yield from change_recipients(changes, refused.events)
    return True
