"""kill -9 of one of three instances on one PostgreSQL, again and again, under load on all: nothing that any of them promised
is missing, the others go on, and what came twice was on its way when its instance died."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.support import postgres
from tests.support.kill_rounds import Instances, given_seed, judge, kill_rounds
from tests.support.relay_process import RelayProcess, beside, relay_directory

pytestmark = pytest.mark.postgres

INSTANCES = 3
ROUNDS = 5
LONG_ROUNDS = 60


@pytest.fixture
def relays() -> Iterator[list[RelayProcess]]:
    """Three instances, configured but not started."""
    with ExitStack() as stack:
        first = stack.enter_context(RelayProcess(stack.enter_context(relay_directory()), postgres.new_database()))
        first.make_key()
        others = [stack.enter_context(beside(first)) for _ in range(INSTANCES - 1)]
        yield [first, *others]


@pytest.mark.timeout(240)
async def test_nothing_is_lost_with_an_instance(relays: list[RelayProcess]) -> None:
    """0 lost, and of each kill no more duplicates than transactions were in flight."""
    outcome = await kill_rounds(Instances(relays), ROUNDS, given_seed())
    judge(outcome)
    assert outcome.after_kills > 0


@pytest.mark.long
@pytest.mark.timeout(1200)
async def test_nothing_is_lost_with_an_instance_in_sixty_rounds(relays: list[RelayProcess]) -> None:
    """The same, longer."""
    judge(await kill_rounds(Instances(relays), LONG_ROUNDS, given_seed() + 1))


@pytest.mark.timeout(240)
async def test_instances_that_answer_first_are_found_out(relays: list[RelayProcess]) -> None:
    """The negative control: with the answer before the commit, the same rounds must lose mail."""
    for relay in relays:
        relay.command = (sys.executable, "-m", "tests.support.answer_first")
    outcome = await kill_rounds(Instances(relays), 3, given_seed(), quiet_for=2)
    assert outcome.lost, "instances that answer before they commit were not found out: these tests prove nothing"
