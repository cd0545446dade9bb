"""Outcome: from what an attempt brought to what is written: states, the next due time, events. Pure.

Each recipient is judged alone (relay.dispatch.recipient); an account's fault never counts against the mail.
"""

from __future__ import annotations

from dataclasses import replace

from relay.dispatch.recipient import CLOSING, NextTry, event_of, judge, keep_waiting, next_for, since
from relay.dispatch.retry import RetryPolicy, spread_of
from relay.dispatch.slots import is_spent
from relay.model.delivery import (
    AccountFault,
    Attempt,
    LeasedDelivery,
    Phase,
    RecipientChange,
    RecipientOutcome,
    Settlement,
    Verdict,
)
from relay.model.event import Event, EventKind, Facts
from relay.model.message import OPEN_STATES, DeliveryState, RecipientState
from relay.model.tenant import OnUnknown

_TOO_MANY_RECIPIENTS = "4.5.3"
LOCAL_ERRORS = 3
"""Attempts that may end in an unexpected error before the delivery is held."""


def settle_attempt(
    delivery: LeasedDelivery, attempt: Attempt, retry: RetryPolicy, on_unknown: OnUnknown, now: int
) -> Settlement:
    """What follows from an attempt without an account's fault."""
    if len(delivery.recipients) == len(attempt.outcomes) == 1 and attempt.outcomes[0].verdict in CLOSING:
        return _settle_the_only_one(delivery, attempt, now)
    brought = {outcome.position: outcome for outcome in attempt.outcomes}
    closed = len(brought) == len(delivery.recipients) and all(o.verdict in CLOSING for o in attempt.outcomes)
    rest_at_once = not closed and _only_too_many(attempt)
    next_try = NextTry(now) if closed or rest_at_once else _next_try(delivery, attempt, retry, now)
    changes: list[RecipientChange] = []
    events: list[Event] = []
    for recipient in delivery.recipients:
        # One of whom nothing is known is tried again: silence never closes a delivery.
        outcome = brought.get(recipient.position) or RecipientOutcome(recipient.position, Verdict.DEFERRED, None)
        after = next_for(outcome, next_try, on_unknown)
        change, event = judge(delivery, recipient, outcome, attempt, after, counted=not rest_at_once)
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
    change, event = judge(delivery, delivery.recipients[0], attempt.outcomes[0], attempt, NextTry(now), counted=True)
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
            after = next_for(outcome, NextTry(probe_at), on_unknown)
            change, event = judge(delivery, recipient, outcome, attempt, after, counted=True)
        else:
            change, event = keep_waiting(delivery, recipient, attempt, fault, probe_at if waits else None)
        changes.append(change)
        events.append(event)
    changes = _hold_unknown(changes, on_unknown)
    return settlement_of(
        delivery,
        state=_delivery_state(changes, NextTry(probe_at), on_unknown),
        due=now,
        at=now,
        recipients=tuple(changes),
        events=tuple(events),
        record=attempt,
        spent=is_spent(delivery, attempt),
    )


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


def _next_try(delivery: LeasedDelivery, attempt: Attempt, retry: RetryPolicy, now: int) -> NextTry:
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
        closed = sum(one.verdict in CLOSING for one in attempt.outcomes)
        others = len(delivery.recipients) > len(granted) + closed
        if then is not None and (at is None or then > at or not others):
            at, by = then, who
    expires = delivery.message.expires_at
    return NextTry(at, at is not None and expires is not None and at >= expires, by)


def _hold_unknown(changes: list[RecipientChange], on_unknown: OnUnknown) -> list[RecipientChange]:
    """Where others of the delivery are still to be tried, unknown ones to be held must not go along: each is held alone."""
    if on_unknown is OnUnknown.RETRY or not any(change.state is RecipientState.DEFERRED for change in changes):
        return changes
    return [
        replace(change, state=RecipientState.HELD) if change.state is RecipientState.UNKNOWN else change
        for change in changes
    ]


def _delivery_state(changes: list[RecipientChange], next_try: NextTry, on_unknown: OnUnknown) -> DeliveryState:
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
