"""Dialogue: commands out, replies in, on a connection that is ready for mail.

The protocol of ours that takes a connection over once it is open, secured and authenticated. It owes its existence to what
a mail transaction needs and a general client hides: several commands in one write (RFC 2920), knowing how many replies the
server still owes, and noticing the one it does not owe. A server that says more than it was asked is out of step, and
whatever it says next may be meant for somebody else's mail.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic

from relay.delivery.replies import MAX_REPLY, Closing, DialogueError, ReplyReader, Unasked, unasked
from relay.delivery.transcript import THEY, WE, Transcript
from relay.model.reply import Reply


class ConnectionLost(DialogueError):
    """The server closed the connection, or the network did."""


class NoReply(DialogueError):
    """The server took longer than it may."""


class Dialogue(asyncio.Protocol):
    """`on_broken` is called when the server speaks unasked, and in any case when the connection is lost.

    `transcript` is that of the mail under way."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._reader = ReplyReader()
        self._replies: deque[Reply] = deque()
        self._error: DialogueError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._deadline = 0.0
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = 0.0
        self._paused = False
        self._quitting = False
        self.is_lost = False
        self.transcript = Transcript()
        self.on_broken: Callable[[], None] | None = None

    # -- what the transaction uses ------------------------------------------------------------------------------------

    @property
    def is_usable(self) -> bool:
        """Nothing is owed, nothing surplus has come, the connection stands."""
        return not (self._error or self._reader.owed or self._replies or self._quitting or self._transport.is_closing())

    def check_silence(self) -> None:
        """Raise if the server has said more than it was asked, or has gone."""
        if self._error is not None:
            raise self._error
        if self._transport.is_closing():
            raise ConnectionLost("connection lost")

    def command(self, commands: Sequence[str]) -> None:
        """Write commands, in one go; the server owes a reply to each."""
        count = len(commands)
        data = ("\r\n".join(commands) + "\r\n").encode()
        if data.count(b"\n") != count or data.count(b"\r") != count:
            raise ValueError("a command holds a line end")  # no address ever gets here with one; if so, it stops here
        self.check_silence()
        self._reader.owed += count
        self._transport.write(data)
        self.transcript.add((monotonic(), WE, commands))

    def end_content(self, data: bytes, shown: str) -> None:
        """Write the last of the content with its end; the server owes the verdict. The transcript has `shown`."""
        self.check_silence()
        self._reader.owed += 1
        self._transport.write(data)
        self.transcript.add((monotonic(), WE, (shown,)))

    def take_reply(self) -> Reply | None:
        """The next reply if it is there."""
        return self._replies.popleft() if self._replies else None

    async def reply(self, patience: float) -> Reply:
        """The next reply, within `patience` seconds; what has come already comes out even of a lost connection."""
        while not self._replies:  # writing that goes on wakes as well
            await self._change(patience)
        return self._replies.popleft()

    async def stream(self, data: bytes, patience: float) -> None:
        """Write a part of the content and wait until the peer takes more; `patience` is for no progress at all."""
        self.check_silence()
        self._transport.write(data)
        if not self._paused:
            await asyncio.sleep(0)  # a peer that takes everything must not keep the loop from everybody else
        while self._paused and self._error is None:
            left = self._transport.get_write_buffer_size()
            try:
                await self._change(patience)
            except NoReply:
                if self._transport.get_write_buffer_size() >= left:
                    raise
        self.check_silence()

    def abort(self) -> None:
        """Drop the connection at once: nothing half done must be carried on."""
        self._fail(ConnectionLost("connection given up"))
        self._transport.abort()

    def goodbye(self, patience: float) -> None:
        """QUIT in good order (RFC 5321 §4.1.1.10), without anybody waiting for it."""
        if not self.is_usable:
            self.abort()
            return
        self._quitting = True
        self._transport.write(b"QUIT\r\n")
        self._set_alarm(self._loop.time() + patience)

    # -- what the transport calls -------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Cut what came into replies."""
        if self._quitting:
            self._transport.close()
        elif self._error is None:
            said = self._reader.feed(data)
            if said.replies:
                self._replies += said.replies
                self.transcript.add((monotonic(), THEY, said.texts))
                self._awake()
            if said.error is not None:
                self._note(said.error)
                if self.on_broken is not None:
                    self.on_broken()

    def eof_received(self) -> bool:
        """The server has no more to say: neither have we."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The end, from whichever side."""
        self.is_lost = True
        if self._alarm is not None:
            self._alarm.cancel()
        if exc is not None and self._error is None:
            self._hear_the_rest()
        self._fail(ConnectionLost("connection reset" if isinstance(exc, ConnectionResetError) else "connection lost"))
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

    def _hear_the_rest(self) -> None:
        """When writing fails, what has come before is left unread, though it says why. It answers nothing of what could not
        be written. With TLS it is lost: nobody can decrypt it any more."""
        sock = self._transport.get_extra_info("socket")
        if sock is None or self._transport.get_extra_info("ssl_object") is not None:
            return
        try:
            data = os.read(sock.fileno(), MAX_REPLY)
        except OSError:
            return
        if data:
            self._note(unasked(data))

    def _note(self, error: DialogueError) -> None:
        if isinstance(error, Closing | Unasked):
            self.transcript.add((monotonic(), THEY, (str(error.reply),)))
        self._fail(error)

    def _fail(self, error: DialogueError) -> None:
        if self._error is None:
            self._error = error
        self._awake()

    def _awake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _change(self, patience: float) -> asyncio.Future[None]:
        """To be awaited until something changes; raises what broke the dialogue."""
        if self._error is not None:
            raise self._error
        self._waiter = waiter = self._loop.create_future()
        self._deadline = deadline = self._loop.time() + patience
        # An alarm set for an earlier wait is left to ring: that is rarer than to set and cancel one for each reply.
        if self._alarm is None or self._alarm_at > deadline:
            self._set_alarm(deadline)
        return waiter

    def _set_alarm(self, at: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = at
        self._alarm = self._loop.call_at(at, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        if self._quitting:
            self._transport.abort()
        elif self._waiter is None or self._waiter.done():
            pass
        elif self._loop.time() < self._deadline:
            self._set_alarm(self._deadline)
        else:
            self._waiter.set_exception(NoReply("no reply in time"))
