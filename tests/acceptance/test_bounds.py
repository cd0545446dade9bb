"""What a crowd may cost: too many connections for the descriptors, and clients that come to sit and wait."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.relay_process import STAGEPOST, RelayProcess, relay_directory

DESCRIPTORS = 256
CROWD = 400


@pytest.fixture
def relay() -> Iterator[RelayProcess]:
    """A relay with few descriptors."""
    with relay_directory() as directory:
        few = ("sh", "-c", f'ulimit -n {DESCRIPTORS} && exec "$@"', "sh", STAGEPOST)
        with RelayProcess(directory, f"sqlite://{directory}/data/stagepost.db", command=few) as process:
            process.start()
            yield process


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


class Crowd:
    """Clients of one test; they leave with it."""

    def __init__(self) -> None:
        self.writers: list[asyncio.StreamWriter] = []

    async def connect(self, port: int) -> asyncio.StreamReader:
        """One more."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        self.writers.append(writer)
        return reader

    async def greeting(self, port: int) -> str:
        """The code that one more client is told first."""
        return (await asyncio.wait_for((await self.connect(port)).readline(), 10))[:3].decode()

    def leave(self) -> None:
        """All of them, without a word."""
        for writer in self.writers:
            writer.transport.abort()
        self.writers.clear()


@pytest.fixture
async def crowd() -> AsyncIterator[Crowd]:
    crowd = Crowd()
    yield crowd
    crowd.leave()


async def test_more_connections_than_descriptors(relay: RelayProcess, crowd: Crowd) -> None:
    """Who comes too late hears 421; the relay stays calm, its API answers, and it recovers."""
    assert relay.process is not None
    pid = relay.process.pid
    told = Counter(await asyncio.gather(*(crowd.greeting(relay.smtp_port) for _ in range(CROWD))))
    print(told, "descriptors", descriptors(pid))
    assert told["220"] + told["421"] == CROWD
    assert 20 <= told["220"] <= DESCRIPTORS * 0.7
    assert descriptors(pid) < DESCRIPTORS * 0.7
    await asyncio.gather(*(crowd.connect(relay.api_port) for _ in range(CROWD)))
    assert relay.cli("queue", "status")["totals"] == {"ready": 0, "leased": 0, "held": 0}
    assert descriptors(pid) < DESCRIPTORS * 0.9

    log, cpu, seconds = len(relay.log), cpu_seconds(pid), 3.0
    await asyncio.sleep(seconds)  # what is measured is a time in which nothing happens
    print(f"log {len(relay.log) - log} octets, CPU {(cpu_seconds(pid) - cpu) / seconds:.0%}")
    assert (len(relay.log) - log) / seconds * 60 < 1_000_000
    assert cpu_seconds(pid) - cpu < 0.2 * seconds

    crowd.leave()
    async with asyncio.timeout(10):
        while await crowd.greeting(relay.smtp_port) != "220":
            pass
        while (await asyncio.to_thread(relay.request, "GET", "/health/ready")).status != 200:
            pass


async def test_a_crowd_that_comes_again_and_again_writes_no_gigabytes(relay: RelayProcess, crowd: Crowd) -> None:
    """Refused clients that reconnect at once: the log grows by lines a second, not by lines a connection."""
    await asyncio.gather(*(crowd.greeting(relay.smtp_port) for _ in range(CROWD)))
    before, seconds = len(relay.log), 2.0
    until = asyncio.get_running_loop().time() + seconds
    told: Counter[str] = Counter()

    async def come_again() -> None:
        late = Crowd()
        while asyncio.get_running_loop().time() < until:
            told[await late.greeting(relay.smtp_port)] += 1
            late.leave()

    await asyncio.gather(*(come_again() for _ in range(20)))
    grown = len(relay.log) - before
    print(f"{told}, {grown} octets of log in {seconds} s")
    assert told["421"] > 200
    assert grown / seconds * 60 < 1_000_000
