"""Connections: some to a database, made when they are needed and kept for whoever comes next.

All sessions are alike and nobody leaves anything behind in one, so that nothing is asked of the server, and no task is made,
when a connection changes hands; a driver's own pool does both.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Generic, Protocol, TypeVar

from relay.errors import StoreUnavailable


class Connection(Protocol):
    """What is asked of a driver's."""

    def is_closed(self) -> bool:
        """Whether it is of no more use."""

    def terminate(self) -> None:
        """Close it without a word to the server."""

    async def close(self) -> None:
        """Close it."""


C = TypeVar("C", bound=Connection)


class Connections(Generic[C]):
    """Up to `at_most`; who wants one more waits for `timeout` seconds."""

    def __init__(self, connect: Callable[[], Awaitable[C]], at_most: int, timeout: float) -> None:
        self._connect = connect
        self._at_most = at_most
        self._timeout = timeout
        self._turns = asyncio.Semaphore(at_most)
        self._unused: list[C] = []
        self._closed = False

    async def take(self) -> C:
        """One for the caller alone, until it is given back. TimeoutError where none becomes free."""
        if self._turns.locked():
            async with asyncio.timeout(self._timeout):
                await self._turns.acquire()
        else:
            await self._turns.acquire()
        try:
            if self._closed:
                raise StoreUnavailable("the store is closed")
            while self._unused:
                connection = self._unused.pop()
                if not connection.is_closed():
                    return connection
            return await self._connect()
        except BaseException:
            self._turns.release()
            raise

    def give_back(self, connection: C) -> None:
        """For the next one, unless it was lost."""
        if not connection.is_closed():
            self._unused.append(connection)
        self._turns.release()

    @contextlib.asynccontextmanager
    async def use(self) -> AsyncIterator[C]:
        """Take one and give it back."""
        connection = await self.take()
        try:
            yield connection
        finally:
            self.give_back(connection)

    async def close(self) -> None:
        """Wait for those in use, then close all."""
        for _ in range(self._at_most):
            await self._turns.acquire()
        self._closed = True
        for _ in range(self._at_most):
            self._turns.release()
        while self._unused:
            await self._unused.pop().close()

    def terminate(self) -> None:
        """Close those that nobody uses, at once."""
        self._closed = True
        while self._unused:
            self._unused.pop().terminate()
