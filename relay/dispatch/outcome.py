"""Outcome: from what an attempt brought to what is written: states, the next due time, events. Pure.

One recipient's answer never decides for another; an account's fault never counts against the mail.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from relay.clock import rfc3339
from relay.dispatch.retry import RetryPolicy, spread_of
from relay.dispatch.slots import is_spent
from relay.model.delivery import (
    AccountFault,
    Attempt,
    Category,
    LeasedDelivery,
    Phase,
    RecipientChange,
    RecipientOutcome,
    Settlement,
    Verdict,
)
from relay.model.event import Event, EventKind, Facts
from relay.model.message import OPEN_STATES, DeliveryState, Recipient, RecipientState
from relay.model.queue_key import account_key_of
from relay.model.tenant import OnUnknown

_STATES = {
    Verdict.SENT: (RecipientState.SENT, EventKind.SENT),
    Verdict.FAILED: (RecipientState.FAILED, EventKind.FAILED),
    Verdict.DEFERRED: (RecipientState.DEFERRED, EventKind.DEFERRED),
    Verdict.UNKNOWN: (RecipientState.UNKNOWN, EventKind.UNKNOWN),
    Verdict.CAPTURED: (RecipientState.CAPTURED, EventKind.CAPTURED),
}
_CLOSING = frozenset({Verdict.SENT, Verdict.FAILED, Verdict.CAPTURED})
"""There is no next try to ask for."""
_TOO_MANY_RECIPIENTS = "4.5.3"
LOCAL_ERRORS = 3
"""Attempts that may end in an unexpected error before the delivery is held."""


@dataclass(frozen=True, slots=True)
class _Next:
    """When the delivery is tried again, if it is: None gives up. `expired`: it would be too late by then.

    `by` is `reply` or `rule` where one of them has set the time, not the schedule.
    """

    at: int | None
    expired: bool = False
    by: str | None = None


def settle_attempt(
    delivery: LeasedDelivery, attempt: Attempt, retry: RetryPolicy, on_unknown: OnUnknown, now: int
) -> Settlement:
    """What follows from an attempt without an account's fault."""
    if len(delivery.recipients) == len(attempt.outcomes) == 1 and attempt.outcomes[0].verdict in _CLOSING:
        return _settle_the_only_one(delivery, attempt, now)
    brought = {outcome.position: outcome for outcome in attempt.outcomes}
    closed = len(brought) == len(delivery.recipients) and all(o.verdict in _CLOSING for o in attempt.outcomes)
    rest_at_once = not closed and _only_too_many(attempt)
    next_try = _Next(now) if closed or rest_at_once else _next_try(delivery, attempt, retry, now)
    changes: list[RecipientChange] = []
    events: list[Event] = []
    for recipient in delivery.recipients:
        # One of whom nothing is known is tried again: silence never closes a delivery.
        outcome = brought.get(recipient.position) or RecipientOutcome(recipient.position, Verdict.DEFERRED, None)
        after = _next_for(outcome, next_try, on_unknown)
        change, event = _judge(delivery, recipient, outcome, attempt, after, counted=not rest_at_once)
        changes.append(change)
        events.append(event)
    changes = _hold_unknown(changes, on_unknown)
    state = _delivery_state(changes, next_try, on_unknown)
    return settlement_of(
        delivery,
        state=state,
        due=next_try.at if state is DeliveryState.READY and next_try.at is not None else now,
        at=now,
        recipients=tuple(changes),
        events=tuple(events),
        record=attempt,
        counts=not rest_at_once,
        spent=is_spent(delivery, attempt),
    )


def _settle_the_only_one(delivery: LeasedDelivery, attempt: Attempt, now: int) -> Settlement:
    """As settle_attempt, which this is for nearly all mail: one recipient, for whom it is over."""
    change, event = _judge(delivery, delivery.recipients[0], attempt.outcomes[0], attempt, _Next(now), counted=True)
    return settlement_of(
        delivery,
        state=DeliveryState.DONE,
        due=now,
        at=now,
        recipients=(change,),
        events=(event,),
        record=attempt,
        counts=True,
        spent=is_spent(delivery, attempt),
    )


def _judge(
    delivery: LeasedDelivery,
    recipient: Recipient,
    outcome: RecipientOutcome,
    attempt: Attempt,
    next_try: _Next,
    *,
    counted: bool,
) -> tuple[RecipientChange, Event]:
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


def settle_fault(
    delivery: LeasedDelivery,
    attempt: Attempt,
    fault: AccountFault,
    probe_at: int,
    on_unknown: OnUnknown,
    now: int,
    *,
    until: int | None = None,
) -> Settlement:
    """The account's fault: what the attempt did bring holds; the others wait, no attempt counted.

    They are due at once, behind what was due before: the breaker alone keeps them back, until `probe_at` or until the
    account is mended. They wait no longer than `until` (RetryPolicy.longest_wait); None: as long as it takes.
    """
    waits = until is None or now < until
    brought = {outcome.position: outcome for outcome in attempt.outcomes}
    changes: list[RecipientChange] = []
    events: list[Event] = []
    for recipient in delivery.recipients:
        outcome = brought.get(recipient.position)
        if outcome is not None and outcome.verdict is not Verdict.DEFERRED:
            after = _next_for(outcome, _Next(probe_at), on_unknown)
            change, event = _judge(delivery, recipient, outcome, attempt, after, counted=True)
        else:
            change, event = _wait(delivery, recipient, attempt, fault, probe_at if waits else None)
        changes.append(change)
        events.append(event)
    changes = _hold_unknown(changes, on_unknown)
    return settlement_of(
        delivery,
        state=_delivery_state(changes, _Next(probe_at), on_unknown),
        due=now,
        at=now,
        recipients=tuple(changes),
        events=tuple(events),
        record=attempt,
        spent=is_spent(delivery, attempt),
    )


def _wait(
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


def settle_local_error(delivery: LeasedDelivery, attempt: Attempt, due: int, now: int) -> Settlement:
    """An error of ours that nobody foresaw: the mail waits. It is counted, since a message that provokes it each time may
    reach the next hop each time; after LOCAL_ERRORS of them the delivery is held until somebody has looked."""
    assert attempt.fault is not None  # noqa: S101  # for mypy: it is what the caller has just made
    waiting = settle_fault(delivery, attempt, attempt.fault, due, OnUnknown.RETRY, now)
    waiting = replace(waiting, due=due, counts=True, spent=True)
    if delivery.attempt < LOCAL_ERRORS:
        return waiting
    facts: Facts = {"reason": f"local error in {delivery.attempt} attempts, see the log; retry or cancel it"}
    return replace(
        waiting,
        state=DeliveryState.HELD,
        recipients=tuple(replace(change, state=RecipientState.HELD) for change in waiting.recipients),
        events=tuple(event_of(delivery, EventKind.HELD, now, recipient, facts) for recipient in delivery.recipients),
    )


def settlement_of(
    delivery: LeasedDelivery,
    *,
    state: DeliveryState,
    due: int,
    at: int,
    recipients: tuple[RecipientChange, ...] = (),
    events: tuple[Event, ...] = (),
    record: Attempt | None = None,
    counts: bool = False,
    spent: bool = False,
) -> Settlement:
    """A settlement of this lease."""
    message = delivery.message
    return Settlement(
        delivery.id,
        delivery.attempt,
        message.id,
        message.tenant,
        delivery.queue_key,
        state,
        due,
        at,
        recipients,
        events,
        record,
        counts=counts,
        slots=delivery.slots,
        spent=spent,
        whole=delivery.whole and len(recipients) == len(delivery.recipients),
    )


def _next_try(delivery: LeasedDelivery, attempt: Attempt, retry: RetryPolicy, now: int) -> _Next:
    """By the schedule, or as asked for. The delivery goes as one: nobody in it is asked again sooner than he said."""
    of = (delivery.attempt, since(delivery), now, spread_of(delivery.id, delivery.attempt))
    at, by = retry.next_attempt(*of), None
    granted = [
        (delay, "rule" if outcome.asked.by_rule else "reply")
        for outcome in attempt.outcomes
        if outcome.asked is not None and (delay := retry.grants(outcome.asked)) is not None
    ]
    if granted:
        delay, who = max(granted)
        then = retry.next_attempt(*of, granted=delay)
        closed = sum(one.verdict in _CLOSING for one in attempt.outcomes)
        others = len(delivery.recipients) > len(granted) + closed
        if then is not None and (at is None or then > at or not others):
            at, by = then, who
    expires = delivery.message.expires_at
    return _Next(at, at is not None and expires is not None and at >= expires, by)


def _next_for(outcome: RecipientOutcome, next_try: _Next, on_unknown: OnUnknown) -> _Next:
    return _Next(None) if outcome.verdict is Verdict.UNKNOWN and on_unknown is OnUnknown.HOLD else next_try


def _hold_unknown(changes: list[RecipientChange], on_unknown: OnUnknown) -> list[RecipientChange]:
    """Where others of the delivery are still to be tried, unknown ones to be held must not go along: each is held alone."""
    if on_unknown is OnUnknown.RETRY or not any(change.state is RecipientState.DEFERRED for change in changes):
        return changes
    return [
        replace(change, state=RecipientState.HELD) if change.state is RecipientState.UNKNOWN else change
        for change in changes
    ]


def _delivery_state(changes: list[RecipientChange], next_try: _Next, on_unknown: OnUnknown) -> DeliveryState:
    states = {change.state for change in changes} & OPEN_STATES
    if not states:
        return DeliveryState.DONE
    if states == {RecipientState.UNKNOWN} and (on_unknown is OnUnknown.HOLD or next_try.at is None or next_try.expired):
        return DeliveryState.HELD
    return DeliveryState.READY


def _only_too_many(attempt: Attempt) -> bool:
    """All that is left was put off for its number alone (RFC 5321 §4.5.3.1.10): it goes at once, in a new transaction."""
    left = [outcome for outcome in attempt.outcomes if outcome.verdict is Verdict.DEFERRED]
    return (
        bool(left)
        and any(outcome.verdict is Verdict.SENT for outcome in attempt.outcomes)
        and all(
            outcome.phase is Phase.RCPT
            and outcome.reply is not None
            and outcome.reply.code == 452
            and outcome.reply.enhanced in {None, _TOO_MANY_RECIPIENTS}
            and outcome.asked is None
            for outcome in left
        )
    )


def since(delivery: LeasedDelivery) -> int:
    """When it could first be sent."""
    message = delivery.message
    accepted, at = message.accepted_at, message.not_before
    return accepted if at is None or at < accepted else at


def event_of(delivery: LeasedDelivery, kind: EventKind, at: int, recipient: Recipient, facts: Facts) -> Event:
    """What happened to a recipient."""
    return Event(kind, at, delivery.message.tenant, delivery.message.id, recipient.address, facts)
