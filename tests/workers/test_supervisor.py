"""The supervisor, with workers that are real processes and do next to nothing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.workers.supervisor import LONGEST_PAUSE, restart_pause

ROOT = Path(__file__).parents[2]
WITHIN = 20.0

PARENT = """
import asyncio, contextlib, logging, os, signal, socket, sys
from relay.workers import supervisor
from relay.workers.supervisor import Supervisor

said = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
said.connect(sys.argv[1])
logging.basicConfig(level="ERROR")

def say(*words):
    with contextlib.suppress(OSError):  # the test may be over
        said.send(" ".join(map(str, words)).encode())

async def live(number, lifeline):
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGHUP, lambda: say("hup", number))
    orphaned = lambda: (say("orphan", number), stop.set())
    lifeline.watch(died=lambda other, life: say("told", number, other, life), orphaned=orphaned)
    lifeline.ready()
    say("up", number, os.getpid())
    await stop.wait()
    say("down", number)
    return 0

def work(number, life, lifeline):
    return asyncio.run(live(number, lifeline))

{more}
say("end", Supervisor(2, work, {grace}, {{74}}, on_ready=lambda: say("ready"), on_death=lambda n: say("death", n)).run())
"""


class Family:
    """A parent with two workers, and what all of them say."""

    def __init__(self, directory: Path, *, more: str = "", grace: float = 10.0) -> None:
        path = str(directory / "said")
        self._said = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._said.bind(path)
        self._said.settimeout(WITHIN)
        script = PARENT.format(more=textwrap.dedent(more), grace=grace)
        self.parent = subprocess.Popen([sys.executable, "-c", script, path], cwd=ROOT)
        self.pids: dict[int, int] = {}
        self.heard: list[str] = []

    def until(self, *wanted: str) -> None:
        """Until all of it has been said, in any order."""
        missing = list(wanted)
        for word in list(self.heard):
            if word in missing:
                missing.remove(word)
                self.heard.remove(word)
        while missing:
            kind, _, rest = self._said.recv(256).decode().partition(" ")
            if kind == "up":
                number, pid = map(int, rest.split())
                self.pids[number] = pid
                rest = str(number)
            word = f"{kind} {rest}".strip()
            if word in missing:
                missing.remove(word)
            else:
                self.heard.append(word)

    def close(self) -> None:
        """Nobody is left."""
        self.parent.kill()
        self.parent.wait()
        self._said.close()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def family(directory: Path) -> Iterator[Family]:
    one = Family(directory)
    yield one
    one.close()


def test_pauses_before_a_restart() -> None:
    assert [restart_pause(1.0, deaths) for deaths in range(1, 9)] == [0, 1, 2, 4, 8, 16, LONGEST_PAUSE, LONGEST_PAUSE]
    assert restart_pause(11.0, 8) == 0


def test_it_starts_passes_signals_on_and_ends_when_all_have_ended(family: Family) -> None:
    family.until("up 0", "up 1", "ready")
    family.parent.send_signal(signal.SIGHUP)
    family.until("hup 0", "hup 1")
    family.parent.send_signal(signal.SIGINT)
    family.until("down 0", "down 1", "death 0", "death 1", "end 0")
    assert family.parent.wait(WITHIN) == 0


def test_a_worker_that_dies_is_started_again_and_the_others_are_told(family: Family) -> None:
    family.until("up 0", "up 1", "ready")
    first = family.pids[1]
    os.kill(first, signal.SIGKILL)
    family.until("death 1", "told 0 1 1", "up 1")
    assert family.pids[1] != first
    family.parent.terminate()
    family.until("down 0", "down 1", "end 0")


def test_workers_stop_when_their_parent_is_gone(family: Family) -> None:
    family.until("up 0", "up 1", "ready")
    family.parent.kill()
    family.until("orphan 0", "orphan 1", "down 0", "down 1")


def test_a_worker_that_does_not_stop_is_killed(directory: Path) -> None:
    stubborn = """
        def work(number, life, lifeline):
            if number == 0:
                return asyncio.run(live(number, lifeline))
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            lifeline.ready()
            say("up", number, os.getpid())
            while True:
                signal.pause()
    """
    family = Family(directory, more=stubborn, grace=0.2)
    try:
        family.until("up 0", "up 1", "ready")
        family.parent.terminate()
        family.until("down 0", "death 1", "end 1")
    finally:
        family.close()


def test_a_worker_that_hangs_is_killed_and_started_again(directory: Path) -> None:
    family = Family(directory, more="supervisor.HUNG_AFTER = 1.0; supervisor.HEARTBEAT = 0.1\n" + BEATING)
    try:
        family.until("up 0", "up 1", "ready")
        first = family.pids[0]
        os.kill(first, signal.SIGSTOP)
        family.until("death 0", "told 1 0 1", "up 0")
        assert family.pids[0] != first
    finally:
        family.close()


BEATING = """
async def beat(lifeline):
    while True:
        lifeline.alive()
        await asyncio.sleep(0.1)

async def both(number, lifeline):
    beating = asyncio.create_task(beat(lifeline))
    return await live(number, lifeline)

def work(number, life, lifeline):
    return asyncio.run(both(number, lifeline))
"""


def test_a_worker_that_ends_by_a_fault_of_all_ends_all(directory: Path) -> None:
    faulty = """
        first = work
        def work(number, life, lifeline):
            code = first(number, life, lifeline)
            return 74 if number else code
    """
    family = Family(directory, more=faulty)
    try:
        family.until("up 0", "up 1", "ready")
        os.kill(family.pids[1], signal.SIGTERM)
        family.until("down 1", "death 1", "death 0", "end 74")
        assert "down 0" not in family.heard
    finally:
        family.close()


def test_what_keeps_a_worker_from_its_start_ends_all(directory: Path) -> None:
    wrong = "first = work\nwork = lambda number, life, lifeline: 78 if number else first(number, life, lifeline)"
    family = Family(directory, more=wrong)
    try:
        family.until("death 1", "death 0", "end 78")
        assert "ready" not in family.heard
    finally:
        family.close()
