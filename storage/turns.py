"""Turns: which of several processes on one SQLite file may write now.

SQLite's own way is to look again and again, ever less often, while somebody else writes: with two busy writers one of them
waits for most of the time. A lock of the kernel's wakes the next one at once, and goes with a process that dies.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class Turns:
    """A context manager for the thread that writes. Each process opens its own: an inherited descriptor shares the lock."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(f"{path}.turn", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def __enter__(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def __exit__(self, *exc: object) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """No more turns."""
        os.close(self._descriptor)
