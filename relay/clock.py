"""The one source of time: handed in everywhere, so that tests own it.

Wall times are integer microseconds since the epoch (the unit of SQL), durations are integer microseconds too.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol

MILLISECOND = 1_000
SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
_LONGEST_NAP = MINUTE
_BOOT: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_DURATION = re.compile(r"(\d{1,12})\s*(ms|s|m|h|d|w)", re.ASCII)
_DURATION_UNITS = {"w": 7 * DAY, "d": DAY, "h": HOUR, "m": MINUTE, "s": SECOND, "ms": MILLISECOND}


class Clock(Protocol):
    """What a part may ask of time."""

    def now(self) -> int:
        """Wall time, µs since the epoch."""

    def boot(self) -> int:
        """µs since the machine booted, time asleep included: never steps, so leases on one host are measured by it."""

    async def wait(self, event: asyncio.Event, until: int | None) -> bool:
        """Wait until `event` is set (True) or the wall clock reads `until` µs (False); None waits for the event alone."""

    async def pause(self, duration: int, event: asyncio.Event | None = None) -> bool:
        """Wait for so many µs (False), whatever the wall clock is set to meanwhile, or until `event` is set (True)."""


class SystemClock:
    """The machine's clocks; its wall clock shows, where that has been found out, what the store's shows."""

    def __init__(self) -> None:
        self._ahead = 0

    def now(self) -> int:
        """Wall time, µs since the epoch."""
        return time.time_ns() // 1_000 - self._ahead

    def set_back(self, by: int) -> None:
        """It is `by` µs ahead of the clock that it is to follow (below zero: behind)."""
        self._ahead += by

    def boot(self) -> int:
        """µs of CLOCK_BOOTTIME (monotonic where a system has none)."""
        return time.clock_gettime_ns(_BOOT) // 1_000

    async def wait(self, event: asyncio.Event, until: int | None) -> bool:
        """Wait for the event, at most until the wall clock reads `until` µs."""
        if until is None:
            return await event.wait()
        return await _nap(event, lambda: until - self.now())

    async def pause(self, duration: int, event: asyncio.Event | None = None) -> bool:
        """Wait for so long by the clock that never steps, or for the event."""
        until = self.boot() + duration
        return await _nap(event or asyncio.Event(), lambda: until - self.boot())


async def _nap(event: asyncio.Event, left: Callable[[], int]) -> bool:
    """Wait for the event, at most until nothing is left."""
    if event.is_set():
        return True
    rest = left()
    while True:
        try:
            # The wall clock may be set, and a machine may sleep, while the loop's clock measures: look now and then.
            async with asyncio.timeout(max(0, min(rest, _LONGEST_NAP)) / SECOND):
                return await event.wait()
        except TimeoutError:
            if (rest := left()) <= 0:
                return event.is_set()


def rfc3339(at: int) -> str:
    """µs since the epoch as RFC 3339 UTC with milliseconds: `2026-01-31T08:15:00.123Z`."""
    return f"{_second(at // SECOND)}.{at % SECOND // MILLISECOND:03d}Z"


def read_duration(text: str) -> int:
    """`500ms`, `30s`, `5m`, `1h`, `2d` or `1w` as µs; ValueError."""
    if not (match := _DURATION.fullmatch(text.strip().lower())):
        raise ValueError("is not a duration")
    return int(match[1]) * _DURATION_UNITS[match[2]]


def show_duration(value: int) -> str:
    """µs in the largest unit that divides them."""
    unit = next(unit for unit, factor in _DURATION_UNITS.items() if value % factor == 0 or factor == MILLISECOND)
    return f"{value // _DURATION_UNITS[unit]}{unit}" if value else "0s"


@lru_cache(maxsize=64)
def _second(second: int) -> str:
    """Kept, since thousands of log lines fall into each."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
