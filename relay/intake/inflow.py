"""Inflow: the content of a message on its way in, in memory where it is small and there at once, else with a writer."""

from __future__ import annotations

from collections.abc import AsyncIterator

from relay.contracts.content import ContentStore, ContentWriter
from relay.errors import Refusal, Rejected
from relay.intake.digest import Digest
from relay.model.delivery import StoredContent
from relay.model.message import QueueId


class Inflow:
    """Begins with our fields and what was read of the client's octets; `max_size` is of the latter alone (RFC 1870)."""

    __slots__ = ("_begun", "_contents", "_digest", "_id", "_max_size", "_ours", "_writer", "eight_bit", "size")

    def __init__(
        self, contents: ContentStore, key: QueueId, ours: bytes, theirs: bytes, max_size: int, digest: Digest | None
    ) -> None:
        self._contents = contents
        self._id = key
        self._begun = ours + theirs
        self._ours = len(ours)
        self._max_size = max_size
        self._digest = digest
        self._writer: ContentWriter | None = None
        self.size = self._ours + len(theirs)
        """Octets of what will be sent."""
        self.eight_bit = not self._begun.isascii()
        if digest is not None:
            digest.update(theirs)

    async def take(self, pieces: AsyncIterator[bytes]) -> bytes | StoredContent:
        """Read it to the end: what is to be committed with the message. Rejected (TOO_BIG)."""
        if self.size > self._contents.small:
            await self._write(b"")
        async for piece in pieces:
            self.size += len(piece)
            if self.size - self._ours > self._max_size:
                break
            self.eight_bit = self.eight_bit or not piece.isascii()
            if self._digest is not None:
                self._digest.update(piece)
            await self._write(piece)
            piece = b""  # a client that is waited for keeps none of it in memory
        if self.size - self._ours > self._max_size:
            raise Rejected(Refusal.TOO_BIG, str(self._max_size))
        return self._begun if self._writer is None else await self._writer.finish()

    async def _write(self, piece: bytes) -> None:
        if self._writer is None:
            self._writer = self._contents.writer(self._id)
            begun, self._begun = self._begun, b""
            await self._writer.write(begun)
        await self._writer.write(piece)

    async def discard(self) -> None:
        """Forget it, unless it is, or may yet be, committed."""
        if self._writer is not None:
            await self._writer.discard()
