"""The states: what may follow what, and what a message is whose recipients stand so and so."""

from __future__ import annotations

from itertools import combinations

import pytest

from relay.model.message import OPEN_STATES, TRANSITIONS, MessageState, RecipientState, derive_state

S = RecipientState
FINAL = {S.SENT, S.CANCELLED, S.SUPPRESSED, S.CAPTURED}


@pytest.mark.parametrize(
    ("states", "message"),
    [
        ({S.QUEUED}, MessageState.OPEN),
        ({S.QUEUED, S.SENT, S.FAILED}, MessageState.OPEN),
        ({S.DEFERRED, S.HELD}, MessageState.OPEN),
        ({S.UNKNOWN, S.SENT}, MessageState.OPEN),
        ({S.HELD}, MessageState.HELD),
        ({S.HELD, S.SENT}, MessageState.HELD),
        ({S.SENT}, MessageState.SENT),
        ({S.SENT, S.FAILED}, MessageState.PARTIAL),
        ({S.SENT, S.CANCELLED}, MessageState.PARTIAL),
        ({S.SENT, S.EXPIRED}, MessageState.PARTIAL),
        ({S.FAILED}, MessageState.FAILED),
        ({S.EXPIRED}, MessageState.FAILED),
        ({S.SUPPRESSED}, MessageState.FAILED),
        ({S.FAILED, S.CANCELLED}, MessageState.FAILED),
        ({S.CANCELLED}, MessageState.CANCELLED),
        ({S.CAPTURED}, MessageState.CAPTURED),
    ],
)
def test_derive_state(states: set[RecipientState], message: MessageState) -> None:
    assert derive_state(frozenset(states)) is message


def test_a_message_with_an_open_recipient_never_looks_finished() -> None:
    for size in range(1, len(S) + 1):
        for states in combinations(S, size):
            derived = derive_state(frozenset(states))
            assert (derived in {MessageState.OPEN, MessageState.HELD}) == bool(set(states) & OPEN_STATES)


def test_every_state_has_its_row_and_final_ones_are_final() -> None:
    assert set(TRANSITIONS) == set(S)
    assert {state for state, after in TRANSITIONS.items() if not after} == FINAL


@pytest.mark.parametrize("state", [S.QUEUED, S.DEFERRED, S.UNKNOWN])
def test_what_may_be_attempted_may_end_in_every_outcome(state: RecipientState) -> None:
    assert set(S) - {S.QUEUED} <= TRANSITIONS[state]


def test_nothing_that_is_closed_opens_but_by_going_back_to_queued() -> None:
    for state in set(S) - OPEN_STATES:
        assert TRANSITIONS[state] <= {S.QUEUED}
