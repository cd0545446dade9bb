"""Tidings: who waits for events hears that some may have been written, without asking again and again.

In its own process it hears of every transaction that ends, which costs a writer a look at a set that is empty while nobody
waits. Other processes, of this instance or of others on the store, are told only while one of them has said, not long ago,
that somebody waits there; and then not with each transaction, and not in it: on PostgreSQL a commit that notifies takes a
lock that all such commits share.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator

from relay.clock import MILLISECOND, SECOND, Clock
from relay.errors import StoreUnavailable
from storage.database import Database, Hearing
from storage.statements import Dialect
from storage.work import T, Work, notify

WAITING = "waiting"
"""What others are told: somebody waits here for events."""
WRITTEN = "written"
"""What they are told then: events may have been written."""

SAID_EVERY = 10 * SECOND
"""How often it is said that somebody waits, and that they look unasked: a word may have been lost with a connection."""
SAID_LASTS = 3 * SAID_EVERY
TOLD_EVERY = 20 * MILLISECOND
"""The others are told no more often."""

log = logging.getLogger(__name__)


class Tidings:
    """Of one process. `is_alone`: no other has the store open."""

    def __init__(self, database: Database, clock: Clock, *, is_alone: bool) -> None:
        self._database = database
        self._clock = clock
        self._is_alone = is_alone
        self._waiting: set[asyncio.Event] = set()
        self._others_wait_until = 0
        """By the boot clock; 0: none does."""
        self._untold = asyncio.Event()
        self._saying: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def watch(self, event: asyncio.Event) -> Iterator[None]:
        """While this is entered, `event` is set whenever there may be something new."""
        self._waiting.add(event)
        if self._saying is None:
            self._saying = asyncio.get_running_loop().create_task(self._say(), name="tidings: waiting")
        try:
            yield
        finally:
            self._waiting.discard(event)
            if not self._waiting and self._saying is not None:
                self._saying.cancel()
                self._saying = None

    def wake(self) -> None:
        """There may be something new."""
        for event in self._waiting:
            event.set()

    def written(self) -> None:
        """A transaction of this process has ended."""
        if self._waiting:
            self.wake()
        if self._others_wait_until:
            self._tell()

    def others_wait(self) -> None:
        """Another process says that somebody waits there. What it has not heard of before, it hears of now."""
        is_new = not self._others_wait_until
        self._others_wait_until = self._clock.boot() + SAID_LASTS
        if is_new:
            self._tell()

    def began(self) -> None:
        """The others are heard from now on; what they said before may have been missed."""
        self.wake()
        if self._waiting:
            self._spawn_word()

    async def close(self) -> None:
        """Tell nobody any more."""
        tasks = [task for task in (self._saying, self._telling) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _spawn_word(self) -> None:
        """Say at once, again, that somebody waits here."""
        if self._saying is not None:
            self._saying.cancel()
        self._saying = asyncio.get_running_loop().create_task(self._say(), name="tidings: waiting")

    async def _say(self) -> None:
        while True:
            if not self._is_alone:
                await self._send(WAITING)
            await self._clock.wait(asyncio.Event(), self._clock.now() + SAID_EVERY)
            self.wake()

    def _tell(self) -> None:
        if self._clock.boot() > self._others_wait_until:
            self._others_wait_until = 0
            return
        self._untold.set()
        if self._telling is None:
            self._telling = asyncio.get_running_loop().create_task(self._tell_all(), name="tidings: written")

    async def _tell_all(self) -> None:
        """The first at once, those that come meanwhile together."""
        try:
            while self._untold.is_set():
                self._untold.clear()
                await self._send(WRITTEN)
                await self._clock.wait(asyncio.Event(), self._clock.now() + TOLD_EVERY)
        finally:
            self._telling = None

    async def _send(self, payload: str) -> None:
        try:
            await self._database.write(notify([payload]))
        except StoreUnavailable as error:  # it is said again, and they look unasked
            log.debug("%s: %s", payload, error)


class Overheard:
    """A database whose transactions are heard of. Satisfies Database around another one."""

    def __init__(self, database: Database, tidings: Tidings) -> None:
        self._database = database
        self._tidings = tidings

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

    async def equip(self) -> None:
        """See Database."""
        await self._database.equip()

    async def write(self, work: Work[T]) -> T:
        """See Database."""
        try:
            return await self._database.write(work)
        finally:  # one whose end is not known may have been committed
            self._tidings.written()

    async def read(self, work: Work[T]) -> T:
        """See Database."""
        return await self._database.read(work)

    async def listen(self, hearing: Hearing) -> None:
        """See Database."""
        await self._database.listen(hearing)

    async def close(self) -> None:
        """See Database."""
        await self._database.close()
