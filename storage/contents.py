"""Contents: the bytes of messages (relay.contracts.ContentStore).

Small content stays in memory and is committed with its message. Large content goes to the spool (SQLite) or into rows, each
a transaction of its own (PostgreSQL), and is durable before its message; what no message came to own is swept.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Protocol

from relay.clock import HOUR
from relay.errors import NotFound, StoreUnavailable
from relay.model.delivery import StoredContent
from relay.model.message import QueueId
from storage.database import Database
from storage.spool import Spool
from storage.work import execute, fetch, fetch_one

CHUNK = 256 * 1024
"""Octets in one row of content_chunks: fifty writers at once hold a few of these each, so it is a quarter of a MiB."""
WRITTEN = 32 * 1024
"""Octets written to a file of the spool at once: what each client in the middle of a large message holds in memory."""
SWEPT_AT_ONCE = 500
ORPHAN_AGE = 1 * HOUR
"""How long (µs) large content may be without its message."""


class LargeWriter(Protocol):
    """Takes large content in pieces of `Large.piece` octets."""

    async def append(self, piece: bytes) -> None:
        """Write a piece."""

    async def commit(self) -> None:
        """All of it is durable now."""

    async def discard(self) -> None:
        """Remove it."""


class Large(Protocol):
    """Where large content is kept."""

    @property
    def piece(self) -> int:
        """How much a writer gathers before it appends."""

    def writer(self, message: str) -> LargeWriter:
        """A content to be written."""

    def read(self, message: str) -> AsyncGenerator[bytes, None]:
        """It in pieces; NotFound."""

    async def remove(self, messages: Sequence[str]) -> None:
        """Of messages that are deleted."""

    async def sweep(self, age: int) -> int:
        """Remove what has been without a message for `age` µs; how many."""


class Files:
    """Large content in the spool."""

    piece = WRITTEN

    def __init__(self, database: Database, spool: Spool) -> None:
        self._database = database
        self._spool = spool

    def writer(self, message: str) -> LargeWriter:
        """See Large."""
        return self._spool.writer(message)

    async def read(self, message: str) -> AsyncGenerator[bytes, None]:
        """See Large."""
        try:
            async with aclosing(self._spool.read(message)) as pieces:
                async for piece in pieces:
                    yield piece
        except FileNotFoundError:
            raise NotFound(f"the content of message {message} is gone") from None

    async def remove(self, messages: Sequence[str]) -> None:
        """See Large."""
        await self._spool.remove(list(messages))

    async def sweep(self, age: int) -> int:
        """See Large."""
        count = 0
        for folder in await self._spool.folders():
            old = await self._spool.older_than(age, folder)
            kept = {row[0] for row in await self._database.read(fetch("kept_contents", given=[(key,) for key in old]))}
            orphans = [key for key in old if key not in kept]
            await self._spool.remove(orphans)
            count += len(orphans)
        return count


class Chunks:
    """Large content in rows."""

    piece = CHUNK

    def __init__(self, database: Database) -> None:
        self._database = database

    def writer(self, message: str) -> LargeWriter:
        """See Large."""
        return _ChunkWriter(self._database, message)

    async def read(self, message: str) -> AsyncGenerator[bytes, None]:
        """See Large. No transaction is open between two rows."""
        n = 0
        while row := await self._database.read(fetch_one("read_chunk", {"message": message, "n": n})):
            yield row[0]
            n += 1
        if n == 0:
            raise NotFound(f"the content of message {message} is gone")

    async def remove(self, messages: Sequence[str]) -> None:
        """See Large."""
        await self._database.write(execute("delete_chunks", given=[(key,) for key in messages]))

    async def sweep(self, age: int) -> int:
        """See Large."""
        count, after = 0, ""
        while True:
            values = {"age": age, "after": after, "count": SWEPT_AT_ONCE}
            rows = await self._database.read(fetch("old_chunks", values))
            if orphans := [key for key, kept in rows if kept is None]:
                await self.remove(orphans)
                count += len(orphans)
            if len(rows) < SWEPT_AT_ONCE:
                return count
            after = rows[-1][0]


class _ChunkWriter:
    def __init__(self, database: Database, message: str) -> None:
        self._database = database
        self._message = message
        self._n = 0

    async def append(self, piece: bytes) -> None:
        values = {"message": self._message, "n": self._n, "octets": piece}
        self._n += 1
        await self._database.write(execute("write_chunk", values))

    async def commit(self) -> None:
        """Every chunk was committed when it was written."""

    async def discard(self) -> None:
        if self._n:
            self._n = 0
            await self._database.write(execute("delete_chunks", given=[(self._message,)]))


class Writer:
    """Satisfies ContentWriter."""

    def __init__(self, large: Large, message: QueueId, inline_limit: int) -> None:
        self._large = large
        self._message = message
        self._inline_limit = inline_limit
        self._pieces: list[bytes] = []
        self._held = 0
        self._size = 0
        self._to: LargeWriter | None = None

    async def write(self, piece: bytes) -> None:
        """Append; what was gathered goes out as soon as it is large."""
        size = len(piece)
        self._pieces.append(piece)
        self._held += size
        self._size += size
        if self._size > self._inline_limit and self._held >= self._large.piece:
            await self._put_out()

    async def _put_out(self) -> None:
        if self._to is None:
            self._to = self._large.writer(self._message)
        octets = b"".join(self._pieces)
        self._pieces = []
        for at in range(0, self._held, self._large.piece):
            await self._to.append(octets[at : at + self._large.piece])
        self._held = 0

    async def finish(self) -> bytes | StoredContent:
        """The bytes, where they are few; else they are durable now."""
        if self._to is None and self._size <= self._inline_limit:
            return b"".join(self._pieces)
        if self._held:
            await self._put_out()
        assert self._to is not None  # noqa: S101 - for the type checker: there is more than nothing
        await self._to.commit()
        return StoredContent(self._size)

    async def discard(self) -> None:
        """Remove what was written. Not for a message that is, or may yet be, committed."""
        self._pieces = []
        if self._to is not None:
            to, self._to = self._to, None
            await to.discard()


class Contents:
    """Satisfies ContentStore."""

    def __init__(self, database: Database, large: Large, inline_limit: int) -> None:
        self._database = database
        self._large = large
        self._inline_limit = inline_limit
        self.small = inline_limit
        """See ContentStore."""

    def writer(self, message: QueueId) -> Writer:
        """See ContentStore."""
        return Writer(self._large, message, self._inline_limit)

    async def read(self, message: QueueId) -> AsyncGenerator[bytes, None]:
        """See ContentStore."""
        row = await self._database.read(fetch_one("content", {"message": message}))
        if row is None:
            raise NotFound(f"the content of message {message} is gone")
        size, inline = row
        if inline is not None:
            for at in range(0, size, CHUNK):
                yield inline[at : at + CHUNK]
            return
        read = 0
        async with aclosing(self._large.read(message)) as pieces:
            async for piece in pieces:
                read += len(piece)
                yield piece
        if read != size:
            raise StoreUnavailable(f"the content of message {message} has {read} of {size} octets")

    async def remove(self, messages: Sequence[str]) -> None:
        """Large contents of messages that were deleted."""
        if messages:
            await self._large.remove(messages)

    async def sweep(self) -> int:
        """Remove large contents whose message never came, or which could not be removed with it; how many."""
        return await self._large.sweep(ORPHAN_AGE)
