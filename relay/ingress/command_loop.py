"""The command loop: from lines to commands, each with its reply, whatever goes wrong in it.

A command is a plain function. A line that comes alone is carried out where it is received; what must wait for something, a
store or the client, is left to the session's task, and so are lines that come together.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar

from relay.errors import Refusal, Rejected, StoreUnavailable
from relay.ingress.connection import Connection
from relay.ingress.faults import ClientGone, ClientTooSlow, Farewell, ProtocolError
from relay.model.reply import Reply

logger = logging.getLogger(__name__)

_LINE = 512
MAX_LINE = 2048
_LONG_LINES = {b"MAIL": 1024, b"RCPT": 1024, b"AUTH": MAX_LINE}
"""Octets with CRLF: RFC 5321 §4.5.3.1.4, and what SIZE, BODY, SMTPUTF8 and AUTH= add; AUTH: room for an initial response."""
_MAX_SKIPPED = 64 * 1024
_MUCH_TO_SAY = 4096
_HTTP_VERBS = frozenset(b"GET POST PUT HEAD OPTIONS CONNECT DELETE PATCH TRACE PRI".split())
_BAD_LINE_END = Reply(500, "5.5.2", "command line must end with <CR><LF>")
_NOT_SMTP = Reply(421, "4.7.0", "this is not an HTTP server")

Verb = Callable[[Any, str], bytes]
"""From the argument, "" where there is none, to the reply; b"" where that is left to the task (`CommandLoop.leave`)."""
Work = Callable[[], Awaitable[bytes]]


class CommandLoop(Connection):
    """Reads commands and carries out what `verbs` has for them."""

    verbs: ClassVar[Mapping[bytes, Verb]] = {}
    _prompting = False
    """The session's task waits for a command, of which nothing has come, and not for the client to read."""
    _work: Work | None = None
    """What a command has left to the task."""
    _overlong = b""
    """How a line began of which more has come than a command may have."""
    _skipped = 0

    def data_received(self, data: bytes) -> None:
        """Octets from the client. A command that comes alone is carried out here and now, which saves a future and two turns
        of the loop."""
        if not self._prompting or data.count(b"\n") != 1 or data[-2:] != b"\r\n" or self._paused:
            self._prompting = False
            self._reader.feed_data(data)
            return
        self._execute(data)
        if self._open:
            self._expect(self._patience)
            if self._work is None:
                return
        else:
            self._hang_up()
        self._prompting = False
        if not self._in_message:  # its first octets will wake the task
            self._reader.feed_data(b"")

    async def _handle_client(self) -> None:
        reader = self._reader
        try:
            self.say(f"220 {self._settings.hostname} ESMTP Stagepost\r\n".encode("ascii", "replace"))
            while self._open:
                if self._work is not None:
                    await self._carry_out(self._work)
                elif reader.buffer and (line := self._next_line()) is not None:
                    self._execute(line)
                    if len(self._out) > _MUCH_TO_SAY:
                        await self._drain()
                else:
                    if self._deadline == math.inf or self._out:  # what drips in gets no new time
                        self._expect(self._patience)
                    self._prompting = not (reader.buffer or self._overlong or self._paused)
                    await self._more()
        except ClientTooSlow:
            self.reply(Refusal.TOO_SLOW.reply())
        except ClientGone:
            pass
        except Exception:
            logger.exception("session with %s failed", self.peer)
        finally:
            self._prompting = False
            self._work = None
            self._hang_up()

    def leave(self, work: Work) -> bytes:
        """Answers for a command that has to wait for something; the reply comes from the work that is still to be done."""
        self._work = work
        return b""

    async def _carry_out(self, work: Work) -> None:
        """What a command left to the task. Meanwhile no time runs for the client, unless the work gives it some."""
        if self._out:  # of commands that came together
            self._expect(self._patience)
        self._work = None
        self._deadline = math.inf
        try:
            reply = await work()
            self._out += reply
        except (ClientGone, ClientTooSlow):
            raise
        except Exception as fault:
            self._answer(fault)
        self._deadline = math.inf
        if self._stopping and self._open:
            self._say_goodbye()

    def _execute(self, line: bytes) -> None:
        """Carry out one command; whatever goes wrong in it has its reply."""
        try:
            verb, _, rest = line[:-2].partition(b" ")
            if len(line) > _LINE or line[-2:] != b"\r\n":
                self._check_line(verb, line)
            method = self.verbs[verb] if verb in self.verbs else self._find(verb, line)
            argument = ""
            if rest:
                argument = rest.strip(b" ").decode("utf-8", "surrogateescape")
                if not argument.isprintable():
                    raise _no_text(rest)
            reply = method(self, argument)
            self._out += reply
        except Exception as fault:
            self._answer(fault)

    def _next_line(self) -> bytes | None:
        """A line with its end, or None while it is not complete. One too long comes cut, without its end."""
        line = self._reader.take_line()
        if line is not None:
            if self._overlong:
                line, self._overlong, self._skipped = self._overlong, b"", 0
            return line
        buffer = self._reader.buffer
        if len(buffer) > MAX_LINE:
            self._overlong = self._overlong or bytes(buffer[:MAX_LINE])
            self._skipped += len(buffer)
            buffer.clear()
            if self._skipped > _MAX_SKIPPED:
                self.reply(Refusal.TOO_MANY_ERRORS.reply())
                raise ClientGone
        return None

    def _answer(self, fault: Exception) -> None:
        """The reply to what went wrong in a command."""
        if isinstance(fault, ProtocolError):
            self._errors += 1
            self.reply(fault.reply if self._errors <= self._settings.max_errors else Refusal.TOO_MANY_ERRORS.reply())
        elif isinstance(fault, Farewell):
            self.reply(fault.reply)
            self._open = False
        elif isinstance(fault, Rejected):
            self.reply(fault.reply)
        elif isinstance(fault, StoreUnavailable):
            logger.warning("the store is not available: %s", fault)
            self.reply(Refusal.STORE_DOWN.reply())
        else:
            logger.error("unexpected error in a command of %s", self.peer, exc_info=fault)
            self.reply(Refusal.UNEXPECTED.reply())

    def count_junk(self) -> None:
        """A command without effect; Farewell to a client that does nothing but small talk."""
        self._junk += 1
        if self._junk > self._settings.max_junk:
            raise Farewell(Refusal.TOO_MANY_ERRORS.reply())

    def _find(self, verb: bytes, line: bytes) -> Verb:
        verb = verb.upper()
        if method := self.verbs.get(verb):
            return method
        if verb in _HTTP_VERBS or b" HTTP/" in line:
            # A web page, or an HTTP client tricked into it, may be talking through its request to us; the lines to
            # come would be commands.
            raise Farewell(_NOT_SMTP)
        raise ProtocolError(500, "5.5.1" if verb.isalpha() else "5.5.2", "command not recognized")

    def _check_line(self, verb: bytes, line: bytes) -> None:
        """One longer than most commands may be, or with another end than theirs."""
        check_ends(line)
        self._find(verb, line)
        if len(line) > _LONG_LINES.get(verb.upper(), _LINE):
            raise ProtocolError(500, "5.5.2", "command line too long")


def check_ends(line: bytes) -> None:
    """Raises for a line that ends in a bare LF, or is too long for any command (and maybe cut)."""
    if line[-2:] == b"\r\n" and len(line) <= MAX_LINE:
        return
    if len(line) < MAX_LINE:
        # Who ends lines so is broken, or smuggles: what follows need not be what its author meant.
        raise Farewell(_BAD_LINE_END)
    if b" HTTP/" in line:
        raise Farewell(_NOT_SMTP)
    raise ProtocolError(500, "5.5.2", "line too long")


def _no_text(argument: bytes) -> ProtocolError:
    """What is wrong with an argument that is no text, or holds a control character."""
    try:
        argument.decode()
    except UnicodeDecodeError:
        return ProtocolError(500, "5.5.2", "command line is not UTF-8")
    return ProtocolError(500, "5.5.2", "command line holds a control character")
