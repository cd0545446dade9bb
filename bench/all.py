"""The whole table: every program in its turn, each document into a directory, and `RESULTS.md` from them.

What is timed runs alone. What is only counted (kill -9, a limit watched for minutes) goes two at a time, at the end. It
needs a quiet machine for half an hour; `--scale 0.01` runs everything small, to see that it works, and leaves RESULTS.md be.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench import results
from bench.postfix_tools import PROJECT
from bench.processes import STOP_DEADLINE, end_on_sigterm, tail

BESIDE = 2
"""Counted ones at a time."""
REASON = 300
"""Characters of what a program that failed said last."""
BUSY = 0.5
"""A load average from which figures of time say little."""


@dataclass(frozen=True)
class Step:
    """One program's run; the beginning of its name says how its document is read (bench.rows)."""

    name: str
    command: str
    minutes: float
    """What it takes, roughly, on two quiet cores."""
    is_counted: bool = False


def plan(scale: float) -> list[Step]:
    """What is asked, in order; `scale` makes everything smaller."""

    def some(count: int, least: int = 1) -> int:
        return max(least, round(count * scale))

    repeat = some(3)
    relays = "--relay postfix --relay stagepost --relay stagepost+postgresql --relay stagepost+server.workers=2"
    watched = 185 if scale >= 1 else 65
    return [
        Step(
            "throughput-10",
            f"relay_throughput {relays} --sessions 10 --messages {some(6000, 200)} --repeat {repeat}",
            3,
        ),
        Step(
            "throughput-50",
            f"relay_throughput {relays} --sessions 50 --messages {some(10_000, 200)} --repeat {repeat}",
            3.5,
        ),
        Step("rest", f"rest --requests {some(8000, 100)} --batches {some(160, 4)}", 0.7),
        Step(
            "latency",
            "latency --relay postfix --relay stagepost --relay stagepost+postgresql "
            f"--messages {some(500, 20)} --deferred {some(100_000)} --deadline 300",
            1.5,
        ),
        Step("queue-sqlite", f"queue --messages {some(1_000_000, 110_000)}", 1),
        Step("queue-postgresql", f"queue --messages {some(1_000_000, 110_000)} --storage postgresql", 1.5),
        Step("instances-2", f"under_fire instances --count 2 --messages {some(20_000)}", 0.7),
        Step("instances-4", f"under_fire instances --count 4 --messages {some(20_000)}", 0.9),
        Step("fairness-sqlite", f"under_fire fairness --messages {some(100_000)}", 0.9),
        Step("fairness-postgresql", f"under_fire fairness --messages {some(100_000)} --storage postgresql", 1.1),
        Step("connections", f"under_fire connections --connections {some(1000)}", 0.3),
        Step("limit", f"under_fire limit --seconds {watched}", watched / 60 + 0.3, is_counted=True),
        Step("kills-1-sqlite", f"kills --rounds {some(100, 3)}", 3, is_counted=True),
        Step("kills-1-postgresql", f"kills --rounds {some(100, 3)} --storage postgresql", 3.5, is_counted=True),
        Step("kills-3-sqlite", f"kills --rounds {some(60, 3)} --count 3", 2.5, is_counted=True),
        Step("kills-3-postgresql", f"kills --rounds {some(60, 3)} --count 3 --storage postgresql", 3, is_counted=True),
    ]


def main() -> int:
    """Run what the command line asks for; 0 if all of it gave a document."""
    options = _parse()
    end_on_sigterm()
    steps = [step for step in plan(options.scale) if not options.only or step.name in options.only]
    if unknown := set(options.only).difference(step.name for step in steps):
        print(f"error: no step is named {', '.join(sorted(unknown))}", file=sys.stderr)
        return 64
    if (load := os.getloadavg()[0]) > BUSY:
        print(
            f"The load average is {load:.2f}: other work runs here, and figures of time will say little.",
            file=sys.stderr,
        )
    options.results.mkdir(parents=True, exist_ok=True)
    if options.scale >= 1:
        minutes = sum(step.minutes / (BESIDE if step.is_counted else 1) for step in steps)
        print(f"{len(steps)} steps, about {minutes:.0f} minutes", file=sys.stderr)
    try:
        done = _run_all(steps, options.results)
    except KeyboardInterrupt:
        return 130
    output = results.RESULTS if options.scale >= 1 else options.results / "RESULTS.md"
    if (written := results.write(options.results, results.NOTES, output)) == 0:
        print(f"written: {output}", file=sys.stderr)
    return written or int(not all(done))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.all", description=__doc__)
    parser.add_argument("--results", type=Path, default=PROJECT / ".bench" / "results", help="where the documents go")
    parser.add_argument("--only", action="append", default=[], metavar="STEP", help="run this one alone; repeatable")
    parser.add_argument("--scale", type=float, default=1.0, help="how much of each")
    return parser.parse_args()


def _run_all(steps: Sequence[Step], results_directory: Path) -> list[bool]:
    children: list[subprocess.Popen[bytes]] = []

    def run(step: Step) -> bool:
        return _run(step, results_directory, children)

    pool = ThreadPoolExecutor(BESIDE)
    try:
        done = [pool.submit(run, step).result() for step in steps if not step.is_counted]
        return [*done, *pool.map(run, [step for step in steps if step.is_counted])]
    finally:  # cut: they end what they have started
        pool.shutdown(wait=False, cancel_futures=True)
        for child in children:
            child.terminate()
        for child in children:
            child.wait(2 * STOP_DEADLINE)


def _run(step: Step, directory: Path, children: list[subprocess.Popen[bytes]]) -> bool:
    """One program; its document, or why there is none."""
    document, failed, log = (directory / f"{step.name}{suffix}" for suffix in (".json", ".failed", ".log"))
    for former in (document, failed):
        former.unlink(missing_ok=True)
    module, *arguments = step.command.split()
    command = [sys.executable, "-m", f"bench.{module}", *arguments, "--json"]
    began = time.monotonic()
    with log.open("wb") as errors:
        child = subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors)
        children.append(child)
        said, _ = child.communicate()
    took = f"{time.monotonic() - began:.0f} s"
    try:
        json.loads(said)
    except ValueError:
        reason = tail(log).strip().rpartition("\n")[2][:REASON]
        failed.write_text(f"ended with status {child.returncode}: {reason}\n")
        print(f"{step.name}: no figures after {took}; see {log}", file=sys.stderr)
        return False
    document.write_bytes(said)
    print(f"{step.name}: {took}", file=sys.stderr)
    return child.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
