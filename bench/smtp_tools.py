"""The two ends of a run: smtp-source as the clients, smtp-sink as the receiving server that keeps the count.

The count of the sink is the truth of every figure: a message is delivered when the far end has read its final dot.
"""

import contextlib
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bench.postfix_tools import PostfixTools
from bench.processes import (
    LOOPBACK,
    BenchError,
    end_session,
    explaining,
    is_root,
    listening,
    unprivileged_user,
    wait_until,
)

BACKLOG = "1000"
COUNTER = re.compile(rb"mesg=(\d+)")
SINK_USERS = ("postfix", "mail", "nobody")
SENDER = "sender@bench.example"
RECIPIENT = "recipient@sink.example"


@dataclass(frozen=True)
class Load:
    """What smtp-source sends: `messages` of `size` bytes, in `sessions` at a time."""

    messages: int
    sessions: int
    size: int
    keep_connections: bool


class SinkCounter:
    """When each count of received messages was reached, as smtp-sink tells it on its standard output."""

    def __init__(self, output: IO[bytes]) -> None:
        self._output = output
        self._reached: list[tuple[int, float]] = []
        self._news = threading.Condition()
        self.thread = threading.Thread(target=self._read, daemon=True)

    @property
    def received(self) -> int:
        """Messages so far."""
        with self._news:
            return self._reached[-1][0] if self._reached else 0

    def wait_for(self, count: int, deadline: float) -> float | None:
        """The monotonic time at which the count was reached, or None if it was not before the deadline."""
        with self._news:
            while not self._reached or self._reached[-1][0] < count:
                left = deadline - time.monotonic()
                if left <= 0 or not self._news.wait(left):
                    return None
            return next(moment for reached, moment in self._reached if reached >= count)

    def _read(self) -> None:
        rest = b""
        while block := os.read(self._output.fileno(), 65536):
            moment = time.monotonic()
            complete, _, rest = (rest + block).rpartition(b"\r")
            if counts := COUNTER.findall(complete):
                with self._news:
                    self._reached.append((int(counts[-1]), moment))
                    self._news.notify_all()


@contextlib.contextmanager
def smtp_sink(tools: PostfixTools, port: int, directory: Path) -> Iterator[SinkCounter]:
    """Run smtp-sink, which takes every message and throws it away, until the block ends."""
    user = ["-u", unprivileged_user(SINK_USERS)] if is_root() else []
    log = directory / "smtp-sink.log"
    with log.open("ab") as errors:
        process = subprocess.Popen(
            [str(tools.sink), "-c", *user, f"{LOOPBACK}:{port}", BACKLOG],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=tools.environment,
            start_new_session=True,
        )
    assert process.stdout is not None
    counter = SinkCounter(process.stdout)
    counter.thread.start()
    try:
        with explaining(process, log):
            wait_until(lambda: listening(port), process, "smtp-sink")
        yield counter
    finally:
        end_session(process)
        counter.thread.join()
        process.stdout.close()


def smtp_source(tools: PostfixTools, port: int, load: Load, timeout: float) -> tuple[float, float]:
    """Send the load and wait for the last 250; the monotonic times of start and end."""
    command = [str(tools.source), "-s", str(load.sessions), "-m", str(load.messages), "-l", str(load.size)]
    command += ["-f", SENDER, "-t", RECIPIENT, *(["-d"] if load.keep_connections else []), f"{LOOPBACK}:{port}"]
    start = time.monotonic()
    try:
        result = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, env=tools.environment, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired:
        raise BenchError(f"smtp-source had not ended after {timeout:.0f} s") from None
    end = time.monotonic()
    if result.returncode != 0:
        raise BenchError(f"smtp-source gave up: {result.stderr.decode(errors='replace').strip()}")
    return start, end
