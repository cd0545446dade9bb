"""Pulse: whether the store answers, known before somebody has to wait for it. Satisfies Database around another one.

Nothing is asked of a store that is well. After a failure, or when a transaction is not answered, one small write after the
other asks until one succeeds: so a door can refuse at MAIL what could not be kept at the final dot, and what waits on a
store that came back does not come all at once, but as it would have anyway.
"""

from __future__ import annotations

import asyncio

from relay.clock import SECOND, Clock
from relay.errors import StoreUnavailable
from storage.database import Database, Hearing
from storage.statements import Dialect
from storage.work import T, Work, execute

PATIENCE = 5 * SECOND
"""How long a transaction may take, unless a later one has been faster. A disk that stalls for a moment ails nobody: a client
that waits for its 250 is better off than one that is refused."""
PROBE_EVERY = SECOND // 2


class Pulse:
    """Takes the writes of the queue's way; its reads are not watched, since a long question ails nobody."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._running: dict[object, int] = {}
        """When (boot clock) each transaction, by its work, began, the oldest first."""
        self._answered = 0
        """When the latest that has succeeded began."""
        self._failure: str | None = None
        self._probe: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def dialect(self) -> Dialect:
        """See Database."""
        return self._database.dialect

    @property
    def groups_at_most(self) -> int:
        """See Database."""
        return self._database.groups_at_most

    @property
    def claims_at_once(self) -> bool:
        """See Database."""
        return self._database.claims_at_once

    def ailment(self, now: int) -> str | None:
        """What ails the store now (by the boot clock); None: it answers, as far as is known."""
        if self._failure is not None:
            return self._failure
        if not self._running:
            return None
        oldest, *_ = self._running.values()
        if now - oldest < PATIENCE or self._answered > oldest:
            return None
        self._ask()
        return f"a transaction has not been answered for {(now - oldest) // SECOND} s"

    async def equip(self) -> None:
        """See Database."""
        await self._database.equip()

    async def write(self, work: Work[T]) -> T:
        """See Database."""
        began = self._clock.boot()
        self._running[work] = began
        try:
            result = await self._database.write(work)
        except StoreUnavailable:
            self._ask()
            raise
        else:
            self._failure = None
            if began > self._answered:
                self._answered = began
            return result
        finally:
            del self._running[work]

    async def read(self, work: Work[T]) -> T:
        """See Database."""
        return await self._database.read(work)

    async def listen(self, hearing: Hearing) -> None:
        """See Database."""
        await self._database.listen(hearing)

    async def close(self) -> None:
        """Ask no more. The database is closed by who opened it."""
        self._closed = True
        if self._probe is not None:
            self._probe.cancel()
            await asyncio.gather(self._probe, return_exceptions=True)

    def _ask(self) -> None:
        if self._probe is None and not self._closed:
            self._probe = asyncio.get_running_loop().create_task(self._ask_until_answered(), name="pulse")

    async def _ask_until_answered(self) -> None:
        try:
            while True:
                began = self._clock.boot()
                try:
                    await self._database.write(execute("touch_store"))
                except StoreUnavailable as error:
                    self._failure = str(error)
                else:
                    self._failure = None
                    self._answered = max(began, self._answered)
                    return
                await self._clock.pause(PROBE_EVERY)
        finally:
            self._probe = None
