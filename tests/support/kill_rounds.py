"""Rounds of kill -9 under load: what was promised, what arrived, and what arrived twice because of which kill.

The receiving server is a process of its own whose log, written before its 250, is the truth about what arrived; the
injector's note, taken after the relay's answer, is the truth about what was promised. Lost is what stands in the second and
not in the first. What runs and what of it is killed is a `Site`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TextIO

from tests.support.family import clients_of, workers_of
from tests.support.injector import Injector
from tests.support.relay_process import RelayProcess

CONNECTIONS = 10
"""Of the one account to the receiving server, for each instance."""
IN_FLIGHT = 2 * CONNECTIONS
"""The most that an instance has in flight: attempts, and as many outcomes on their way to the store (relay.dispatch.way)."""
QUIET = 8.0
"""Seconds without a new message after which what is missing is given up."""
_LOOK = 0.25


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill: how many lines the server's log had when all ran again, and how many transactions were in flight at most."""

    mark: int
    in_flight: int


@dataclass
class Outcome:
    """What the rounds came to."""

    promised: list[str] = field(default_factory=list)
    received: list[str] = field(default_factory=list)
    """In order, as often as they came."""
    kills: list[Kill] = field(default_factory=list)
    after_kills: int = 0
    """What those accepted that went on, between a kill and the end of its round."""
    held: list[str] = field(default_factory=list)
    """What the relay has kept back and told of, because it had been attempted when three processes in a row were killed."""

    @property
    def lost(self) -> list[str]:
        """Promised, never seen, and not in the relay's keeping either."""
        there = {*self.received, *self.held}
        return [name for name in self.promised if name not in there]

    @property
    def duplicates(self) -> int:
        """Seen more than once."""
        return len(self.received) - len(set(self.received))

    @property
    def duplicates_by_kill(self) -> list[int]:
        """How many each kill brought: it is the first after what came again had come before."""
        found = [0] * (len(self.kills) + 1)  # the last: without a kill
        seen: dict[str, int] = {}
        for place, name in enumerate(self.received):
            if (before := seen.get(name)) is not None:
                found[next((at for at, kill in enumerate(self.kills) if before < kill.mark), -1)] += 1
            seen[name] = place
        return found

    @property
    def too_many(self) -> list[tuple[int, int]]:
        """Number of a kill and how many duplicates it brought, where that is more than were in flight."""
        bounds = [*(kill.in_flight for kill in self.kills), 0]
        by_kill = self.duplicates_by_kill
        return [(at, count) for at, (count, most) in enumerate(zip(by_kill, bounds, strict=True)) if count > most]

    def figures(self) -> dict[str, object]:
        """For a report."""
        return {
            "rounds": len(self.kills),
            "promised": len(self.promised),
            "lost": len(self.lost),
            "held_after_three_deaths": len(self.held),
            "duplicates": self.duplicates,
            "most_duplicates_of_a_kill": max(self.duplicates_by_kill),
            "in_flight_at_all_kills": sum(kill.in_flight for kill in self.kills),
            "kills_with_more_duplicates_than_in_flight": len(self.too_many),
            "accepted_by_the_others_after_kills": self.after_kills,
        }


class Site(Protocol):
    """What runs. Methods block; `kill` answers how many transactions may have been in flight."""

    @property
    def doors(self) -> Sequence[RelayProcess]:
        """Where the load goes."""

    name: str
    """For a report."""
    clients: tuple[int, int]
    """At each door: SMTP, REST."""
    rest: float
    """Seconds the load goes on after a kill."""

    def start(self) -> None: ...

    def kill(self, chance: random.Random) -> int: ...

    def mend(self) -> None: ...


class OneInstance:
    """Killed whole, started again."""

    clients = (5, 3)
    rest = 0.05

    def __init__(self, relay: RelayProcess) -> None:
        self.name = "one instance"
        self.doors = (relay,)
        self.start = self.mend = relay.start
        self._relay = relay

    def kill(self, chance: random.Random) -> int:
        """All of it."""
        self._relay.kill()
        return IN_FLIGHT


class Workers:
    """One instance of several workers: mostly one of those that serve clients is killed, sometimes all and their parent."""

    clients = (5, 3)
    rest = 0.3
    all_at_once = 4
    """Every so many rounds; it also ends the pauses that a parent makes before it starts again who keeps dying."""

    def __init__(self, relay: RelayProcess, count: int) -> None:
        relay.options = {"server": {"workers": str(count)}}
        self.name = f"{count} workers of one instance"
        self.doors = (relay,)
        self.start = relay.start
        self._relay = relay
        self._count = count
        self._kills = 0

    def kill(self, chance: random.Random) -> int:
        """A worker has its part of the account's connections."""
        workers = workers_of(self._relay)
        self._kills += 1
        if self._kills % self.all_at_once:
            ports = (self._relay.smtp_port, self._relay.api_port)
            at_work = [pid for pid in workers if clients_of(pid, ports)]  # the system may give all clients to one
            self._relay.kill_one(chance.choice(at_work or workers))
            return 2 * -(-CONNECTIONS // self._count)
        self._relay.kill()
        for pid in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return IN_FLIGHT

    def mend(self) -> None:
        """The parent has started another; without a parent all are started."""
        if self._relay.process is None:
            self._relay.start()
        else:
            self._relay.until_ready()


class Instances:
    """Several on one PostgreSQL: a random one is killed and started again, the others go on."""

    clients = (2, 1)
    rest = 0.3

    def __init__(self, relays: Sequence[RelayProcess]) -> None:
        self.name = f"{len(relays)} instances"
        self.doors = relays

    def start(self) -> None:
        """One after the other."""
        for relay in self.doors:
            relay.start()

    def kill(self, chance: random.Random) -> int:
        """One."""
        chance.choice(self.doors).kill()
        return IN_FLIGHT

    def mend(self) -> None:
        """Start again what does not run."""
        for relay in self.doors:
            if relay.process is None:
                relay.start()


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


def received(log: Path) -> list[str]:
    """What the server's log says, in order: the injector's names."""
    return [json.loads(line)["recipients"][0].partition("@")[0] for line in log.read_text().splitlines()]


def _lines(log: Path) -> int:
    return log.read_bytes().count(b"\n")


async def until_arrived(log: Path, names: Sequence[str], quiet_for: float = QUIET) -> None:
    """Wait until the server's log holds all of them, or nothing new has come for some seconds."""
    missing, before, quiet = set(names), -1, 0.0
    while missing and quiet < quiet_for:
        found = received(log)
        missing.difference_update(found)
        quiet = 0.0 if len(found) != before else quiet + _LOOK
        before = len(found)
        if missing:
            await asyncio.sleep(_LOOK)  # another process's file: there is no signal to wait for


async def kill_rounds(site: Site, rounds: int, seed: int, quiet_for: float = QUIET) -> Outcome:
    """Load, kill, go on, mend; then all that was promised is waited for, until nothing more comes for so many seconds."""
    chance = random.Random(seed)
    outcome = Outcome()
    first = site.doors[0]
    log = first.directory / "received"
    with receiving_server(log) as port:
        first.write_config()
        where = f"--host 127.0.0.1 --port {port} --tls none --default --max-connections {CONNECTIONS}".split()
        first.cli("accounts", "add", "sink", "--tenant", "default", *where)
        token = first.cli("tokens", "add", "crash", "--admin")["token"]
        await asyncio.to_thread(site.start)
        for number in range(rounds):
            await _round(site, f"r{number}", token, chance, outcome, log)
        await until_arrived(log, outcome.promised, quiet_for)
        outcome.received = received(log)
        held = await asyncio.to_thread(first.cli, "messages", "list", "--state", "held", "--all")
        outcome.held = [one["recipients"][0]["address"].partition("@")[0] for one in held["items"]]
    return outcome


async def _round(site: Site, name: str, token: str, chance: random.Random, outcome: Outcome, log: Path) -> None:
    injectors = [Injector(door.smtp_port, door.api_port, token, f"{name}.{at}") for at, door in enumerate(site.doors)]
    enough = asyncio.Event()
    load = [asyncio.create_task(injector.run(*site.clients, until=enough)) for injector in injectors]
    await asyncio.sleep(0.1 + chance.random() * 0.5)  # a moment by chance is what is wanted
    in_flight = site.kill(chance)
    before = sum(len(injector.acknowledged) for injector in injectors)
    await asyncio.sleep(site.rest)
    outcome.after_kills += sum(len(injector.acknowledged) for injector in injectors) - before
    enough.set()
    await asyncio.gather(*load)
    for injector in injectors:
        outcome.promised += injector.acknowledged
    await asyncio.to_thread(site.mend)
    # Taken late, when the server has written down all that the dead had sent: what has come since from others is settled
    # long before the next kill.
    outcome.kills.append(Kill(_lines(log), in_flight))


def judge(outcome: Outcome) -> None:
    """What must hold."""
    print(json.dumps(outcome.figures()))
    assert len(outcome.promised) > len(outcome.kills) * 20, "too little load to prove anything"
    assert outcome.lost == []
    assert outcome.too_many == [], f"duplicates by kill: {Counter(outcome.duplicates_by_kill)}"


def given_seed(to: TextIO = sys.stdout) -> int:
    """The environment's, so that rounds can be had again."""
    seed = int(os.environ.get("STAGEPOST_TEST_SEED", "20261122"))
    print(f"seed {seed}", file=to)
    return seed
