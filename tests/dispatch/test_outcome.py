"""Outcome: every verdict × retries left × expiry × on_unknown, and that no outcome breaks the table of states."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations_with_replacement, product

import pytest

from relay.clock import HOUR, MINUTE, SECOND, rfc3339
from relay.dispatch.outcome import settle_attempt, settle_fault
from relay.dispatch.retry import RetryPolicy
from relay.dispatch.untried import divide, hold_back, no_account, settle_expired, settle_over_limit
from relay.model.address import Address
from relay.model.delivery import (
    AccountFault,
    Asked,
    Attempt,
    Category,
    LeasedDelivery,
    Part,
    Phase,
    RecipientOutcome,
    Settlement,
    Verdict,
)
from relay.model.event import EventKind
from relay.model.message import (
    OPEN_STATES,
    TRANSITIONS,
    DeliveryState,
    Message,
    Priority,
    QueueId,
    Recipient,
    RecipientState,
    Source,
)
from relay.model.reply import Reply
from relay.model.tenant import OnUnknown
from tests.support.clock import START

NOW = START
RETRY = RetryPolicy((MINUTE,), jitter=0)
R, V, D = RecipientState, Verdict, DeliveryState
OK, LATER, NEVER = Reply(250, "2.0.0", "ok"), Reply(450, "4.2.0", "later"), Reply(550, "5.1.1", "never")
REPLIES = {V.SENT: OK, V.DEFERRED: LATER, V.FAILED: NEVER, V.UNKNOWN: None, V.CAPTURED: None}
TOO_MANY = Reply(452, "4.5.3", "too many recipients")
FAULT = AccountFault(Category.AUTH, Phase.AUTH, Reply(535, "5.7.8", "no"), "password refused")
MESSAGE = Message(
    id=QueueId("0123456789abcdef"),
    tenant="acme",
    sender=Address("ann@acme.example"),
    priority=Priority.MEDIUM,
    accepted_at=NOW - HOUR,
    size=10,
    message_id="<1@acme.example>",
    source=Source.SMTP,
    account="main",
)


def leased(*states: RecipientState, attempt: int = 1, expires_at: int | None = None) -> LeasedDelivery:
    recipients = tuple(Recipient(n, Address(f"r{n}@b.example"), state) for n, state in enumerate(states))
    message = replace(MESSAGE, expires_at=expires_at)
    return LeasedDelivery(f"{message.id}.1", message, "acme/main/acme", attempt, recipients, b"", NOW - HOUR)


def brought(*verdicts: Verdict, fault: AccountFault | None = None) -> Attempt:
    outcomes = tuple(RecipientOutcome(n, verdict, REPLIES[verdict]) for n, verdict in enumerate(verdicts))
    return Attempt(outcomes, NOW - SECOND, NOW, "hop.example:25", fault=fault)


def settle(
    *verdicts: Verdict, attempt: int = 1, expires_at: int | None = None, on_unknown: OnUnknown = OnUnknown.RETRY
) -> Settlement:
    delivery = leased(*[R.QUEUED] * len(verdicts), attempt=attempt, expires_at=expires_at)
    return settle_attempt(delivery, brought(*verdicts), RETRY, on_unknown, NOW)


def states(settlement: Settlement) -> list[RecipientState]:
    return [change.state for change in settlement.recipients]


LAST, HOLD, SOON = 2, OnUnknown.HOLD, NOW + MINUTE


@pytest.mark.parametrize(
    ("verdicts", "attempt", "expires_at", "on_unknown", "expected", "delivery", "due"),
    [
        ([V.SENT], 1, None, None, [R.SENT], D.DONE, None),
        ([V.FAILED], 1, None, None, [R.FAILED], D.DONE, None),
        ([V.CAPTURED], 1, None, None, [R.CAPTURED], D.DONE, None),
        ([V.DEFERRED], 1, None, None, [R.DEFERRED], D.READY, SOON),
        ([V.DEFERRED], LAST, None, None, [R.FAILED], D.DONE, None),
        ([V.DEFERRED], 1, SOON + 1, None, [R.DEFERRED], D.READY, SOON),
        ([V.DEFERRED], 1, SOON, None, [R.EXPIRED], D.DONE, None),
        ([V.SENT], 1, SOON, None, [R.SENT], D.DONE, None),
        ([V.SENT, V.FAILED, V.DEFERRED], 1, None, None, [R.SENT, R.FAILED, R.DEFERRED], D.READY, SOON),
        ([V.SENT, V.FAILED, V.DEFERRED], LAST, None, None, [R.SENT, R.FAILED, R.FAILED], D.DONE, None),
        ([V.UNKNOWN], 1, None, None, [R.UNKNOWN], D.READY, SOON),
        ([V.UNKNOWN], LAST, None, None, [R.UNKNOWN], D.HELD, None),
        ([V.UNKNOWN], 1, SOON, None, [R.UNKNOWN], D.HELD, None),
        ([V.UNKNOWN], 1, None, HOLD, [R.UNKNOWN], D.HELD, None),
        ([V.UNKNOWN, V.FAILED], 1, None, HOLD, [R.UNKNOWN, R.FAILED], D.HELD, None),
        ([V.UNKNOWN, V.DEFERRED], 1, None, None, [R.UNKNOWN, R.DEFERRED], D.READY, SOON),
        ([V.UNKNOWN, V.DEFERRED], 1, None, HOLD, [R.HELD, R.DEFERRED], D.READY, SOON),
        ([V.UNKNOWN, V.DEFERRED], LAST, None, HOLD, [R.UNKNOWN, R.FAILED], D.HELD, None),
        ([V.UNKNOWN, V.DEFERRED], 1, SOON, HOLD, [R.UNKNOWN, R.EXPIRED], D.HELD, None),
    ],
)
def test_what_follows_from_an_attempt(
    verdicts: list[Verdict],
    attempt: int,
    expires_at: int | None,
    on_unknown: OnUnknown | None,
    expected: list[RecipientState],
    delivery: DeliveryState,
    due: int | None,
) -> None:
    settled = settle(*verdicts, attempt=attempt, expires_at=expires_at, on_unknown=on_unknown or OnUnknown.RETRY)
    assert states(settled) == expected
    assert settled.state is delivery
    assert due is None or settled.due == due
    assert settled.counts


@pytest.mark.parametrize("category", [Category.NONE, Category.MAILBOX])
@pytest.mark.parametrize("verdict", [V.SENT, V.FAILED, V.CAPTURED])
def test_the_short_way_of_the_only_one_leads_where_the_general_one_does(verdict: Verdict, category: Category) -> None:
    both = replace(leased(R.QUEUED, R.DEFERRED), whole=True)
    tried = brought(verdict, verdict)
    tried = replace(tried, outcomes=tuple(replace(one, category=category) for one in tried.outcomes))
    general = settle_attempt(both, tried, RETRY, OnUnknown.RETRY, NOW)
    alone = replace(both, recipients=both.recipients[:1])
    short = settle_attempt(alone, replace(tried, outcomes=tried.outcomes[:1]), RETRY, OnUnknown.RETRY, NOW)
    expected = replace(general, recipients=general.recipients[:1], events=general.events[:1], record=short.record)
    assert short == expected
    assert list(short.events[0].facts) == list(expected.events[0].facts)


def _everything() -> list[tuple[Settlement, LeasedDelivery]]:
    """Every combination of up to three verdicts, old states, retries left or not, expiry, on_unknown, fault or not."""
    settled = []
    verdicts = [combo for size in (0, 1, 2, 3) for combo in combinations_with_replacement(Verdict, size)]
    for combo, state, attempt, expires, on_unknown, fault in product(
        verdicts, (R.QUEUED, R.DEFERRED, R.UNKNOWN), (1, LAST), (None, NOW + 1, NOW + HOUR), OnUnknown, (None, FAULT)
    ):
        delivery = leased(*[state] * max(2, len(combo)), attempt=attempt, expires_at=expires)  # one may have no outcome
        tried = brought(*combo, fault=fault)
        if fault is None:
            settled.append((settle_attempt(delivery, tried, RETRY, on_unknown, NOW), delivery))
        else:
            settled.append((settle_fault(delivery, tried, fault, NOW + MINUTE, on_unknown, NOW), delivery))
    return settled


def test_laws_that_hold_for_every_outcome() -> None:
    for settled, delivery in _everything():
        before = {recipient.position: recipient for recipient in delivery.recipients}
        changes = {change.position: change for change in settled.recipients}
        assert set(changes) == set(before), "everybody has an outcome, and one"
        assert len(settled.events) == len(settled.recipients)
        for position, change in changes.items():
            assert change.state in TRANSITIONS[before[position].state]
        still_open = {change.state for change in changes.values()} & OPEN_STATES
        assert (settled.state is DeliveryState.DONE) == (not still_open)
        if settled.state is DeliveryState.READY:
            assert still_open - {R.HELD}, "a delivery that is claimed again has somebody to try"
            assert settled.due > NOW or not settled.counts
        assert (settled.delivery, settled.attempt, settled.queue_key) == (
            delivery.id,
            delivery.attempt,
            "acme/main/acme",
        )


def test_what_is_held_is_never_claimed_again_by_itself() -> None:
    for settled, _ in _everything():
        unknown = [change for change in settled.recipients if change.state is R.UNKNOWN]
        if settled.state is DeliveryState.READY and unknown:
            assert any(event.facts.get("next_attempt_at") for event in settled.events)
    for fault in (None, FAULT):
        delivery, tried = leased(R.QUEUED, R.QUEUED), brought(V.UNKNOWN, V.DEFERRED, fault=fault)
        settled = (
            settle_attempt(delivery, tried, RETRY, HOLD, NOW)
            if fault is None
            else settle_fault(delivery, tried, fault, NOW + MINUTE, HOLD, NOW)
        )
        assert states(settled) == [R.HELD, R.DEFERRED]
        assert "next_attempt_at" not in {k for k, v in settled.events[0].facts.items() if v is not None}


def test_events_tell_who_what_and_when_next() -> None:
    settled = settle(V.SENT, V.FAILED, V.DEFERRED)
    sent, failed, deferred = settled.events
    assert [event.kind for event in settled.events] == [EventKind.SENT, EventKind.FAILED, EventKind.DEFERRED]
    assert sent.recipient == "r0@b.example"
    assert sent.facts["reply"] == "250 2.0.0 ok"
    assert sent.facts["next_hop"] == "hop.example:25"
    assert sent.facts["delay_ms"] == 3_600_000
    assert "next_attempt_at" not in sent.facts
    assert failed.facts["reply"] == "550 5.1.1 never"
    assert deferred.facts["next_attempt_at"] == rfc3339(SOON)
    assert [change.attempts for change in settled.recipients] == [1, 1, 1]


def test_giving_up_says_so() -> None:
    [event] = settle(V.DEFERRED, attempt=LAST).events
    assert event.kind is EventKind.FAILED
    assert event.facts["reason"] == "given up after 1 attempts"
    assert event.facts["reply"] == "450 4.2.0 later"


def too_many(*replies: tuple[Verdict, Reply | None, Phase]) -> Settlement:
    outcomes = tuple(
        RecipientOutcome(n, verdict, reply, Category.RATE, phase) for n, (verdict, reply, phase) in enumerate(replies)
    )
    delivery = leased(*[R.QUEUED] * len(replies))
    return settle_attempt(delivery, Attempt(outcomes, NOW, NOW, "hop:25"), RETRY, OnUnknown.RETRY, NOW)


def asked(*wishes: Asked | None, policy: RetryPolicy = RETRY) -> Settlement:
    outcomes = tuple(
        RecipientOutcome(n, V.DEFERRED, LATER, Category.POLICY, Phase.RCPT, wish) for n, wish in enumerate(wishes)
    )
    attempt = Attempt((*outcomes, RecipientOutcome(len(wishes), V.SENT, OK)), NOW, NOW, "hop:25")
    return settle_attempt(leased(*[R.QUEUED] * (len(wishes) + 1)), attempt, policy, OnUnknown.RETRY, NOW)


HINT, RULE = Asked(5 * MINUTE), Asked(2 * HOUR, by_rule=True)


@pytest.mark.parametrize(
    ("wishes", "due", "by"),
    [
        ([HINT], 5 * MINUTE, "reply"),
        ([RULE], 2 * HOUR, "rule"),
        ([HINT, RULE], 2 * HOUR, "rule"),  # nobody is asked again sooner than he said
        ([HINT, None], 5 * MINUTE, "reply"),
        ([Asked(10 * SECOND)], 10 * SECOND, "reply"),
        ([Asked(10 * SECOND), None], MINUTE, None),
        ([None], MINUTE, None),
    ],
)
def test_a_delay_that_was_asked_for(wishes: list[Asked | None], due: int, by: str | None) -> None:
    settled = asked(*wishes)
    assert (settled.state, settled.due) == (D.READY, NOW + due)
    *deferred, sent = settled.events
    assert {(event.facts["next_attempt_at"], event.facts.get("next_attempt_by")) for event in deferred} == {
        (rfc3339(NOW + due), by)
    }
    assert "next_attempt_by" not in sent.facts


def test_a_delay_that_was_asked_for_has_its_bounds() -> None:
    bounded = replace(RETRY, hint_min=MINUTE, hint_max=HOUR)
    assert asked(Asked(0), policy=bounded).due == NOW + MINUTE
    assert asked(Asked(9 * HOUR), policy=bounded).due == NOW + HOUR
    assert asked(Asked(9 * HOUR, by_rule=True), policy=bounded).due == NOW + 9 * HOUR
    assert asked(HINT, policy=replace(RETRY, hint_max=None)).due == NOW + MINUTE
    assert states(asked(HINT, policy=replace(RETRY, max_attempts=1))) == [R.FAILED, R.SENT]


def test_mail_waits_for_an_account_that_is_out_of_order_but_not_without_end() -> None:
    delivery = leased(R.QUEUED, R.DEFERRED)
    for until, state, kind in ((NOW + 1, R.DEFERRED, EventKind.DEFERRED), (NOW, R.EXPIRED, EventKind.EXPIRED)):
        settled = settle_fault(delivery, brought(fault=FAULT), FAULT, NOW + HOUR, OnUnknown.RETRY, NOW, until=until)
        assert states(settled) == [state] * 2
        assert [event.kind for event in settled.events] == [kind] * 2
        assert "password refused" in str(settled.events[0].facts["reason"])
        assert settled.state is (D.READY if state is R.DEFERRED else D.DONE)


SENT, FULL = (V.SENT, OK, Phase.DOT), (V.DEFERRED, TOO_MANY, Phase.RCPT)


@pytest.mark.parametrize(
    ("replies", "at_once"),
    [
        ([SENT, FULL], True),
        ([SENT, FULL, FULL, (V.FAILED, NEVER, Phase.RCPT)], True),
        ([SENT, (V.DEFERRED, Reply(452, None, "too many"), Phase.RCPT)], True),
        ([SENT, (V.DEFERRED, Reply(452, "4.2.2", "mailbox full"), Phase.RCPT)], False),
        ([SENT, (V.DEFERRED, Reply(450, "4.5.3", "x"), Phase.RCPT)], False),
        ([SENT, FULL, (V.DEFERRED, LATER, Phase.RCPT)], False),
        ([SENT, (V.DEFERRED, replace(TOO_MANY, text="too many, wait 5 minutes"), Phase.RCPT)], True),
        ([FULL], False),  # nobody got through: at once would be for ever
        ([(V.UNKNOWN, None, Phase.DOT), FULL], False),
        ([(V.DEFERRED, TOO_MANY, Phase.DOT), SENT], False),
        ([SENT], False),
    ],
)
def test_too_many_recipients_at_once_go_at_once_in_the_next_transaction(
    replies: list[tuple[Verdict, Reply | None, Phase]], at_once: bool
) -> None:
    settled = too_many(*replies)
    assert settled.counts is not at_once
    if at_once:
        assert (settled.state, settled.due) == (DeliveryState.READY, NOW)
        assert [change.attempts for change in settled.recipients if change.state is R.DEFERRED] == [0] * (
            sum(one is FULL or one[0] is V.DEFERRED for one in replies)
        )


def test_an_account_s_fault_counts_against_no_mail() -> None:
    delivery = leased(R.QUEUED, R.DEFERRED, attempt=LAST)
    settled = settle_fault(delivery, brought(fault=FAULT), FAULT, NOW + HOUR, OnUnknown.RETRY, NOW)
    assert (settled.state, settled.due, settled.counts) == (D.READY, NOW, False), "the breaker alone keeps it back"
    assert settled.events[0].facts["next_attempt_at"] == rfc3339(NOW + HOUR)
    assert [(c.state, c.attempts, c.category) for c in settled.recipients] == [(R.DEFERRED, 0, "auth")] * 2
    assert settled.events[0].facts["reason"] == "password refused"
    assert settled.events[0].facts["reply"] == "535 5.7.8 no"


def test_what_an_attempt_brought_before_the_fault_holds() -> None:
    delivery = leased(R.QUEUED, R.QUEUED, R.QUEUED)
    tried = brought(V.SENT, V.DEFERRED, V.FAILED, fault=FAULT)
    settled = settle_fault(delivery, tried, FAULT, NOW + HOUR, OnUnknown.RETRY, NOW)
    assert states(settled) == [R.SENT, R.DEFERRED, R.FAILED]
    assert settled.state is D.READY
    done = settle_fault(leased(R.QUEUED), brought(V.SENT, fault=FAULT), FAULT, NOW + HOUR, OnUnknown.RETRY, NOW)
    assert done.state is D.DONE


def test_expired() -> None:
    settled = settle_expired(leased(R.QUEUED, R.DEFERRED, R.UNKNOWN), NOW)
    assert states(settled) == [R.EXPIRED] * 3
    assert (settled.state, settled.counts, settled.record) == (D.DONE, False, None)
    assert str(settled.recipients[0].reply).startswith("554 5.4.7")
    assert [event.kind for event in settled.events] == [EventKind.EXPIRED] * 3


def test_a_delivery_that_is_divided_is_otherwise_untouched() -> None:
    parts = (Part("*/main/acme", (0,)), Part("*/main/acme/b.example", (1, 2)))
    settled = divide(leased(R.QUEUED, R.QUEUED, R.QUEUED), parts, NOW)
    assert (settled.queue_key, settled.parts) == ("*/main/acme", parts[1:])
    assert (settled.state, settled.due, settled.counts, settled.spent) == (D.READY, NOW - HOUR, False, False)
    assert (settled.recipients, settled.events, settled.record) == ((), (), None)


def test_what_is_over_a_limit_that_rejects_has_failed_and_says_why() -> None:
    settled = settle_over_limit(leased(R.QUEUED, R.DEFERRED), "tenant:acme", NOW)
    assert (settled.state, settled.counts, settled.spent, settled.record) == (D.DONE, False, False, None)
    assert {(change.state, change.category) for change in settled.recipients} == {(R.FAILED, "rate")}
    assert all("limit of tenant acme" in str(event.facts["reason"]) for event in settled.events)


def test_a_settlement_speaks_for_the_whole_message_only_where_its_delivery_did() -> None:
    part, sent = leased(R.QUEUED, R.QUEUED), brought(Verdict.SENT, Verdict.DEFERRED)
    whole = replace(part, whole=True)
    assert settle_attempt(whole, sent, RETRY, OnUnknown.RETRY, NOW).whole
    assert not settle_attempt(part, sent, RETRY, OnUnknown.RETRY, NOW).whole
    assert not divide(whole, (Part("a", (0,)), Part("b", (1,))), NOW).whole
    assert not hold_back(settle_attempt(whole, sent, RETRY, OnUnknown.RETRY, NOW)).whole


def test_no_account_says_what_to_do() -> None:
    attempt = no_account(leased(R.QUEUED), None, NOW)
    assert attempt.fault is not None
    assert attempt.fault.category is Category.CONFIGURATION
    assert "main" in attempt.fault.detail


def test_an_outcome_that_cannot_be_written_holds_the_delivery() -> None:
    held = hold_back(settle(V.SENT))
    assert (held.state, held.recipients, held.events, held.record) == (D.HELD, (), (), None)
    assert held.delivery == f"{MESSAGE.id}.1"
