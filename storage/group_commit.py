"""Group commit: what waits while a transaction runs shares the next one.

Nothing is ever held back to gather more (a millisecond of gathering cost 42 % of the throughput): the first item starts a
transaction at once, and load makes the groups. A group that fails for anything but an unavailable store is taken apart and
each of its items is run alone, so that only the culprit fails. A caller that stops waiting undoes nothing.

Where transactions can overlap, one that waits for a row that somebody has locked holds up nobody but its own members: after
a while the next begins beside it.

What sends (claims, settlements, releases) goes ahead of what comes in: there is as much of it as there are connections,
while a flood at the doors knows no bound, and behind it a connection would be idle for most of the time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from relay.errors import StoreUnavailable
from storage.database import Database
from storage.work import Work

log = logging.getLogger(__name__)

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
MAX_GROUP = 64
"""Items in one transaction, as many again of those that go ahead: enough to carry what a transaction costs by itself
(0.85 ms of CPU on SQLite, its fsync among it; 0.08 for a message), few enough that the next need not wait long."""
PATIENCE = 0.1
"""Seconds after which a group does not wait for the one before it, where they can overlap."""


class Item(Generic[R_co]):
    """Something to do in a transaction, answered with an R."""

    __slots__ = ()


Outcome = object
"""What an item is answered: its R, or a RelayError to be raised to its caller alone."""


class Compose(Protocol):
    """Makes one work of a group; its outcomes are in the order of the items. `alone`: of an item whose group has failed,
    which is to say what is wrong with it."""

    def __call__(self, items: Sequence[Item[object]], *, alone: bool) -> Work[Sequence[Outcome]]: ...


_Waiting: TypeAlias = "tuple[Item[object], asyncio.Future[Any]]"


class GroupCommit:
    """Takes items from many callers and commits them together."""

    def __init__(self, database: Database, compose: Compose) -> None:
        self._loop = asyncio.get_running_loop()
        self._database = database
        self._most = database.groups_at_most
        self._compose = compose
        self._waiting: list[_Waiting] = []
        self._ahead: list[_Waiting] = []
        self._running: set[asyncio.Task[None]] = set()
        self._latest: asyncio.Task[None] | None = None
        """Sees to what waits. Others have waited too long for a group of theirs, and end with it."""
        self._begun = 0
        """How many groups have begun."""
        self._impatient: asyncio.TimerHandle | None = None
        self._closed = False

    def put(self, item: Item[R], *, ahead: bool = False) -> asyncio.Future[R]:
        """Have an item done; answered after its commit. `ahead` of all that is not."""
        future: asyncio.Future[R] = self._loop.create_future()
        if self._closed:
            future.set_exception(StoreUnavailable("the store is closed"))
            return future
        (self._ahead if ahead else self._waiting).append((item, future))
        if self._latest is None:
            self._start()
        elif self._impatient is None and self._most > 1:
            self._be_impatient()
        return future

    async def close(self) -> None:
        """Finish what was put in; take nothing more."""
        self._closed = True
        while self._running:
            await asyncio.wait(self._running)

    def _start(self) -> None:
        """Begin a transaction: it takes what waits when it gets its turn on the loop."""
        self._latest = task = self._loop.create_task(self._commit())
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if self._latest is task:
            self._latest = None
            if self._waits:
                self._start()

    @property
    def _waits(self) -> bool:
        return bool(self._ahead or self._waiting)

    def _look(self, begun: int) -> None:
        """Some time after something had to wait, when so many groups had begun."""
        self._impatient = None
        if not self._waits:
            return
        if self._begun == begun and len(self._running) < self._most:
            self._start()
        self._be_impatient()

    def _be_impatient(self) -> None:
        self._impatient = self._loop.call_later(PATIENCE, self._look, self._begun)

    async def _commit(self) -> None:
        """One group after the other, while any waits: a new task would come two turns of the loop later."""
        this = asyncio.current_task()
        group: Sequence[_Waiting] = ()
        try:
            while self._latest is this and (group := self._next()):
                try:
                    outcomes = await self._database.write(self._compose([item for item, _ in group], alone=False))
                except StoreUnavailable as error:
                    _refuse(group, error)
                except Exception as fault:  # whoever put in the culprit is told, nobody else
                    if all([await self._commit_alone(member) for member in group]):
                        log.info("%d of a group failed together and not one by one: %r", len(group), fault)
                else:
                    _answer(group, outcomes)
        finally:  # cut off by the end of the loop: whether it was committed is not known
            _refuse(group, StoreUnavailable("the store was closed"))

    async def _commit_alone(self, member: _Waiting) -> bool:
        """Whether it could be done."""
        try:
            outcomes = await self._database.write(self._compose([member[0]], alone=True))
        except Exception as error:
            _refuse([member], error)
            return False
        _answer([member], outcomes)
        return True

    def _next(self) -> Sequence[_Waiting]:
        group = self._ahead[:MAX_GROUP] + self._waiting[:MAX_GROUP]
        self._ahead, self._waiting = self._ahead[MAX_GROUP:], self._waiting[MAX_GROUP:]
        self._begun += 1
        return group


def _answer(group: Sequence[_Waiting], outcomes: Sequence[Outcome]) -> None:
    for (_, future), outcome in zip(group, outcomes, strict=True):
        if future.done():  # nobody waits any more
            continue
        match outcome:
            case Exception():
                future.set_exception(outcome)
            case _:
                future.set_result(outcome)


def _refuse(group: Sequence[_Waiting], error: Exception) -> None:
    for _, future in group:
        if not future.done():
            future.set_exception(StoreUnavailable(*error.args) if isinstance(error, StoreUnavailable) else error)
