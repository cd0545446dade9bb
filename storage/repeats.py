"""Repeats: messages that carry a key or a client id, and may have come before.

A key is answered by what it brought in. A client id belongs to one message of its tenant while that is kept: handed in
again while nothing of it was attempted, the new message takes its place; when it failed or was cancelled, the new one gets
the client id and the old one keeps its history; else it is refused. The unique indexes decide, within a group and between
instances alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from relay.contracts.queue import Accepted
from relay.errors import Refusal, Rejected, RelayError, StoreUnavailable
from relay.model.delivery import NewKey, NewMessage
from relay.model.message import DeliveryState, MessageState, QueueId, RecipientState
from storage.acting import find_standings
from storage.acts import Standing
from storage.retention import ROWS
from storage.rows import write_message
from storage.work import Lock, Values, Work, execute, fetch, fetch_one

TRIES = 5
"""How often a client id is looked for that others take and let go meanwhile."""
_UNTRIED = {RecipientState.QUEUED, RecipientState.HELD, RecipientState.SUPPRESSED}
_WAITING = {DeliveryState.READY, DeliveryState.HELD}


class Claim(Enum):
    """What a message has to say to another that comes with its client id."""

    REPLACED = auto()  # nothing of it was attempted: the other is its new version
    GIVEN_UP = auto()  # it came to nothing
    KEPT = auto()


@dataclass(slots=True)
class Admitted:
    """What becomes of messages that carry a key or a client id."""

    answers: dict[str, Accepted | RelayError] = field(default_factory=dict)
    """Of those that are not simply new, by id."""
    written: set[str] = field(default_factory=set)
    """Those whose facts are in the table of messages already."""

    def is_taken(self, new: NewMessage) -> bool:
        """Whether it is to be kept."""
        answer = self.answers.get(new.message.id)
        return answer is None or (isinstance(answer, Accepted) and not answer.replayed)

    def as_edited(self, new: NewMessage) -> NewMessage:
        """The same; where it takes another's place, with events that say so."""
        answer = self.answers.get(new.message.id)
        replaces = answer.replaces if isinstance(answer, Accepted) else None
        return new if replaces is None else new.in_place_of(replaces)


def admit(news: Sequence[NewMessage], lease: Values) -> Work[Admitted]:
    """Take keys and client ids for those that may come in."""
    admitted = Admitted()
    yield from _take_keys([(new, new.key) for new in news if new.key], lease, admitted)
    named = [new for new in news if new.message.client_id and admitted.is_taken(new)]
    named.sort(key=lambda new: (new.message.tenant, new.message.client_id or "", new.message.id))
    rows = yield from fetch("insert_named_messages", given=[write_message(new.message) for new in named])
    admitted.written = {row[0] for row in rows}
    for new in named:
        if new.message.id not in admitted.written:
            answer = admitted.answers[new.message.id] = yield from _make_way(new, admitted.written)
            if isinstance(answer, Accepted):
                admitted.written.add(new.message.id)
            elif new.key:
                yield from execute("forget_keys", given=[(new.message.tenant, new.key.name, new.message.id)])
    return admitted


def _take_keys(keyed: Sequence[tuple[NewMessage, NewKey]], lease: Values, admitted: Admitted) -> Work[None]:
    """Of several with one key the first takes it."""
    first: dict[tuple[str, str], tuple[object, ...]] = {}
    for new, key in keyed:
        row = (new.message.tenant, key.name, new.message.id, key.digest, key.kept_until)
        first.setdefault((new.message.tenant, key.name), row)
    rows = yield from fetch("insert_keys", lease, [first[name] for name in sorted(first)])
    taken = {row[0] for row in rows}
    for new, key in keyed:
        if new.message.id not in taken:
            admitted.answers[new.message.id] = yield from _find_first(new, key)


def _find_first(new: NewMessage, key: NewKey) -> Work[Accepted | RelayError]:
    found = yield from fetch_one("message_with_key", {"tenant": new.message.tenant, "key": key.name})
    if found is None:
        return _gone(new)
    message, digest = found
    if digest != key.digest:
        return Rejected(Refusal.IDEMPOTENCY_MISMATCH, path="idempotency_key")
    return Accepted(QueueId(message), replayed=True)


def _gone(new: NewMessage) -> RelayError:
    return StoreUnavailable(f"message {new.message.id} could not be kept: a key of it was taken and let go meanwhile")


def claim_of(standing: Standing) -> Claim:
    """Whether a message lets another have its client id."""
    if standing.message.state in {MessageState.FAILED, MessageState.CANCELLED}:
        return Claim.GIVEN_UP
    untried = all(one.state in _UNTRIED and one.attempts == 0 for one, _ in standing.recipients) and all(
        delivery.state in _WAITING and delivery.attempt == 0 for delivery in standing.deliveries.values()
    )
    return Claim.REPLACED if untried else Claim.KEPT


def _make_way(new: NewMessage, beside: set[str]) -> Work[Accepted | RelayError]:
    """Have the client id given up, and take it. Of one that comes in beside it nothing can be said yet."""
    tenant, client_id = new.message.tenant, new.message.client_id or ""
    for _ in range(TRIES):
        found = yield from fetch_one("message_with_client_id", {"tenant": tenant, "client_id": client_id})
        replaces: QueueId | None = None
        if found is not None:
            holder = QueueId(found[0])
            claim = Claim.KEPT if holder in beside else (yield from _ask(tenant, holder))
            if claim is Claim.KEPT:
                return Rejected(Refusal.DUPLICATE_CLIENT_ID, client_id, path="client_id")
            replaces = holder if claim is Claim.REPLACED else None
        if (yield from fetch("insert_named_messages", given=[write_message(new.message)])):
            return Accepted(new.message.id, replaces=replaces)
    return _gone(new)


def make_way_for_refused(tenant: str, client_id: str) -> Work[bool]:
    """Whether a message that was not accepted may have a client id: it takes the place of none, and what came to nothing
    gives it up."""
    found = yield from fetch_one("message_with_client_id", {"tenant": tenant, "client_id": client_id})
    if found is None:
        return True
    return (yield from _ask(tenant, QueueId(found[0]), may_replace=False)) in {Claim.GIVEN_UP, None}


def _ask(tenant: str, holder: QueueId, *, may_replace: bool = True) -> Work[Claim | None]:
    """What its holder says, and what follows for it; None where it went while its lock was waited for."""
    yield Lock("lock_messages", [(holder,)])
    yield Lock("lock_deliveries", [(holder,)])
    standings = yield from find_standings(tenant, [holder])
    if not standings or standings[0].message.client_id is None:
        return None
    claim = claim_of(standings[0])
    if claim is Claim.GIVEN_UP:
        yield from execute("give_up_client_ids", given=[(holder,)])
    elif claim is Claim.REPLACED and may_replace:
        for part in ROWS:
            yield from execute(f"delete_{part}", given=[(holder,)])
    return claim
