"""Inbox: the octets a client sent and nobody has read yet.

An asyncio.StreamReader, because aiosmtpd is built on it, with two additions: a complete line is taken without a coroutine,
and the data reader may work on the buffer itself. StreamReader stops the transport when more than twice its limit waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, SupportsIndex

LIMIT = 32 * 1024
"""Half of what may wait unread (octets), and the most that is worked on at once."""


class Inbox(asyncio.StreamReader):
    """What has come in. The underscored names are StreamReader's; a test watches over them."""

    if TYPE_CHECKING:
        _buffer: bytearray
        _eof: bool
        _exception: BaseException | None
        _paused: bool
        _loop: asyncio.AbstractEventLoop
        _transport: asyncio.Transport | None
        _waiter: asyncio.Future[bool] | None

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit=LIMIT, loop=loop)
        self.buffer = self._buffer
        """What waits; a reader deletes from its front what it takes. Always the same object."""

    def feed_data(self, data: Iterable[SupportsIndex]) -> None:
        """More has come. As StreamReader's, without the calls and checks that make it cost three times as much."""
        buffer = self.buffer
        buffer.extend(data)
        if (waiter := self._waiter) is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(True)
        if len(buffer) > 2 * LIMIT and not self._paused and self._transport is not None:
            self._transport.pause_reading()
            self._paused = True

    def take_line(self) -> bytes | None:
        """The next line with whatever ends it, a LF at the least; None while it is not complete."""
        buffer = self.buffer
        end = buffer.find(b"\n") + 1
        if not end:
            return None
        line = bytes(buffer[:end])
        del buffer[:end]
        return line

    def arrival(self) -> asyncio.Future[bool]:
        """True when more has come; not so when nothing will. Fails with what `set_exception` was given.

        One at a time. As `_wait_for_data`, which every reading method of StreamReader ends in, but without a coroutine.
        """
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        waiter = self._loop.create_future()
        if self._exception is not None:
            waiter.set_exception(self._exception)
        elif self._eof:
            waiter.set_result(False)
        else:  # to be woken; what is done already must not be, a second end would fail
            self._waiter = waiter
        return waiter

    def forget(self) -> None:
        """Drop what was sent before TLS began: it may be an attacker's (RFC 3207 §5, CVE-2024-34083)."""
        self.buffer.clear()

    def secure(self, transport: asyncio.Transport) -> None:
        """Go on with the encrypted transport."""
        self._transport = transport
        self._paused = False
