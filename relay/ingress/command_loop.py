"""The command loop: from lines to commands, each with its reply, whatever goes wrong in it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar, NoReturn

from relay.errors import Refusal, Rejected, StoreUnavailable
from relay.ingress.connection import Connection
from relay.ingress.faults import ClientGone, ClientTooSlow, ProtocolError
from relay.model.reply import Reply

logger = logging.getLogger(__name__)

_LINE = 512
MAX_LINE = 2048
_LONG_LINES = {b"MAIL": 1024, b"RCPT": 1024, b"AUTH": MAX_LINE}
"""Octets with CRLF: RFC 5321 §4.5.3.1.4, and what SIZE, BODY, SMTPUTF8 and AUTH= add; AUTH: room for an initial response."""
_MAX_SKIPPED = 64 * 1024
_MANY_REPLIES = 50
_HTTP_VERBS = frozenset(b"GET POST PUT HEAD OPTIONS CONNECT DELETE PATCH TRACE PRI".split())
_BAD_LINE_END = Reply(500, "5.5.2", "command line must end with <CR><LF>")
_NOT_SMTP = Reply(421, "4.7.0", "this is not an HTTP server")

Verb = Callable[["CommandLoop", str | None], Awaitable[None]]
QuickVerb = Callable[[Any, str | None], bool]
"""What need not wait for anything, mostly; False: this time it must, and nothing was done."""


class CommandLoop(Connection):
    """Reads commands and carries out what `verbs` has for them."""

    verbs: ClassVar[Mapping[bytes, Verb]] = {}
    quick_verbs: ClassVar[Mapping[bytes, QuickVerb]] = {}
    """By four octets, in upper case as nearly all clients write them."""
    _prompting = False
    """The session's task waits for a command, of which nothing has come."""

    def data_received(self, data: bytes) -> None:
        """Octets from the client. A single command that waits for nothing is carried out here and now, which saves a future
        and two turns of the loop."""
        if (
            self._prompting
            and (method := self.quick_verbs.get(data[:4])) is not None
            and len(data) <= _LINE
            and data.find(b"\n") == len(data) - 1
            and data[-2:] == b"\r\n"
            and not (self._reader.buffer or self._paused or self._stopping)
            and self._execute_quickly(method, data)
        ):
            return
        self._reader.feed_data(data)

    async def _handle_client(self) -> None:
        try:
            self.say(f"220 {self._settings.hostname} ESMTP Stagepost\r\n".encode("ascii", "replace"))
            while self._open:
                line = self._reader.take_line()
                if line is None:
                    line = await self._next_line()
                await self._execute(line)
                if len(self._out) > _MANY_REPLIES:
                    await self._drain()
                if self._stopping and self._open:
                    self._say_goodbye()
        except ClientTooSlow:
            self.reply(Refusal.TOO_SLOW.reply())
        except ClientGone:
            pass
        except Exception:
            logger.exception("session with %s failed", self.peer)
        finally:
            self._hang_up()

    async def _next_line(self) -> bytes:
        """The next line, which is not complete yet, within the time for one. One too long comes cut, without its end."""
        until = self._patience()
        reader = self._reader
        start = b""
        skipped = 0
        while True:
            if len(reader.buffer) > MAX_LINE:
                start = start or bytes(reader.buffer[:MAX_LINE])
                skipped += len(reader.buffer)
                reader.buffer.clear()
                if skipped > _MAX_SKIPPED:
                    self.reply(Refusal.TOO_MANY_ERRORS.reply())
                    raise ClientGone
            self._prompting = not (reader.buffer or start)
            try:
                await self._wait(until)
            finally:
                self._prompting = False
            if (line := reader.take_line()) is not None:
                return start or line

    def _patience(self) -> float:
        """Until when a command must be complete, by the loop's clock; ClientTooSlow where there is no time left."""
        settings = self._settings
        now = self.loop.time()
        until = min(now + settings.command_timeout, self._idle_since + settings.session_timeout)
        if until <= now:
            raise ClientTooSlow
        return until

    async def _execute(self, line: bytes) -> None:
        """Carry out one command; whatever goes wrong in it has its reply."""
        try:
            if line[-2:] != b"\r\n" or len(line) > MAX_LINE:
                self._refuse_line(line)
            verb, _, rest = line[:-2].partition(b" ")
            method = self.verbs.get(verb) or self._find(verb, line)
            if len(line) > _LINE and len(line) > _LONG_LINES.get(verb.upper(), _LINE):
                raise ProtocolError(500, "5.5.2", "command line too long")
            await method(self, _read_argument(rest) if rest else None)
        except (ClientGone, ClientTooSlow):
            raise
        except Exception as fault:
            self._answer(fault)
        self._lose_patience()

    def _execute_quickly(self, method: QuickVerb, line: bytes) -> bool:
        """The same for one that waits for nothing; False: it is the task's."""
        try:
            if line[4:5] != b" " or not method(self, _read_argument(line[5:-2])):
                return False
        except Exception as fault:
            self._answer(fault)
        self._lose_patience()
        if self._open:
            self.flush()
            try:
                self._set_deadline(self._patience())
            except ClientTooSlow:
                self.reply(Refusal.TOO_SLOW.reply())
        if not self._open:
            self._hang_up()
        return True

    def _answer(self, fault: Exception) -> None:
        """The reply to what went wrong in a command."""
        if isinstance(fault, ProtocolError):
            self._errors += 1
            self.reply(fault.reply)
        elif isinstance(fault, Rejected):
            self.reply(fault.reply)
        elif isinstance(fault, StoreUnavailable):
            logger.warning("the store is not available: %s", fault)
            self.reply(Refusal.STORE_DOWN.reply())
        else:
            logger.error("unexpected error in a command of %s", self.peer, exc_info=fault)
            self.reply(Refusal.UNEXPECTED.reply())

    def _lose_patience(self) -> None:
        """The last reply to a client that makes errors, or does nothing but small talk."""
        if self._open and (self._errors > self._settings.max_errors or self._junk > self._settings.max_junk):
            del self._out[-1:]  # the reply it would have had
            self.reply(Refusal.TOO_MANY_ERRORS.reply())

    def _find(self, verb: bytes, line: bytes) -> Verb:
        verb = verb.upper()
        if method := self.verbs.get(verb):
            return method
        if verb in _HTTP_VERBS or b" HTTP/" in line:
            # A web page, or an HTTP client tricked into it, may be talking through its request to us; the lines to
            # come would be commands.
            self.reply(_NOT_SMTP)
            raise ClientGone
        raise ProtocolError(500, "5.5.1" if verb.isalpha() else "5.5.2", "command not recognized")

    def _refuse_line(self, line: bytes) -> NoReturn:
        """One that ends in a bare LF, or is too long for any command (and maybe cut)."""
        if len(line) >= MAX_LINE:
            if b" HTTP/" in line:
                self._find(b"", line)
            raise ProtocolError(500, "5.5.2", "line too long")
        # Who ends lines so is broken, or smuggles: what follows need not be what its author meant.
        self.reply(_BAD_LINE_END)
        raise ClientGone


def _read_argument(rest: bytes) -> str | None:
    """A command's argument as text; ProtocolError where it is no text, or holds a control character."""
    try:
        text = rest.strip(b" ").decode()
    except UnicodeDecodeError:
        raise ProtocolError(500, "5.5.2", "command line is not UTF-8") from None
    if not text.isprintable():
        raise ProtocolError(500, "5.5.2", "command line holds a control character")
    return text or None
