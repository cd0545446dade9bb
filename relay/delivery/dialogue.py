"""Dialogue: commands out, replies in, on a connection that is ready for mail.

The protocol of ours that takes a connection over once it is open, secured and authenticated. It owes its existence to what
a mail transaction needs and a general client hides: several commands in one write (RFC 2920), knowing how many replies the
server still owes, and noticing the one it does not owe. A server that says more than it was asked is out of step, and
whatever it says next may be meant for somebody else's mail.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable

from relay.model.reply import Reply, read_reply

MAX_REPLY = 32 * 1024
"""Octets of one reply with all its lines; a real one has a few hundred."""

_LINE = re.compile(rb"([0-9]{3})(?:([ -])([^\r\n]*))?\r?")


class DialogueError(Exception):
    """The dialogue cannot go on; the connection is of no use any more."""


class ConnectionLost(DialogueError):
    """The server closed the connection, or the network did."""


class NoReply(DialogueError):
    """The server took longer than it may."""


class BadReply(DialogueError):
    """What the server said is outside the protocol, or was not asked for."""


class Dialogue(asyncio.Protocol):
    """`on_broken` is called when the server speaks unasked, and in any case when the connection is lost."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._replies: deque[Reply] = deque()
        self._owed = 0
        self._partial = b""
        self._texts: list[bytes] = []
        self._code = b""
        self._size = 0
        self._error: DialogueError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._paused = False
        self._quitting = False
        self._farewell: asyncio.TimerHandle | None = None
        self.is_lost = False
        self.on_broken: Callable[[], None] | None = None

    # -- what the transaction uses ------------------------------------------------------------------------------------

    @property
    def is_usable(self) -> bool:
        """Nothing is owed, nothing surplus has come, the connection stands."""
        return self._error is None and self._owed == 0 and not self._replies and not self._transport.is_closing()

    @property
    def has_reply(self) -> bool:
        """A reply is there to be read without waiting."""
        return bool(self._replies)

    def check_silence(self) -> None:
        """Raise if the server has said more than it was asked, or has gone."""
        if self._error is not None:
            raise self._error
        if self._transport.is_closing():
            raise ConnectionLost("connection lost")

    def command(self, *lines: bytes) -> None:
        """Write commands, in one go; the server owes a reply to each."""
        data = b"".join(lines)
        if data.count(b"\n") != len(lines) or data.count(b"\r") != len(lines):
            raise ValueError("a command holds a line end")  # no address ever gets here with one; if so, it stops here
        self.check_silence()
        self._owed += len(lines)
        self._transport.write(data)

    def end_content(self, data: bytes) -> None:
        """Write the last of the content with its end; the server owes the verdict."""
        self.check_silence()
        self._owed += 1
        self._transport.write(data)

    async def reply(self, patience: float) -> Reply:
        """The next reply, within `patience` seconds; what has come already comes out even of a lost connection."""
        while not self._replies:  # writing that goes on wakes as well
            await self._wait(patience)
        return self._replies.popleft()

    async def stream(self, data: bytes, patience: float) -> None:
        """Write a part of the content and wait until the peer takes more; `patience` is for no progress at all."""
        self.check_silence()
        self._transport.write(data)
        while self._paused and self._error is None:
            left = self._transport.get_write_buffer_size()
            try:
                await self._wait(patience)
            except NoReply:
                if self._transport.get_write_buffer_size() >= left:
                    raise
        self.check_silence()

    def abort(self) -> None:
        """Drop the connection at once: nothing half done must be carried on."""
        self._fail(ConnectionLost("connection given up"))
        self._transport.abort()

    def goodbye(self, timeout: float) -> None:
        """QUIT in good order (RFC 5321 §4.1.1.10), without anybody waiting for it."""
        if not self.is_usable:
            self.abort()
            return
        self._quitting = True
        self._transport.write(b"QUIT\r\n")
        self._farewell = self._loop.call_later(timeout, self._transport.abort)

    # -- what the transport calls -------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Cut what came into replies."""
        if self._quitting:
            self._transport.close()
            return
        if self._error is not None:
            return
        if self._partial:
            data = self._partial + data
            self._partial = b""
        begin = 0
        while self._owed and (end := data.find(b"\n", begin)) >= 0:
            if not self._take_line(data[begin:end]):
                return
            begin = end + 1
        if begin == len(data):
            pass
        elif not self._owed:
            self._break(BadReply("the server said more than it was asked"))
            return
        else:
            self._partial = data[begin:]
            if self._size + len(self._partial) > MAX_REPLY:
                self._break(BadReply("reply too long"))
                return
        if self._replies:
            self._awake()

    def _take_line(self, line: bytes) -> bool:
        """One line of a reply; False when it is none."""
        match = _LINE.fullmatch(line)
        if match is None:
            self._break(BadReply(f"not a reply: {line[:80].decode('ascii', 'backslashreplace')}"))
            return False
        code, more, text = match.groups(b"")
        if self._texts:
            if code != self._code:
                self._break(BadReply("the lines of a reply differ in their code"))
                return False
            self._texts.append(text)
            text = b"\n".join(self._texts)
        if more == b"-":
            if not self._texts:
                self._code = code
                self._texts.append(text)
            self._size += len(line)
            if self._size > MAX_REPLY:
                self._break(BadReply("reply too long"))
                return False
            return True
        self._texts.clear()
        self._size = 0
        self._owed -= 1
        self._replies.append(read_reply(int(code), text.decode("utf-8", "replace")))
        return True

    def eof_received(self) -> bool:
        """The server has no more to say: neither have we."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The end, from whichever side."""
        self.is_lost = True
        if self._farewell is not None:
            self._farewell.cancel()
        self._break(ConnectionLost("connection reset" if isinstance(exc, ConnectionResetError) else "connection lost"))
        if self.on_broken is not None:
            self.on_broken()

    def pause_writing(self) -> None:
        """The peer takes no more for now."""
        self._paused = True

    def resume_writing(self) -> None:
        """It takes more again."""
        self._paused = False
        self._awake()

    # -- inside -------------------------------------------------------------------------------------------------------

    def _break(self, error: DialogueError) -> None:
        """It cannot go on: say so to whoever waits, and to the pool if nobody does."""
        self._fail(error)
        if not self.is_lost and self._owed == 0 and self.on_broken is not None:
            self.on_broken()

    def _fail(self, error: DialogueError) -> None:
        if self._error is None:
            self._error = error
        self._awake()

    def _awake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self, patience: float) -> None:
        """Until something changes; raises what broke the dialogue, once every reply that came before has been read."""
        if self._error is not None:
            raise self._error
        waiter = self._waiter = self._loop.create_future()
        timer = self._loop.call_later(patience, self._expire, waiter, patience)
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiter = None

    def _expire(self, waiter: asyncio.Future[None], patience: float) -> None:
        if not waiter.done():
            waiter.set_exception(NoReply(f"nothing came within {patience:g} s"))
