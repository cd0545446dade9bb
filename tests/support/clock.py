"""FakeClock: time that stands still until a test moves it; passes the same tests as the machine's clock."""

from __future__ import annotations

import asyncio
import itertools

from relay.clock import SECOND

START = 1_767_225_600 * SECOND
"""2026-01-01T00:00:00Z, in µs."""


class FakeClock:
    """Satisfies relay.clock.Clock. `now` and `boot` move together, by `advance` alone."""

    def __init__(self, now: int = START) -> None:
        self._now = now
        self._booted = now - 3600 * SECOND
        self._sleepers: dict[int, tuple[int, asyncio.Timeout]] = {}
        self._pausing: set[int] = set()
        """Of the sleepers, those who count from boot."""
        self._numbers = itertools.count()
        self._changed = asyncio.Event()

    def now(self) -> int:
        """Wall time, µs since the epoch."""
        return self._now

    def boot(self) -> int:
        """µs since the machine "booted", an hour before the test."""
        return self._now - self._booted

    async def wait(self, event: asyncio.Event, until: int | None) -> bool:
        """Wait for the event, at most until `advance` brings `until`."""
        return await self._sleep(next(self._numbers), event, until)

    async def pause(self, duration: int, event: asyncio.Event | None = None) -> bool:
        """Wait for the event, at most until `advance` has moved on by `duration`."""
        number = next(self._numbers)
        self._pausing.add(number)
        try:
            return await self._sleep(number, event or asyncio.Event(), self._now + duration)
        finally:
            self._pausing.discard(number)

    async def _sleep(self, number: int, event: asyncio.Event, until: int | None) -> bool:
        if event.is_set():
            return True
        try:
            async with asyncio.timeout(None) as sleep:
                if until is not None:
                    self._sleepers[number] = (until, sleep)
                    self._tell()
                    if until <= self._now:
                        _end(sleep)
                return await event.wait()
        except TimeoutError:
            return event.is_set()
        finally:
            self._sleepers.pop(number, None)

    def advance(self, by: int) -> None:
        """Move on by so many µs; who waited for a time up to then wakes, earliest first, in the loop's next turns."""
        self._now += by
        for _, sleep in sorted(
            ((until, sleep) for until, sleep in self._sleepers.values() if until <= self._now), key=lambda one: one[0]
        ):
            _end(sleep)

    def step_back(self, by: int) -> None:
        """The wall clock is put back, as by NTP; what counts from boot is not."""
        self._now -= by
        self._booted -= by
        for number in self._pausing.intersection(self._sleepers):
            until, sleep = self._sleepers[number]
            self._sleepers[number] = (until - by, sleep)

    @property
    def sleeping_until(self) -> tuple[int, ...]:
        """The times that are waited for, earliest first."""
        return tuple(sorted(until for until, _ in self._sleepers.values()))

    async def until_slept(self, at: int, within: float = 10) -> None:
        """Return once somebody waits for exactly `at` µs; TimeoutError after `within` real seconds."""
        async with asyncio.timeout(within):
            while at not in self.sleeping_until:
                self._changed.clear()
                await self._changed.wait()

    def _tell(self) -> None:
        self._changed.set()


def _end(sleep: asyncio.Timeout) -> None:
    if not sleep.expired():
        sleep.reschedule(asyncio.get_running_loop().time())
