"""The frame of every JSON report: on what machine, when, from which commit, with which parameters."""

import argparse
import math
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.postfix_tools import PROJECT

YARDSTICK_CALLS = 100_000


def frame(program: str, options: argparse.Namespace, postfix_version: str) -> dict[str, Any]:
    """What has to stand beside a figure for it to mean anything."""
    parameters = {name: str(value) if isinstance(value, Path) else value for name, value in vars(options).items()}
    return {
        "program": program,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": _machine(options.work_dir),
        "postfix": postfix_version,
        "parameters": parameters,
    }


def median(values: Sequence[float | None]) -> float | None:
    """The median of the runs that gave a value."""
    known = [value for value in values if value is not None]
    return round(statistics.median(known), 2) if known else None


def distribution(seconds: Sequence[float]) -> dict[str, float]:
    """Median, 99th percentile (nearest rank) and extremes, in milliseconds."""
    ordered = sorted(seconds)
    rank = math.ceil(0.99 * len(ordered)) - 1
    figures = {"p50": statistics.median(ordered), "p99": ordered[rank], "min": ordered[0], "max": ordered[-1]}
    return {name: round(value * 1000, 3) for name, value in figures.items()}


def _machine(work_directory: Path) -> dict[str, Any]:
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "python_call_ns": _python_call_ns(),
        "kernel": platform.release(),
        "filesystem": _filesystem(work_directory),
        "load_average": [round(value, 2) for value in os.getloadavg()],
    }


def _python_call_ns() -> int:
    """What a short function costs here and now: CPU time, the best of five. Interpreters differ by how they were built, and
    machines that share their cores by the hour; figures of two documents compare only where this one does."""

    def short(number: int, known: dict[int, str]) -> bool:
        known[number & 255] = text = f"{number}:{len(known)}"
        return text.startswith("1")

    best = float("inf")
    for _ in range(5):
        known: dict[int, str] = {}
        start = time.process_time_ns()
        for number in range(YARDSTICK_CALLS):
            short(number, known)
        best = min(best, (time.process_time_ns() - start) / YARDSTICK_CALLS)
    return round(best)


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _filesystem(directory: Path) -> str:
    """The kind of file system the stores lie on: on tmpfs no fsync waits for a disk."""
    return _output(["stat", "--file-system", "--format=%T", str(directory)])


def _commit() -> str:
    """The commit measured, marked when the files that were run are not the committed ones."""
    commit = _output(["git", "-C", str(PROJECT), "rev-parse", "--short", "HEAD"])
    changed = _output(["git", "-C", str(PROJECT), "status", "--porcelain"])
    return commit if changed in ("", "unknown") else f"{commit} with changes"


def _output(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
