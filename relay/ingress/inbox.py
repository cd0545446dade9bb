"""Inbox: the octets a client sent and nobody has read yet.

An asyncio.StreamReader, because aiosmtpd is built on it, with two additions: a complete line is taken without a coroutine,
and the data reader may work on the buffer itself. StreamReader stops the transport when more than twice its limit waits.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from relay.ingress.faults import ClientGone

LIMIT = 64 * 1024
"""Half of what may wait unread (octets), and the most that is worked on at once."""


class Inbox(asyncio.StreamReader):
    """What has come in. The underscored names are StreamReader's; a test watches over them."""

    if TYPE_CHECKING:
        _buffer: bytearray
        _eof: bool
        _exception: BaseException | None
        _paused: bool
        _transport: asyncio.BaseTransport | None

        async def _wait_for_data(self, func_name: str) -> None: ...

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit=LIMIT, loop=loop)

    @property
    def buffer(self) -> bytearray:
        """What waits; a reader deletes from its front what it takes. Always the same object."""
        return self._buffer

    def take_line(self) -> bytes | None:
        """The next line with whatever ends it, a LF at the least; None while it is not complete."""
        end = self._buffer.find(b"\n") + 1
        if not end:
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[:end]
        return line

    async def more(self) -> None:
        """Wait until more has come; ClientGone when nothing will, or what `set_exception` was given."""
        had = len(self._buffer)
        try:
            if self._exception is not None:
                raise self._exception
            if not self._eof:
                await self._wait_for_data("more")
        except OSError as fault:
            raise ClientGone from fault
        if len(self._buffer) == had:
            raise ClientGone

    def forget(self) -> None:
        """Drop what was sent before TLS began: it may be an attacker's (RFC 3207 §5, CVE-2024-34083)."""
        self._buffer.clear()

    def secure(self, transport: asyncio.BaseTransport) -> None:
        """Go on with the encrypted transport."""
        self._transport = transport
        self._paused = False
