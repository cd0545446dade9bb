"""Janitor: what has to be looked at now and then, such as leases of dead instances and content without a message."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from relay.clock import Clock
from relay.errors import StoreUnavailable

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Chore:
    """One thing to do every `every` µs."""

    name: str
    every: int
    do: Callable[[], Awaitable[object]]


class Janitor:
    """Does its chores one after the other; one that fails is logged and done again in its time. That is counted from boot: a
    wall clock that is put back must not keep it from taking over what a dead instance holds."""

    def __init__(self, clock: Clock, chores: tuple[Chore, ...]) -> None:
        self._clock = clock
        self._due = {chore: clock.boot() + chore.every for chore in chores}

    async def run(self) -> None:
        """For ever."""
        while self._due:
            await self._clock.pause(min(self._due.values()) - self._clock.boot())
            await self.run_due()

    async def run_due(self) -> None:
        """Do what is due now."""
        for chore, due in list(self._due.items()):
            if due > self._clock.boot():
                continue
            try:
                await chore.do()
            except StoreUnavailable as error:
                log.warning("%s: %s", chore.name, error)
            except Exception:  # one chore's bug must not end the others
                log.exception("%s failed", chore.name)
            self._due[chore] = self._clock.boot() + chore.every
