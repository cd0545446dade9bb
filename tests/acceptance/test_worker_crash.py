"""kill -9 of a worker, or of all with their parent, again and again, under load: nothing that was promised is missing, and
the others go on."""

from __future__ import annotations

import asyncio
import sys

import pytest

from tests.support.family import is_alive, workers_of
from tests.support.kill_rounds import Workers, given_seed, judge, kill_rounds
from tests.support.relay_process import RelayProcess

ROUNDS = 6
LONG_ROUNDS = 60
WORKERS = 3


@pytest.mark.timeout(240)
async def test_nothing_is_lost_with_a_worker(relay: RelayProcess) -> None:
    """Leases last for five minutes: what a dead worker held arrives in time only because it is taken over."""
    outcome = await kill_rounds(Workers(relay, WORKERS), ROUNDS, given_seed())
    judge(outcome)
    assert outcome.after_kills > 0
    assert await asyncio.to_thread(relay.stop) == 0, relay.log[-5000:]


@pytest.mark.long
@pytest.mark.timeout(1200)
async def test_nothing_is_lost_with_a_worker_in_sixty_rounds(relay: RelayProcess) -> None:
    """The same, longer."""
    judge(await kill_rounds(Workers(relay, WORKERS), LONG_ROUNDS, given_seed() + 1))


@pytest.mark.timeout(240)
async def test_a_relay_that_answers_first_is_found_out(relay: RelayProcess) -> None:
    """The negative control: with the answer before the commit, the same rounds must lose mail."""
    relay.command = (sys.executable, "-m", "tests.support.answer_first")
    outcome = await kill_rounds(Workers(relay, WORKERS), 3, given_seed(), quiet_for=2)
    assert outcome.lost, "a relay that answers before it commits was not found out: these tests prove nothing"


async def test_workers_end_with_their_parent_and_the_next_start_takes_over(relay: RelayProcess) -> None:
    relay.options = {"server": {"workers": str(WORKERS)}}
    await asyncio.to_thread(relay.start)
    workers = workers_of(relay)
    relay.kill()  # the parent alone
    await asyncio.to_thread(relay.start)  # waits for the lock that the workers hold until they have ended
    assert not any(map(is_alive, workers))
    assert len(workers_of(relay)) == WORKERS
    assert await asyncio.to_thread(relay.stop) == 0, relay.log[-5000:]
