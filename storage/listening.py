"""Listening: the connection over which an instance hears the others on its PostgreSQL, made again whenever it is lost, and
whether there are others at all.

A commit that notifies takes a lock that all such commits share, and wakes every listener, its own too. So nobody is notified
while nobody else listens. An advisory lock tells that for certain: all who listen share it, and who is alone has it for
itself. A newcomer says that it is there and waits for its share before it begins to hear; who was alone makes room as soon
as nothing is under way any more that has notified nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

from storage.database import Hearing

RECONNECT_AT_MOST = 10.0
"""Seconds between attempts to listen again."""
LOOK_FOR_OTHERS = 60.0
"""Seconds between looks whether those who shared the lock are still there."""
CHANNEL = "stagepost"
NEWCOMER = "newcomer"
"""A word to who is alone: make room."""
MISSED = "missed"
"""A word to all: what this instance has done while it could not be heard, they have missed."""
_LOCK = 6004495977553088340  # spells STAGEPOT
_TAKE_ALONE = f"SELECT pg_try_advisory_lock({_LOCK})"
_LEAVE_ALONE = f"SELECT pg_advisory_unlock({_LOCK})"
_SHARE = f"SELECT pg_advisory_lock_shared({_LOCK})"
_UNSHARE = f"SELECT pg_advisory_unlock_shared({_LOCK})"

log = logging.getLogger(__name__)


class Ear(Protocol):
    """A connection that listens."""

    def add_termination_listener(self, callback: Callable[[object], None]) -> None:
        """Have its end told."""

    def terminate(self) -> None:
        """Close it without a word."""

    async def add_listener(self, channel: str, callback: Callable[..., None]) -> None:
        """Have told what is notified."""

    async def fetchval(self, query: str, *arguments: object) -> object:
        """The first value that a query answers."""


Connect: TypeAlias = Callable[[], Awaitable[Ear]]


class Listening:
    """Of one process, from `start` on."""

    def __init__(self, connect: Connect, quiesce: Callable[[], Awaitable[None]]) -> None:
        """`quiesce` waits until the transactions that are under way have ended."""
        self._connect = connect
        self._quiesce = quiesce
        self.sender = secrets.token_hex(4)
        """Begins whatever this process notifies: its own words are none to it."""
        self.is_alone = False
        """Nobody else listens, and nobody begins to before this has changed: nothing need be notified."""
        self._was_alone = False
        self._moving: asyncio.Task[None] | None = None
        self._running: asyncio.Task[None] | None = None

    def start(self, hearing: Hearing) -> None:
        """Hear the other instances from now on."""
        hearing.ended()
        self._running = asyncio.get_running_loop().create_task(self._keep(hearing), name="listen")

    async def close(self) -> None:
        """Hear nothing more."""
        for task in (self._running, self._moving):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def _keep(self, hearing: Hearing) -> None:
        pause = 0.1
        while True:
            try:
                await self._listen(hearing)
                pause = 0.1
            except Exception as error:  # whatever it is, hearing nothing for good would be worse
                log.warning("listening to the store: %s", str(error) or type(error).__name__)
            hearing.ended()
            await asyncio.sleep(pause)
            pause = min(pause * 2, RECONNECT_AT_MOST)

    async def _listen(self, hearing: Hearing) -> None:
        """Until the connection is lost."""
        ear = await self._connect()
        lost = asyncio.Event()

        def lose(_: object) -> None:
            self.is_alone = False
            lost.set()

        try:
            ear.add_termination_listener(lose)
            await ear.add_listener(CHANNEL, lambda *told: self._hear(hearing, ear, str(told[-1])))
            await self._take_place(ear)
            hearing.began()
            while not lost.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(lost.wait(), LOOK_FOR_OTHERS)
                if self._may_be_alone(lost) and await ear.fetchval(_TAKE_ALONE):
                    await ear.fetchval(_UNSHARE)
                    self.is_alone = self._was_alone = True
        finally:
            self.is_alone = False
            ear.terminate()

    async def _take_place(self, ear: Ear) -> None:
        """Alone, or among the others once who is alone has made room."""
        if await ear.fetchval(_TAKE_ALONE):
            self.is_alone = self._was_alone = True
            return
        await self._say(ear, NEWCOMER)
        await ear.fetchval(_SHARE)
        if self._was_alone:
            self._was_alone = False
            await self._say(ear, MISSED)

    def _may_be_alone(self, lost: asyncio.Event) -> bool:
        makes_room = self._moving is not None and not self._moving.done()
        return not (lost.is_set() or self.is_alone or makes_room)

    async def _say(self, ear: Ear, word: str) -> None:
        await ear.fetchval("SELECT pg_notify($1, $2)", CHANNEL, f"{self.sender} {word}")

    def _hear(self, hearing: Hearing, ear: Ear, payload: str) -> None:
        sender, _, told = payload.partition(" ")
        if sender == self.sender:
            return
        if told == NEWCOMER:
            if self.is_alone:
                self.is_alone = self._was_alone = False
                self._moving = asyncio.get_running_loop().create_task(self._make_room(ear), name="listen: make room")
        elif told == MISSED:
            hearing.began()
        else:
            hearing.heard(told)

    async def _make_room(self, ear: Ear) -> None:
        try:
            await self._quiesce()
            await ear.fetchval(_SHARE)
            await ear.fetchval(_LEAVE_ALONE)
        except Exception as error:  # a newcomer would wait for ever
            log.warning("making room for another instance: %s", error)
            ear.terminate()
