"""Recipient: what becomes of one recipient by what an attempt brought, and the event that tells of it. Pure.

A recipient is judged by what was said of it, never by what another was told; where the account is at fault, it waits.
"""

from __future__ import annotations

from dataclasses import dataclass

from relay.clock import rfc3339
from relay.model.delivery import (
    AccountFault,
    Attempt,
    Category,
    LeasedDelivery,
    RecipientChange,
    RecipientOutcome,
    Verdict,
)
from relay.model.event import Event, EventKind, Facts
from relay.model.message import OPEN_STATES, Recipient, RecipientState
from relay.model.queue_key import account_key_of
from relay.model.tenant import OnUnknown

_STATES = {
    Verdict.SENT: (RecipientState.SENT, EventKind.SENT),
    Verdict.FAILED: (RecipientState.FAILED, EventKind.FAILED),
    Verdict.DEFERRED: (RecipientState.DEFERRED, EventKind.DEFERRED),
    Verdict.UNKNOWN: (RecipientState.UNKNOWN, EventKind.UNKNOWN),
    Verdict.CAPTURED: (RecipientState.CAPTURED, EventKind.CAPTURED),
}
CLOSING = frozenset({Verdict.SENT, Verdict.FAILED, Verdict.CAPTURED})
"""There is no next try to ask for."""


@dataclass(frozen=True, slots=True)
class NextTry:
    """When the delivery is tried again, if it is: None gives up. `expired`: it would be too late by then.

    `by` is `reply` or `rule` where one of them has set the time, not the schedule.
    """

    at: int | None
    expired: bool = False
    by: str | None = None


def next_for(outcome: RecipientOutcome, next_try: NextTry, on_unknown: OnUnknown) -> NextTry:
    """The same for one recipient: nobody tries again what is to be held."""
    return NextTry(None) if outcome.verdict is Verdict.UNKNOWN and on_unknown is OnUnknown.HOLD else next_try


def judge(
    delivery: LeasedDelivery,
    recipient: Recipient,
    outcome: RecipientOutcome,
    attempt: Attempt,
    next_try: NextTry,
    *,
    counted: bool,
) -> tuple[RecipientChange, Event]:
    """By its outcome. `counted`: the attempt counts even where it is deferred."""
    state, kind = _STATES[outcome.verdict]
    category = outcome.category
    attempts = recipient.attempts + (1 if counted or state is not RecipientState.DEFERRED else 0)
    facts: dict[str, str | int | None] = {} if outcome.reply is None else {"reply": str(outcome.reply)}
    if state is RecipientState.DEFERRED and next_try.expired:
        state, kind, category = RecipientState.EXPIRED, EventKind.EXPIRED, Category.EXPIRED
    elif state is RecipientState.DEFERRED and next_try.at is None:
        state, kind = RecipientState.FAILED, EventKind.FAILED
        facts["reason"] = f"given up after {attempts} attempts"
    elif state in OPEN_STATES:
        facts["next_attempt_at"] = None if next_try.at is None else rfc3339(next_try.at)
        if next_try.by is not None:
            facts["next_attempt_by"] = next_try.by
    token = None
    if category is not Category.NONE:
        facts["category"] = token = category.value
    facts["account"] = account_key_of(delivery.queue_key)
    facts["next_hop"] = attempt.next_hop
    facts["attempt"] = delivery.attempt
    facts["delay_ms"] = (attempt.finished_at - since(delivery)) // 1000
    change = RecipientChange(outcome.position, state, outcome.reply, token, attempts)
    return change, event_of(delivery, kind, attempt.finished_at, recipient, facts)


def keep_waiting(
    delivery: LeasedDelivery, recipient: Recipient, attempt: Attempt, fault: AccountFault, due: int | None
) -> tuple[RecipientChange, Event]:
    """Until `due`; None: it has waited long enough."""
    facts: dict[str, str | int | None] = {} if fault.reply is None else {"reply": str(fault.reply)}
    facts |= {
        "category": fault.category.value,
        "reason": fault.detail if due is not None else waited_too_long(fault.detail),
        "account": account_key_of(delivery.queue_key),
        "next_hop": attempt.next_hop,
    }
    state, kind, category = RecipientState.DEFERRED, EventKind.DEFERRED, fault.category
    if due is None:
        state, kind, category = RecipientState.EXPIRED, EventKind.EXPIRED, Category.EXPIRED
    else:
        facts["next_attempt_at"] = rfc3339(due)
    change = RecipientChange(recipient.position, state, fault.reply, category.value, recipient.attempts)
    return change, event_of(delivery, kind, attempt.finished_at, recipient, facts)


def waited_too_long(ailment: str) -> str:
    """Why mail expires for an account that is out of order."""
    return f"waited too long for an account that is out of order: {ailment}"


def since(delivery: LeasedDelivery) -> int:
    """When it could first be sent."""
    message = delivery.message
    accepted, at = message.accepted_at, message.not_before
    return accepted if at is None or at < accepted else at


def event_of(delivery: LeasedDelivery, kind: EventKind, at: int, recipient: Recipient, facts: Facts) -> Event:
    """What happened to a recipient."""
    return Event(kind, at, delivery.message.tenant, delivery.message.id, recipient.address, facts)
