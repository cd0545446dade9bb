"""Accepting: messages with all that belongs to them, many in one transaction.

The ordinary message costs one row in each table and no look-up. Only one that carries a client id or an idempotency key may
be there already; the unique indexes say so, within a group and between instances alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from relay.contracts import Accepted
from relay.errors import Refusal, Rejected, RelayError, StoreUnavailable
from relay.model.delivery import NewMessage
from relay.model.message import Message
from storage.rows import write_content, write_event, write_message
from storage.work import Execute, Values, Work, execute_together, fetch, fetch_one, notify

FIRST = 1
"""The number of the delivery that all recipients begin with."""


def accept_messages(news: Sequence[NewMessage], lease: Values) -> Work[Sequence[Accepted | RelayError]]:
    """Write them; the answers in their order. `lease`: what insert_deliveries wants to know of holder and clock."""
    keyed = [new for new in news if new.message.client_id or new.message.idempotency_key]
    refused: dict[str, Accepted | RelayError] = {}
    if keyed:
        refused = yield from _insert_keyed(keyed)
        kept = [new for new in news if new.message.id not in refused]
        plain = [new for new in kept if not (new.message.client_id or new.message.idempotency_key)]
    else:
        kept = plain = list(news)
    yield from execute_together(
        Execute("insert_messages", given=[write_message(new.message) for new in plain]),
        Execute("insert_contents", given=[write_content(new) for new in kept]),
        Execute("insert_recipients", given=[row for new in kept for row in _write_recipients(new)]),
        Execute("insert_deliveries", lease, [_write_delivery(new) for new in kept]),
        Execute("insert_events", given=[write_event(event) for new in kept for event in new.events]),
    )
    yield from notify(
        ready_notes([(new.delivery.queue_key, new.delivery.due) for new in kept if not new.delivery.leased])
    )
    return [refused.get(new.message.id) or Accepted(new.message.id) for new in news]


def _write_recipients(new: NewMessage) -> Iterator[tuple[object, ...]]:
    key = new.message.id
    for recipient in new.recipients:
        yield key, recipient.position, recipient.address, FIRST, recipient.state.value, recipient.attempts


def _write_delivery(new: NewMessage) -> tuple[object, ...]:
    message, delivery = new.message, new.delivery
    priority, leased = int(message.priority), int(delivery.leased)
    due = delivery.due
    return message.id, FIRST, message.tenant, delivery.queue_key, priority, due, message.expires_at, leased


def _insert_keyed(news: Sequence[NewMessage]) -> Work[dict[str, Accepted | RelayError]]:
    """Insert those whose keys are free; what becomes of the others, by id."""
    rows = yield from fetch("insert_keyed_messages", given=[write_message(new.message) for new in news])
    inserted = {row[0] for row in rows}
    refused: dict[str, Accepted | RelayError] = {}
    for new in news:
        if new.message.id not in inserted:
            refused[new.message.id] = yield from _find_holder(new.message)
    return refused


def _find_holder(message: Message) -> Work[Accepted | RelayError]:
    """What to answer for a message whose client id or idempotency key is another's."""
    if message.idempotency_key:
        values = {"tenant": message.tenant, "key": message.idempotency_key}
        if kept := (yield from fetch_one("message_with_idempotency_key", values)):
            key, digest = kept
            if digest == message.digest:
                return Accepted(key, replayed=True)
            return Rejected(Refusal.IDEMPOTENCY_MISMATCH, path="idempotency_key")
    if message.client_id:
        values = {"tenant": message.tenant, "client_id": message.client_id}
        if (yield from fetch_one("message_with_client_id", values)):
            return Rejected(Refusal.DUPLICATE_CLIENT_ID, message.client_id, path="client_id")
    return StoreUnavailable(
        f"message {message.id} could not be kept: its id, or a key of it, was taken and let go meanwhile"
    )


def ready_notes(ready: Sequence[tuple[str, int]]) -> list[str]:
    """What other instances are told of deliveries (queue key, due) that became ready: the earliest of each queue."""
    earliest: dict[str, int] = {}
    for queue_key, due in ready:
        earliest[queue_key] = min(due, earliest.get(queue_key, due))
    return [f"ready {due} {queue_key}" for queue_key, due in earliest.items()]
