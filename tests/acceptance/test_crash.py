"""kill -9 at any moment, again and again, under load: nothing that was answered 250 or 202 is ever missing.

The receiving server is a process of its own whose log, written before its 250, is the truth about what arrived; the
injector's note, taken after the relay's answer, is the truth about what was promised. Lost is what stands in the second
and not in the first. A relay that answers before it commits must be found out by the same test.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.injector import Injector
from tests.support.relay_process import RelayProcess

ROUNDS = 20
LONG_ROUNDS = 100
CLIENTS = (5, 3)  # SMTP, REST
CONNECTIONS = 10
DRAIN_WITHIN = 60.0


@dataclass
class Outcome:
    """What the rounds came to."""

    promised: list[str] = field(default_factory=list)
    arrived: Counter[str] = field(default_factory=Counter)

    @property
    def lost(self) -> list[str]:
        """Promised and never seen."""
        return [name for name in self.promised if name not in self.arrived]

    @property
    def duplicates(self) -> int:
        """Seen more than once."""
        return sum(count - 1 for count in self.arrived.values())


@contextmanager
def receiving_server(log: Path) -> Iterator[int]:
    """The independent server, as a process; its port."""
    log.touch()
    command = [sys.executable, "-m", "tests.support.smtp_server", "--port", "0", "--log", str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline())
        finally:
            server.terminate()


def _arrived(log: Path) -> Counter[str]:
    lines = log.read_text().splitlines()
    return Counter(json.loads(line)["recipients"][0].partition("@")[0] for line in lines)


async def _until_arrived(log: Path, names: list[str]) -> None:
    """Wait until the server's log holds all of them, or nothing new has come for some seconds."""
    missing, before, quiet = set(names), -1, 0.0
    while missing and quiet < 8:
        found = _arrived(log)
        missing -= found.keys()
        quiet = 0.0 if found.total() != before else quiet + 0.25
        before = found.total()
        if missing:
            await asyncio.sleep(0.25)  # another process's file: there is no signal to wait for


async def crash_rounds(relay: RelayProcess, rounds: int, seed: int) -> Outcome:
    """Load, kill, start again."""
    chance = random.Random(seed)
    outcome = Outcome()
    log = relay.directory / "received"
    with receiving_server(log) as port:
        relay.cli("accounts", "add", "sink", "--tenant", "default", "--host", "127.0.0.1", "--port", str(port),
                  "--tls", "none", "--default", "--max-connections", str(CONNECTIONS))  # fmt: skip
        token = relay.cli("tokens", "add", "crash", "--admin")["token"]
        for number in range(rounds):
            await asyncio.to_thread(relay.start)
            injector = Injector(relay.smtp_port, relay.api_port, token, f"r{number}")
            enough = asyncio.Event()
            asyncio.get_running_loop().call_later(0.1 + chance.random() * 0.5, enough.set)
            load = asyncio.create_task(injector.run(*CLIENTS, until=enough))
            await enough.wait()
            relay.kill()
            await load
            outcome.promised += injector.acknowledged
        await asyncio.to_thread(relay.start)
        await _until_arrived(log, outcome.promised)
        outcome.arrived = _arrived(log)
    return outcome


def _seed() -> int:
    seed = int(os.environ.get("STAGEPOST_TEST_SEED", "20261122"))
    print(f"seed {seed}")
    return seed


def _judge(outcome: Outcome, rounds: int) -> None:
    print(f"promised {len(outcome.promised)}, lost {len(outcome.lost)}, duplicates {outcome.duplicates}")
    assert len(outcome.promised) > rounds * 20, "too little load to prove anything"
    assert outcome.lost == []
    assert outcome.duplicates <= rounds * CONNECTIONS


@pytest.mark.timeout(240)
async def test_nothing_acknowledged_is_lost(relay: RelayProcess) -> None:
    """Twenty rounds on each store: 0 lost; no more duplicates than transactions were in flight at the kills."""
    relay.write_config()
    _judge(await crash_rounds(relay, ROUNDS, _seed()), ROUNDS)


@pytest.mark.long
@pytest.mark.timeout(1200)
async def test_nothing_acknowledged_is_lost_in_a_hundred_rounds(relay: RelayProcess) -> None:
    """The same, longer."""
    relay.write_config()
    _judge(await crash_rounds(relay, LONG_ROUNDS, _seed() + 1), LONG_ROUNDS)


@pytest.mark.timeout(240)
async def test_a_relay_that_answers_first_is_found_out(relay: RelayProcess) -> None:
    """The negative control: with the answer before the commit, the same rounds must lose mail."""
    relay.write_config()
    relay.command = (sys.executable, "-m", "tests.support.answer_first")
    outcome = await crash_rounds(relay, 4, _seed())
    assert len(outcome.promised) > 50
    assert outcome.lost, "a relay that answers before it commits was not found out: these tests prove nothing"
