"""Acts of an operator on messages, decided by pure functions of how a message stands; storage.acting writes what is decided.

A delivery that is being attempted is not touched: its outcome comes first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from relay.errors import Conflict
from relay.model.act import Act, WhyNot
from relay.model.delivery import RecipientChange
from relay.model.event import Event, EventKind, Facts
from relay.model.message import CLOSED_STATES, OPEN_STATES, DeliveryState, Message, QueueId, Recipient, RecipientState
from relay.model.queue_key import QueueKey, account_key_of
from storage.settling import Change

_WAITING = frozenset({RecipientState.QUEUED, RecipientState.DEFERRED, RecipientState.UNKNOWN})
STOPPED = frozenset({RecipientState.HELD, RecipientState.FAILED, RecipientState.EXPIRED})
_NO_FACTS: Facts = {}

_SAID = {
    WhyNot.UNDER_WAY: "message {} is being attempted at this moment",
    WhyNot.NOTHING: "message {} has no recipient left to {}",
    WhyNot.OPEN: "message {} is not closed: cancel it, or wait for it",
    WhyNot.SAME_ACCOUNT: "message {} goes by that account already",
    WhyNot.SUPPRESSED: "message {} failed for recipients that are on the list of suppressions: take them off it first",
    WhyNot.NO_CONTENT: "the content of message {} is gone, it was kept long enough: hand it in again",
}


@dataclass(frozen=True, slots=True)
class Order:
    """An act at a time; `account` is where a reroute leads."""

    act: Act
    at: int
    account: str | None = None


class NotDone(Conflict):
    """The act did nothing to a message."""

    def __init__(self, why: WhyNot, message: QueueId, act: Act) -> None:
        super().__init__(_SAID[why].format(message, act))
        self.why = why


@dataclass(frozen=True, slots=True)
class Delivery:
    """As it is found."""

    queue_key: str
    state: DeliveryState
    due: int
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """A message as an act finds it."""

    message: Message
    recipients: Sequence[tuple[Recipient, int]]
    """Each with the number of its delivery."""
    deliveries: Mapping[int, Delivery]
    has_content: bool
    suppressed: frozenset[str] = frozenset()
    """Recipients that are on the tenant's list of suppressions, where that matters."""

    def is_under_way(self, number: int) -> bool:
        """Whether a delivery is being attempted."""
        return self.deliveries[number].state is DeliveryState.LEASED

    def within_reach(self, states: Collection[RecipientState]) -> list[tuple[Recipient, int]]:
        """Those in one of `states` that are not being attempted."""
        return [
            (one, number) for one, number in self.recipients if one.state in states and not self.is_under_way(number)
        ]

    @property
    def under_way(self) -> int:
        """How many recipients are being attempted."""
        return sum(one.state in OPEN_STATES and self.is_under_way(number) for one, number in self.recipients)


@dataclass(slots=True)
class Doing:
    """What an act does to one message."""

    message: QueueId
    under_way: int
    concerned: int = 0
    """Recipients."""
    changes: list[Change] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    moves: list[tuple[int, DeliveryState, int, str]] = field(default_factory=list)
    """Deliveries: number, state, due and queue key from now on."""
    account: str | None = None
    """By which it goes from now on."""
    is_deleted: bool = False

    @property
    def ready(self) -> list[tuple[str, int]]:
        """What dispatch is to hear."""
        return [(queue_key, due) for _, state, due, queue_key in self.moves if state is DeliveryState.READY]


def decide(standing: Standing, order: Order, target: str | None = None) -> Doing | WhyNot:
    """What is to be done; `target` is the key of the account that a reroute leads to."""
    doing = Doing(standing.message.id, standing.under_way)
    if order.act is Act.REROUTE and target is not None:
        return _reroute(standing, order, target, doing)
    return _DECIDE[order.act](standing, order, doing)


def _hold(standing: Standing, order: Order, doing: Doing) -> Doing | WhyNot:
    chosen = standing.within_reach(_WAITING)
    if not chosen:
        return _why_not(standing)
    _pass(standing, chosen, RecipientState.HELD, EventKind.HELD, order.at, doing)
    return _move(standing, chosen, DeliveryState.HELD, None, doing)


def _release(standing: Standing, order: Order, doing: Doing) -> Doing | WhyNot:
    chosen = [
        (one, number)
        for one, number in standing.within_reach(OPEN_STATES)
        if one.state is RecipientState.HELD or standing.deliveries[number].state is DeliveryState.HELD
    ]
    if not chosen:
        return _why_not(standing)
    _pass(standing, chosen, RecipientState.QUEUED, EventKind.RELEASED, order.at, doing)
    return _move(standing, chosen, DeliveryState.READY, _earliest(standing, order.at), doing)


def _cancel(standing: Standing, order: Order, doing: Doing) -> Doing | WhyNot:
    chosen = standing.within_reach(OPEN_STATES)
    if not chosen:
        return _why_not(standing)
    _pass(standing, chosen, RecipientState.CANCELLED, EventKind.CANCELLED, order.at, doing)
    return _move(standing, chosen, DeliveryState.DONE, order.at, doing)


def _retry(standing: Standing, order: Order, doing: Doing) -> Doing | WhyNot:
    chosen = standing.within_reach(_WAITING | STOPPED)
    if not chosen:
        return _why_not(standing)
    if not standing.has_content:
        return WhyNot.NO_CONTENT
    chosen = [(one, number) for one, number in chosen if one.address not in standing.suppressed]
    if not chosen:
        return WhyNot.SUPPRESSED
    stopped = [(one, number) for one, number in chosen if one.state in STOPPED]
    _pass(standing, stopped, RecipientState.QUEUED, EventKind.RELEASED, order.at, doing)
    return _move(standing, chosen, DeliveryState.READY, order.at, doing)


def _reroute(standing: Standing, order: Order, target: str, doing: Doing) -> Doing | WhyNot:
    """What is held stays held; what waits for its next try is tried at once, the way being another."""
    message = standing.message
    chosen = standing.within_reach(OPEN_STATES)
    if not chosen:
        return _why_not(standing)
    concerned = {number: standing.deliveries[number] for _, number in chosen}
    if message.account == order.account and all(account_key_of(d.queue_key) == target for d in concerned.values()):
        return WhyNot.SAME_ACCOUNT
    facts: Facts = {"from": message.account, "to": order.account}
    doing.account = order.account
    doing.concerned = len(chosen)
    doing.events = [_event(standing, one, EventKind.REROUTED, order.at, facts) for one, _ in chosen]
    for number, delivery in sorted(concerned.items()):
        key = QueueKey.parse(delivery.queue_key)
        due = _earliest(standing, order.at) if delivery.state is DeliveryState.READY else delivery.due
        doing.moves.append((number, delivery.state, due, str(QueueKey(target, key.tenant, key.domain))))
    return doing


def _delete(standing: Standing, _: Order, doing: Doing) -> Doing | WhyNot:
    if standing.message.state not in CLOSED_STATES:
        return WhyNot.OPEN
    doing.is_deleted = True
    doing.concerned = len(standing.recipients)
    return doing


_DECIDE: Mapping[Act, Callable[[Standing, Order, Doing], Doing | WhyNot]] = {
    Act.HOLD: _hold,
    Act.RELEASE: _release,
    Act.CANCEL: _cancel,
    Act.RETRY: _retry,
    Act.DELETE: _delete,
}


def _why_not(standing: Standing) -> WhyNot:
    return WhyNot.UNDER_WAY if standing.under_way else WhyNot.NOTHING


def _earliest(standing: Standing, at: int) -> int:
    return max(at, standing.message.not_before or 0)


def _pass(
    standing: Standing,
    chosen: Sequence[tuple[Recipient, int]],
    state: RecipientState,
    kind: EventKind,
    at: int,
    doing: Doing,
) -> None:
    for one, _ in chosen:
        to = RecipientChange(one.position, state, one.reply, one.category, one.attempts)
        doing.changes.append(Change(standing.message.id, to, at))
        doing.events.append(_event(standing, one, kind, at))


def _move(
    standing: Standing, chosen: Sequence[tuple[Recipient, int]], state: DeliveryState, due: int | None, doing: Doing
) -> Doing:
    """The deliveries of those chosen; `due` None leaves them due as they are."""
    doing.concerned = len(chosen)
    for number in sorted({number for _, number in chosen}):
        delivery = standing.deliveries[number]
        doing.moves.append((number, state, delivery.due if due is None else due, delivery.queue_key))
    return doing


def _event(standing: Standing, recipient: Recipient, kind: EventKind, at: int, facts: Facts = _NO_FACTS) -> Event:
    return Event(kind, at, standing.message.tenant, standing.message.id, recipient.address, facts)
