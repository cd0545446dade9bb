"""Connections: as many as are used at once, kept for the next user, and not handed out when they are lost."""

from __future__ import annotations

import asyncio

import pytest

from relay.errors import StoreUnavailable
from storage.connections import Connections


class Line:
    """Satisfies Connection."""

    def __init__(self) -> None:
        self.closed = False

    def is_closed(self) -> bool:
        return self.closed

    def terminate(self) -> None:
        self.closed = True

    async def close(self) -> None:
        self.closed = True


async def connect() -> Line:
    return Line()


async def refuse() -> Line:
    raise OSError("nobody there")


async def test_one_is_kept_for_the_next_user() -> None:
    connections = Connections(connect, 2, 1)
    async with connections.use() as first:
        pass
    async with connections.use() as again, connections.use() as other:
        assert again is first
        assert other is not first


async def test_one_that_is_lost_is_not_handed_out() -> None:
    connections = Connections(connect, 2, 1)
    async with connections.use() as first, connections.use() as second:
        first.terminate()
    second.terminate()
    async with connections.use() as third:
        assert third not in {first, second}


async def test_there_are_no_more_than_that() -> None:
    connections = Connections(connect, 1, 0.01)
    used = await connections.take()
    with pytest.raises(TimeoutError):
        await connections.take()
    waiting = asyncio.ensure_future(connections.take())
    await asyncio.sleep(0)
    connections.give_back(used)
    assert await waiting is used


async def test_a_connection_that_could_not_be_made_takes_no_place() -> None:
    connections = Connections(refuse, 1, 1)
    for _ in range(3):
        with pytest.raises(OSError, match="nobody there"):
            await connections.take()


async def test_closing_waits_for_who_uses_one() -> None:
    connections = Connections(connect, 2, 1)
    used = await connections.take()
    closing = asyncio.ensure_future(connections.close())
    await asyncio.sleep(0)
    assert not closing.done()
    connections.give_back(used)
    await closing
    assert used.closed
    with pytest.raises(StoreUnavailable):
        await connections.take()
