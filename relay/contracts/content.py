"""The content of messages, in and out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from relay.model.delivery import StoredContent
from relay.model.message import QueueId


class ContentWriter(Protocol):
    """Takes the content of one message in pieces; holds a bounded part of it in memory."""

    async def write(self, piece: bytes) -> None:
        """Append."""

    async def finish(self) -> bytes | StoredContent:
        """Small content comes back as bytes, to be committed with its message; large content is durable now."""

    async def discard(self) -> None:
        """Forget it; safe at any time, and more than once."""


class ContentStore(Protocol):
    """The bytes of messages."""

    @property
    def small(self) -> int:
        """Content of at most so many octets needs no writer: it is committed with its message."""

    def writer(self, message: QueueId) -> ContentWriter:
        """Open a writer."""

    def read(self, message: QueueId) -> AsyncIterator[bytes]:
        """The content in pieces of at most 1 MiB; NotFound when it is gone."""
