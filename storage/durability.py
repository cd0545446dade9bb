"""Durability: what happens when the system could not write to disk what it had taken (fsync failed).

Such a call must not be made again: the system may have thrown away what it could not write, and answers well the second
time with nothing on disk (LWN 752063, the PostgreSQL fsync incident of 2018). So nothing is acknowledged by this process any
more, and it ends; the next one begins with what is on disk. PostgreSQL does the same by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from relay.errors import StoreUnavailable


class Durability:
    """Lost once, by any thread, and never found again in this process."""

    def __init__(self) -> None:
        self._lost: str | None = None
        self._tell: Callable[[str], object] = lambda _: None

    def on_lost(self, callback: Callable[[str], None]) -> None:
        """Have told on this event loop, once."""
        loop = asyncio.get_running_loop()
        self._tell = lambda reason: loop.call_soon_threadsafe(callback, reason)

    def lose(self, reason: str) -> None:
        """Something could not be made durable."""
        if self._lost is None:
            self._lost = reason
            self._tell(reason)

    def check(self) -> None:
        """Raises StoreUnavailable once it is lost: what is asked of the store from then on is not done."""
        if self._lost is not None:
            raise StoreUnavailable(self._lost)
