"""Retry policy and breaker: pure functions of values and now, by table."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.clock import DAY, HOUR, MINUTE, SECOND
from relay.dispatch.breaker import FIRST_PAUSE, LONGEST_PAUSE, Breaker
from relay.dispatch.retry import DEFAULT_SCHEDULE, RetryPolicy, spread_of
from relay.model.delivery import Asked
from relay.model.tenant import RetrySettings
from tests.support.clock import START

NOW = START
EXACT = RetryPolicy(jitter=0)
LASTING = RetryPolicy(jitter=0, max_age=1 * DAY)


@pytest.mark.parametrize(
    ("policy", "attempts", "age", "delay"),
    [
        (EXACT, 1, 0, 1 * MINUTE),
        (EXACT, 2, 0, 5 * MINUTE),
        (EXACT, 3, 0, 15 * MINUTE),
        (EXACT, 4, 0, 1 * HOUR),
        (EXACT, 5, 0, 2 * HOUR),
        (EXACT, 6, 0, None),  # five retries, then failed
        (EXACT, 600, 0, None),
        (EXACT, 5, 30 * DAY, 2 * HOUR),  # the schedule is kept however old it is
        (LASTING, 6, 4 * HOUR, 2 * HOUR),  # the last step again
        (LASTING, 6, 22 * HOUR, 2 * HOUR),
        (LASTING, 6, 22 * HOUR + 1, None),
        (LASTING, 1, 2 * DAY, None),  # too old is too old, wherever the schedule stands
        (RetryPolicy(jitter=0, max_age=10 * MINUTE), 2, 1 * MINUTE, 5 * MINUTE),
        (RetryPolicy(jitter=0, max_age=10 * MINUTE), 3, 6 * MINUTE, None),
        (RetryPolicy(jitter=0, max_attempts=3), 2, 0, 5 * MINUTE),
        (RetryPolicy(jitter=0, max_attempts=3), 3, 0, None),
        (RetryPolicy(jitter=0, max_attempts=8), 7, 0, 2 * HOUR),  # the last step again
        (RetryPolicy(jitter=0, max_attempts=8), 8, 0, None),
        (RetryPolicy(jitter=0, max_attempts=1), 1, 0, None),
        (RetryPolicy(jitter=0, max_attempts=20, max_age=DAY), 7, 23 * HOUR, None),
        (RetryPolicy(jitter=0, max_attempts=7, max_age=DAY), 7, HOUR, None),
        (RetryPolicy((), max_age=DAY), 1, 0, None),
        (RetryPolicy((7 * SECOND,), jitter=0), 1, 0, 7 * SECOND),
        (RetryPolicy((7 * SECOND,), jitter=0), 2, 0, None),
    ],
)
def test_schedule(policy: RetryPolicy, attempts: int, age: int, delay: int | None) -> None:
    at = policy.next_attempt(attempts, NOW - age, NOW, 0.5)
    assert at == (None if delay is None else NOW + delay)


@pytest.mark.parametrize(
    ("policy", "attempts", "age", "hint", "delay"),
    [
        (EXACT, 1, 0, 300 * SECOND, 300 * SECOND),  # longer than the schedule
        (EXACT, 4, HOUR, 30 * SECOND, 30 * SECOND),  # sooner than the schedule
        (EXACT, 1, 0, 0, 5 * SECOND),
        (EXACT, 1, 0, 9 * DAY, 2 * HOUR),
        (RetryPolicy(jitter=0, hint_min=MINUTE, hint_max=10 * MINUTE), 1, 0, 1, MINUTE),
        (RetryPolicy(jitter=0, hint_min=MINUTE, hint_max=10 * MINUTE), 1, 0, HOUR, 10 * MINUTE),
        (RetryPolicy(jitter=0, hint_max=None), 1, 0, HOUR, MINUTE),  # not followed
        (EXACT, 6, 3 * MINUTE, 30 * SECOND, 2 * HOUR),  # retries that were asked for sooner do not end it sooner
        (EXACT, 7, 4 * HOUR, 30 * SECOND, None),
        (RetryPolicy(jitter=0, max_attempts=6), 6, 3 * MINUTE, 30 * SECOND, None),
        (RetryPolicy(jitter=0, max_age=HOUR), 1, 59 * MINUTE, 2 * MINUTE, None),
        (RetryPolicy(()), 1, 0, 30 * SECOND, None),
    ],
)
def test_what_a_reply_asks_for_is_kept_within_bounds(
    policy: RetryPolicy, attempts: int, age: int, hint: int, delay: int | None
) -> None:
    at = policy.next_attempt(attempts, NOW - age, NOW, 0.5, granted=policy.grants(Asked(hint)))
    assert at == (None if delay is None else NOW + delay)


def test_what_an_operator_s_rule_demands_has_no_bounds() -> None:
    assert EXACT.grants(Asked(9 * DAY, by_rule=True)) == 9 * DAY
    assert EXACT.grants(None) is None


@given(st.floats(0, 1, exclude_max=True))
def test_jitter_never_shortens_what_a_reply_asks_for(spread: float) -> None:
    at = RetryPolicy().next_attempt(1, NOW, NOW, spread, granted=300 * SECOND)
    assert at is not None
    assert 300 * SECOND <= at - NOW <= 330 * SECOND


@pytest.mark.parametrize(
    ("account", "tenant", "expected"),
    [
        (RetrySettings(), RetrySettings(), EXACT),
        (RetrySettings(max_attempts=2), RetrySettings(max_attempts=5), replace(EXACT, max_attempts=2)),
        (RetrySettings(), RetrySettings(max_attempts=5), replace(EXACT, max_attempts=5)),
        (
            RetrySettings(schedule=(SECOND,)),
            RetrySettings(jitter=0.3, max_age=DAY),
            RetryPolicy((SECOND,), max_age=DAY, jitter=0.3),
        ),
        (RetrySettings(jitter=0.0), RetrySettings(jitter=0.3), EXACT),
    ],
)
def test_the_account_s_word_wins_over_the_tenant_s_and_that_over_the_instance_s(
    account: RetrySettings, tenant: RetrySettings, expected: RetryPolicy
) -> None:
    assert EXACT.with_settings(account, tenant) == expected


@pytest.mark.parametrize(("policy", "wait"), [(EXACT, 5 * DAY), (LASTING, DAY), (RetryPolicy(max_wait=HOUR), HOUR)])
def test_mail_waits_for_an_account_that_is_out_of_order_but_not_for_ever(policy: RetryPolicy, wait: int) -> None:
    assert policy.longest_wait == wait


@pytest.mark.parametrize(("spread", "share"), [(0.0, 0.9), (0.5, 1.0), (0.999999, 1.1)])
def test_jitter_moves_a_delay_by_a_tenth_at_most(spread: float, share: float) -> None:
    for attempts, delay in enumerate(DEFAULT_SCHEDULE, 1):
        at = RetryPolicy().next_attempt(attempts, NOW, NOW, spread)
        assert at is not None
        assert at - NOW == pytest.approx(delay * share, rel=1e-5)


@given(st.text(max_size=20), st.integers(1, 50))
def test_spread_is_a_share_and_can_be_foretold(delivery: str, attempt: int) -> None:
    assert 0 <= spread_of(delivery, attempt) < 1
    assert spread_of(delivery, attempt) == spread_of(delivery, attempt)


def test_what_failed_together_does_not_come_back_together() -> None:
    spreads = sorted(spread_of(f"0123456789abc{n:03}.1", 1) for n in range(1000))
    assert spreads[100] < 0.2
    assert spreads[900] > 0.8


def test_a_breaker_opens_for_longer_with_each_fault_in_a_row() -> None:
    breaker, now, pauses = Breaker(), NOW, []
    for _ in range(30):
        breaker = breaker.after_fault(now)
        pauses.append(breaker.open_until - now)
        now = breaker.open_until
    assert pauses[:4] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE, 8 * FIRST_PAUSE]
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE


def test_faults_of_attempts_side_by_side_count_once() -> None:
    once = Breaker().after_fault(NOW)
    assert once.after_fault(NOW) is once
    assert once.after_fault(once.open_until - 1) is once
    assert once.after_fault(once.open_until).faults == 2


@pytest.mark.parametrize(
    ("breaker", "now", "free", "in_flight", "allowed"),
    [
        (Breaker(), NOW, 7, 3, 7),
        (Breaker(), NOW, 0, 3, 0),
        (Breaker(1, NOW + 1), NOW, 7, 0, 0),
        (Breaker(1, NOW), NOW, 7, 0, 1),
        (Breaker(1, NOW), NOW, 7, 1, 0),
        (Breaker(1, NOW), NOW, 0, 0, 0),
    ],
)
def test_an_open_breaker_lets_one_through_when_its_time_has_come(
    breaker: Breaker, now: int, free: int, in_flight: int, allowed: int
) -> None:
    assert breaker.allowance(now, free, in_flight) == allowed
