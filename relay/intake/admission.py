"""Admission: whether a new message may begin now (promise 8: above the high-water mark the doors say 452 / 503)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from relay.clock import SECOND, Clock
from relay.errors import Refusal, Rejected

REOPEN = 0.9
"""A door that closed for a full queue opens again below this share of the mark, so that it does not flap."""
LOOK = SECOND
"""How long a look at the disk is believed."""


class Admission:
    """Counts what is open in the queue and looks at the disk; raises where a new message would be one too many."""

    def __init__(
        self,
        clock: Clock,
        *,
        max_messages: int,
        min_free: int,
        paths: tuple[Path, ...],
        free_space: Callable[[Path], int] | None = None,
    ) -> None:
        """`paths`: where content and database grow; `min_free`: octets to keep free there."""
        self.depth = 0
        """Deliveries not done yet, as far as this instance knows."""
        self.stopping = False
        self._clock = clock
        self._max_messages = max_messages
        self._min_free = min_free
        self._paths = paths
        self._free_space = free_space or _free_space
        self._full = False
        self._disk_low = False
        self._looked_at = 0

    def check(self) -> None:
        """Raises Rejected: SHUTTING_DOWN or QUEUE_FULL."""
        if self.stopping:
            raise Rejected(Refusal.SHUTTING_DOWN)
        if self.queue_full() or self.disk_low():
            raise Rejected(Refusal.QUEUE_FULL)

    def one_done(self) -> None:
        """A delivery needs no more attempts."""
        self.depth -= 1

    def queue_full(self) -> bool:
        """Whether the queue has reached its mark and not come down from it yet."""
        mark = self._max_messages * REOPEN if self._full else self._max_messages
        self._full = self.depth >= mark
        return self._full

    def disk_low(self) -> bool:
        """Whether one of the paths has less room than is to be kept free."""
        now = self._clock.now()
        if abs(now - self._looked_at) >= LOOK:
            self._looked_at = now
            self._disk_low = any(self._free_space(path) < self._min_free for path in self._paths)
        return self._disk_low


def _free_space(path: Path) -> int:
    figures = os.statvfs(path)
    return figures.f_bavail * figures.f_frsize
