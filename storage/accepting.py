"""Accepting: messages with all that belongs to them, many in one transaction.

The ordinary message costs one row in each table and no look-up. Only one that carries a client id or a key may have come
before (storage.repeats).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from relay.contracts.queue import Accepted
from relay.errors import RelayError
from relay.model.delivery import NewMessage
from storage.notices import ready_notes
from storage.repeats import admit
from storage.rows import write_content, write_event, write_message
from storage.work import Execute, Values, Work, execute_together, notify

FIRST = 1
"""The number of the delivery that all recipients begin with."""


def accept_messages(news: Sequence[NewMessage], lease: Values) -> Work[Sequence[Accepted | RelayError]]:
    """Write them; the answers in their order. `lease`: what insert_deliveries wants to know of holder and clock."""
    special = [new for new in news if new.key or new.message.client_id]
    answers: dict[str, Accepted | RelayError] = {}
    kept: Sequence[NewMessage] = news
    written: set[str] = set()
    if special:
        admitted = yield from admit(special, lease)
        answers, written = admitted.answers, admitted.written
        kept = [admitted.as_edited(new) for new in news if admitted.is_taken(new)]
    yield from execute_together(
        Execute("insert_messages", given=[write_message(new.message) for new in kept if new.message.id not in written]),
        Execute("insert_contents", given=[write_content(new) for new in kept]),
        Execute("insert_recipients", given=[row for new in kept for row in write_recipients(new)]),
        Execute("insert_deliveries", lease, [write_delivery(new) for new in kept if new.is_open]),
        Execute("insert_events", given=[write_event(event) for new in kept for event in new.events]),
    )
    yield from notify(
        ready_notes(
            [(new.delivery.queue_key, new.delivery.due) for new in kept if new.is_open and not new.delivery.leased]
        )
    )
    return [answers.get(new.message.id) or Accepted(new.message.id) for new in news]


def write_recipients(new: NewMessage) -> Iterator[tuple[object, ...]]:
    """`rows:` of insert_recipients."""
    key = new.message.id
    for recipient in new.recipients:
        yield key, recipient.position, recipient.address, FIRST, recipient.state.value, recipient.attempts


def write_delivery(new: NewMessage) -> tuple[object, ...]:
    """`rows:` of insert_deliveries."""
    message, delivery = new.message, new.delivery
    priority, leased = int(message.priority), int(delivery.leased)
    due = delivery.due
    return message.id, FIRST, message.tenant, delivery.queue_key, priority, due, message.expires_at, leased
