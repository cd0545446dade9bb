"""kill -9 at any moment, again and again, under load: nothing that was answered 250 or 202 is ever missing.

A relay that answers before it commits must be found out by the same test.
"""

from __future__ import annotations

import sys

import pytest

from tests.support.kill_rounds import OneInstance, given_seed, judge, kill_rounds
from tests.support.relay_process import RelayProcess

ROUNDS = 8
LONG_ROUNDS = 100


@pytest.mark.timeout(240)
async def test_nothing_acknowledged_is_lost(relay: RelayProcess) -> None:
    """On each store: 0 lost, and of each kill no more duplicates than transactions were in flight."""
    judge(await kill_rounds(OneInstance(relay), ROUNDS, given_seed()))


@pytest.mark.long
@pytest.mark.timeout(1200)
async def test_nothing_acknowledged_is_lost_in_a_hundred_rounds(relay: RelayProcess) -> None:
    """The same, longer."""
    judge(await kill_rounds(OneInstance(relay), LONG_ROUNDS, given_seed() + 1))


@pytest.mark.timeout(240)
async def test_a_relay_that_answers_first_is_found_out(relay: RelayProcess) -> None:
    """The negative control: with the answer before the commit, the same rounds must lose mail."""
    relay.command = (sys.executable, "-m", "tests.support.answer_first")
    outcome = await kill_rounds(OneInstance(relay), 4, given_seed(), quiet_for=2)
    assert len(outcome.promised) > 50
    assert outcome.lost, "a relay that answers before it commits was not found out: these tests prove nothing"
