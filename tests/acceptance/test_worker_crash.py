"""kill -9 of a worker, again and again, under load: nothing that was promised is missing, and the others go on."""

from __future__ import annotations

import asyncio
import random
import sys

import pytest

from tests.acceptance.test_crash import CLIENTS, CONNECTIONS, Outcome, _arrived, _seed, _until_arrived, receiving_server
from tests.support.family import is_alive, workers_of
from tests.support.injector import Injector
from tests.support.relay_process import RelayProcess

ROUNDS = 6
WORKERS = 2


async def kill_rounds(relay: RelayProcess, rounds: int, seed: int) -> tuple[Outcome, int]:
    """Load, kill one, go on; also how much was accepted between a kill and the end of its round. Leases last for five
    minutes: what a dead worker held arrives in time only because it is taken over."""
    chance = random.Random(seed)
    outcome, after_kills = Outcome(), 0
    log = relay.directory / "received"
    with receiving_server(log) as port:
        relay.cli("accounts", "add", "sink", "--tenant", "default", "--host", "127.0.0.1", "--port", str(port),
                  "--tls", "none", "--default", "--max-connections", str(CONNECTIONS))  # fmt: skip
        token = relay.cli("tokens", "add", "crash", "--admin")["token"]
        await asyncio.to_thread(relay.start)
        for number in range(rounds):
            async with asyncio.timeout(30):
                while (await asyncio.to_thread(relay.request, "GET", "/health/ready")).status != 200:
                    pass
            injector, enough = Injector(relay.smtp_port, relay.api_port, token, f"r{number}"), asyncio.Event()
            load = asyncio.create_task(injector.run(*CLIENTS, until=enough))
            kill, end = asyncio.Event(), asyncio.Event()
            moment = 0.2 + chance.random() * 0.4
            asyncio.get_running_loop().call_later(moment, kill.set)
            asyncio.get_running_loop().call_later(moment + 0.3, end.set)
            await kill.wait()
            relay.kill_one(workers_of(relay)[number % WORKERS])
            before = len(injector.acknowledged)
            await end.wait()
            after_kills += len(injector.acknowledged) - before
            enough.set()
            await load
            outcome.promised += injector.acknowledged
        await _until_arrived(log, outcome.promised)
        outcome.arrived = _arrived(log)
    return outcome, after_kills


@pytest.mark.timeout(240)
async def test_nothing_is_lost_with_a_worker(relay: RelayProcess) -> None:
    relay.options = {"server": {"workers": str(WORKERS)}}
    relay.write_config()
    outcome, after_kills = await kill_rounds(relay, ROUNDS, _seed())
    print(f"promised {len(outcome.promised)}, duplicates {outcome.duplicates}, accepted after kills {after_kills}")
    assert len(outcome.promised) > ROUNDS * 20, "too little load to prove anything"
    assert outcome.lost == []
    assert outcome.duplicates <= ROUNDS * CONNECTIONS
    assert after_kills > 0
    assert await asyncio.to_thread(relay.stop) == 0, relay.log[-5000:]


@pytest.mark.timeout(240)
async def test_a_relay_that_answers_first_is_found_out(relay: RelayProcess) -> None:
    """The negative control: with the answer before the commit, the same rounds must lose mail."""
    relay.options = {"server": {"workers": str(WORKERS)}}
    relay.write_config()
    relay.command = (sys.executable, "-m", "tests.support.answer_first")
    outcome, _ = await kill_rounds(relay, 3, _seed())
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
