"""What a process and all its descendants use: resident memory and CPU time, read from Linux's /proc.

The relay under test may be one process (Stagepost) or thirty that come and go (Postfix), so both figures are sums over
the tree. Pages that processes share are counted once for each, which flatters the single process; the README says so.
"""

import os
import threading
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

PROC = Path("/proc")
CLEAR_PEAK = "5"  # proc(5): written to clear_refs, it sets VmHWM back to the present resident size
SAMPLE_INTERVAL = 0.25


@dataclass(frozen=True)
class Memory:
    """Resident size now and its high-water mark, in KiB."""

    resident: int
    peak: int


def process_tree(root: int) -> list[int]:
    """The process and its descendants, in one pass over /proc."""
    children: dict[int, list[int]] = defaultdict(list)
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (fields := _stat_fields(int(entry.name))):
            children[int(fields[1])].append(int(entry.name))
    tree, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        tree.append(pid)
        waiting.extend(children[pid])
    return tree


def cpu_seconds(root: int) -> float:
    """User and system time of the tree so far, children that have ended and been waited for included."""
    ticks = sum(sum(map(int, fields[11:15])) for pid in process_tree(root) if (fields := _stat_fields(pid)))
    return ticks / os.sysconf("SC_CLK_TCK")


def memory(root: int) -> Memory:
    """The sums over the tree as it is now."""
    resident = peak = 0
    for pid in process_tree(root):
        status = _read(PROC / str(pid) / "status")
        sizes = dict(line.split(":", 1) for line in status.splitlines() if line.startswith(("VmRSS:", "VmHWM:")))
        resident += int(sizes.get("VmRSS", "0 kB").split()[0])
        peak += int(sizes.get("VmHWM", "0 kB").split()[0])
    return Memory(resident, peak)


def reset_peak(root: int) -> None:
    """Start the high-water marks of the tree anew, so that a peak while starting does not count."""
    for pid in process_tree(root):
        (PROC / str(pid) / "clear_refs").write_text(CLEAR_PEAK)


def _stat_fields(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on; the command's name before it may hold spaces and brackets."""
    return _read(PROC / str(pid) / "stat").rpartition(")")[2].split()


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""  # it ended between the listing and the look


class UsageMeter:
    """Watches a tree from a thread while a run lasts; a kernel without /proc gives a meter that reads nothing."""

    def __init__(self, root: int | None) -> None:
        self._root = root if PROC.joinpath("self", "stat").exists() else None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._cpu_before = 0.0
        self.cpu: float | None = None
        self.peak_resident: int | None = None
        self.peak: int | None = None

    def __enter__(self) -> Self:
        if self._root is not None:
            self._cpu_before = cpu_seconds(self._root)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._root is not None:
            self._done.set()
            self._thread.join()
            self._sample(self._root)
            self.cpu = round(cpu_seconds(self._root) - self._cpu_before, 2)

    def _watch(self) -> None:
        while self._root is not None and not self._done.is_set():
            self._sample(self._root)
            self._done.wait(SAMPLE_INTERVAL)

    def _sample(self, root: int) -> None:
        now = memory(root)
        self.peak_resident = max(self.peak_resident or 0, now.resident)
        self.peak = max(self.peak or 0, now.peak)


def mebibytes(kibibytes: int | None) -> float | None:
    """For reports: people compare MiB."""
    return None if kibibytes is None else round(kibibytes / 1024, 1)
