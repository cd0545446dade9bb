"""Connection: one client's connection, from the greeting to the end, whatever is said on it.

A subclass of aiosmtpd's SMTP, in four steps: Connection, CommandLoop, Introduction, Session. Its costs and gaps are
overridden (figures in docs/architecture.md): commands that need not wait are carried out without a switch of tasks, and the
replies to those that come together leave in one write; one timer serves all deadlines and is moved, not made anew; nothing
is logged that a client sent. A half-closed connection still gets its replies. tests/ingress/test_upstream.py fails when a
method of aiosmtpd or asyncio changes that is overridden, relied upon or stood in for.
"""

from __future__ import annotations

import asyncio
import logging
import math
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING

from aiosmtpd.smtp import SMTP

from relay.errors import Refusal
from relay.ingress.context import DoorContext
from relay.ingress.faults import ClientGone, ClientTooSlow, encode_reply
from relay.ingress.inbox import Inbox
from relay.model.reply import Reply

logger = logging.getLogger(__name__)
# It logs what clients send, AUTH included (aiosmtpd 1.4.6, smtp.py, `_handle_client`).
logging.getLogger("mail.log").setLevel(logging.ERROR)

_LINGER = 10.0
"""Seconds that a client has to read our last words."""


class Connection(SMTP):
    """Lifecycle, deadlines, replies, TLS. `left` is called once it has ended."""

    _timeout_handle: asyncio.TimerHandle
    transport: asyncio.Transport | None

    if TYPE_CHECKING:  # of asyncio's StreamReaderProtocol
        _paused: bool
        _over_ssl: bool

        async def _drain_helper(self) -> None: ...

    def __init__(
        self,
        context: DoorContext,
        peer: str,
        left: Callable[[Connection], None],
    ) -> None:
        loop = asyncio.get_running_loop()
        # Not SMTP.__init__, which inspects every member of itself and of a handler for each connection.
        self._reader: Inbox = Inbox(loop)
        asyncio.StreamReaderProtocol.__init__(self, self._reader, loop=loop)
        self.loop = loop
        self._context = context
        self._settings = context.settings
        self._left = left
        self.peer = peer
        self.transport = None
        # What connection_made and connection_lost of SMTP look at.
        self._original_transport = None
        self._handler_coroutine = None
        self._out = b""
        self._deadline = math.inf
        self._armed_for = math.inf
        self._asked_at = loop.time()
        """When the client was last told, by a reply or by reading on, that it is its turn."""
        self._patience = self._settings.command_timeout
        """Seconds for the next command, or the first octets of a message."""
        self._session_end = self._asked_at + self._settings.session_timeout
        """When it ends if no message has been handed in by then."""
        self._open = True
        self._over = False
        self._stopping = False
        self._handshaking = False
        self._in_message = False
        self._errors = 0
        self._junk = 0
        self.tls_version: str | None = None

    # --- lifecycle -------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The client is there: greet it, in a task of its own."""
        self._arm(self.loop.time() + self._settings.command_timeout)
        super().connection_made(transport)
        self._note_tls(transport)
        self._context.observer.connection_opened(self.peer)

    def connection_lost(self, error: Exception | None) -> None:
        """It has ended. What still runs for it is cancelled: a message not yet committed is not taken."""
        if self._over:
            return
        self._over = True
        super().connection_lost(error)
        self._context.observer.connection_closed(self.peer)
        self._left(self)

    def eof_received(self) -> bool:
        """The client sends no more, but may be waiting for replies: aiosmtpd would cancel a commit here."""
        self._reader.feed_eof()
        return not self._over_ssl

    def shut_down(self) -> None:
        """Say goodbye now, or after the message that is coming in."""
        self._stopping = True
        if self._handshaking:
            self.abort()
        elif not self._in_message:
            self._say_goodbye()

    def abort(self) -> None:
        """Close without a word."""
        if self.transport is not None:
            self.transport.abort()

    def _say_goodbye(self) -> None:
        self.reply(Refusal.SHUTTING_DOWN.reply())
        self._hang_up()

    def _hang_up(self) -> None:
        self._open = False
        if self.transport is not None:
            if self.transport.is_closing():  # the last words have been said
                self._out = b""
            self._expect(_LINGER)
            self.transport.close()

    # --- replies and deadlines -------------------------------------------------------------------------------------

    def say(self, line: bytes) -> None:
        """A reply as it goes over the wire; leaves when the client is next waited for."""
        self._out += line

    def reply(self, reply: Reply) -> None:
        """A reply; after a 421 the connection closes (RFC 5321 §3.8)."""
        self._out += encode_reply(reply)
        if reply.code == 421:
            self._open = False

    def _expect(self, seconds: float) -> None:
        """Send all replies in one write, and give the client so much time for what is to come now."""
        if self._out and self.transport is not None:
            self.transport.write(self._out)
        self._out = b""
        self._asked_at = now = self.loop.time()
        until = now + seconds
        if until > self._session_end and self._open and not self._in_message:
            until = self._session_end
        self._deadline = until
        if until < self._armed_for:
            self._timeout_handle.cancel()
            self._arm(until)

    def _reset_timeout(self, duration: float | None = None) -> None:
        """aiosmtpd's: called as the connection begins."""
        self._expect(duration or self._settings.command_timeout)

    def _arm(self, when: float) -> None:
        """The timer stands at the deadline or before, and finds out for itself when that was moved on."""
        self._armed_for = when
        self._timeout_handle = self.loop.call_at(when, self._timeout_cb)

    def _timeout_cb(self) -> None:
        now = self.loop.time()
        if self._deadline > now + 0.001:
            self._arm(min(self._deadline, now + self._settings.command_timeout))
        elif self._paused or not self._open:
            self.abort()  # the client does not even read what we say
        else:
            self._arm(now + self._settings.command_timeout)
            self._reader.set_exception(ClientTooSlow())

    async def _more(self) -> None:
        """Wait for more to read. ClientTooSlow at the deadline, ClientGone."""
        reader = self._reader
        try:
            if self._paused:
                had = len(reader.buffer)
                await self._drain_helper()
                if len(reader.buffer) > had:
                    return
            if not await reader.arrival():
                raise ClientGone
        except OSError as fault:
            raise ClientGone from fault

    async def _wait(self, seconds: float) -> float:
        """The same within so much time; answers how long it took."""
        self._expect(seconds)
        try:
            await self._more()
        finally:
            self._deadline = math.inf
        return self.loop.time() - self._asked_at

    async def _drain(self) -> None:
        """Wait for a client that sends commands faster than it reads replies."""
        self._expect(self._settings.command_timeout)
        try:
            await self._drain_helper()
        except ConnectionError as fault:
            raise ClientGone from fault
        finally:
            self._deadline = math.inf

    # --- TLS -------------------------------------------------------------------------------------------------------

    async def _start_tls(self, context: ssl.SSLContext) -> None:
        """Go on encrypted, with all that was said before forgotten (RFC 3207 §4.2)."""
        self._expect(math.inf)
        clear = self.transport
        if clear is None:
            raise ClientGone
        self._reader.forget()
        self._handshaking = True
        try:
            transport = await self.loop.start_tls(
                clear, self, context, server_side=True, ssl_handshake_timeout=self._settings.handshake_timeout
            )
            if transport is None or clear.is_closing():  # uvloop calls an aborted handshake a success
                raise ConnectionAbortedError("closed within the handshake")
        except (OSError, ssl.SSLError) as fault:
            logger.info("no TLS with %s: %s", self.peer, fault)
            self.abort()
            self.connection_lost(None)  # which a failed handshake does not bring about
            raise ClientGone from fault
        finally:
            self._handshaking = False
        self.transport = self._transport = transport
        self._over_ssl = True
        self._reader.secure(transport)
        self._note_tls(transport)

    def _note_tls(self, transport: asyncio.BaseTransport) -> None:
        secure = transport.get_extra_info("ssl_object")
        self.tls_version = None if secure is None else secure.version()
