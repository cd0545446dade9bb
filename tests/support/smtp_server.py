"""A scripted SMTP server on loopback: the world outside, as tests need it. It shares no code with the relay.

    async with SmtpServer() as server:
        server.to("bob@example.com", "550 5.1.1 no such mailbox")      # for good
        server.on("dot", "451 4.3.0 not now", OK)                      # the first time this, from then on that
        ...
        [message] = await server.wait_for(1)

`python -m tests.support.smtp_server --port 0 --log FILE` runs one as a process of its own: it prints its port and appends
every message to FILE *before* it answers, so that the file is the truth about what was received.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import binascii
import contextlib
import hashlib
import json
import os
import signal
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

Step = Literal["connect", "ehlo", "helo", "starttls", "auth", "mail", "rcpt", "data", "body", "dot", "rset", "quit"]
EXTENSIONS = ("PIPELINING", "SIZE 52428800", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES")


@dataclass(frozen=True, slots=True)
class Action:
    """What the server does at a step: wait for `when`, send `reply`, then `drop` the connection.

    A `reply` of str is one or more lines; bytes go out as they are; None says nothing. At `body` the action happens when
    the first octets of the content have come.
    """

    reply: str | bytes | None = None
    drop: bool = False
    when: asyncio.Event | None = None


OK = Action("250 2.0.0 ok")
DROP = Action(drop=True)
"""Close the connection without a word."""
Scripted = Action | str | bytes


@dataclass(frozen=True, slots=True)
class Received:
    """A message whose final dot has come. `answer` is the code of the reply chosen for it, None for none."""

    sender: str
    recipients: tuple[str, ...]
    parameters: str
    """What followed the address in MAIL."""
    raw: bytes
    """The content as it came over the wire, dots stuffed, without the end; empty if the server keeps none."""
    content: bytes
    """The same unstuffed."""
    size: int
    sha256: str
    """Of the unstuffed content."""
    connection: int
    tls: bool
    user: str | None
    answer: int | None


@dataclass(slots=True, eq=False)
class Session:
    """One connection, from the server's side."""

    number: int
    commands: list[str] = field(default_factory=list)
    clear: bytearray = field(default_factory=bytearray)
    """Everything that came unprotected, content aside."""
    tls: bool = False
    user: str | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class SmtpServer:
    """`users`: AUTH is offered (over TLS only, where there is `tls`); with `auth_required` MAIL needs it."""

    def __init__(
        self,
        *,
        port: int = 0,
        extensions: Sequence[str] = EXTENSIONS,
        esmtp: bool = True,
        tls: ssl.SSLContext | None = None,
        implicit_tls: bool = False,
        users: Mapping[str, str] | None = None,
        auth_methods: str = "PLAIN LOGIN",
        auth_required: bool = False,
        keep_content: bool = True,
        log: Path | None = None,
    ) -> None:
        self.port = port
        self.extensions = tuple(extensions)
        self.esmtp = esmtp
        self.tls = tls
        self.implicit_tls = implicit_tls
        self.users = users
        self.auth_methods = auth_methods
        self.auth_required = auth_required
        self.keep_content = keep_content
        self.messages: list[Received] = []
        self.sessions: list[Session] = []
        self._log = None if log is None else os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._script: dict[str, list[Action]] = {}
        self._changed = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._writers: dict[Session, asyncio.StreamWriter] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    # -- the script ---------------------------------------------------------------------------------------------------

    def on(self, step: Step, *actions: Scripted) -> None:
        """What to do at a step: one action each time, the last one from then on. Without actions: as usual again."""
        self._script[step] = [_action(action) for action in actions]

    def to(self, address: str, *actions: Scripted) -> None:
        """What to do at RCPT of this address."""
        self._script[f"rcpt {address}"] = [_action(action) for action in actions]

    def next_action(self, key: str) -> Action | None:
        """The action due now, if there is one."""
        actions = self._script.get(key)
        if not actions:
            return None
        return actions.pop(0) if len(actions) > 1 else actions[0]

    # -- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen; `port` is known afterwards."""
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, limit=1 << 16, ssl=self.tls if self.implicit_tls else None
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and drop every connection."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()
        if self._log is not None:
            os.close(self._log)
            self._log = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def wait_for(self, count: int, seconds: float = 10) -> list[Received]:
        """The messages received, as soon as there are `count` of them; TimeoutError."""
        await self._until(lambda: len(self.messages) >= count, seconds)
        return list(self.messages)

    async def wait_for_sessions(self, count: int, seconds: float = 10) -> list[Session]:
        """The connections made, as soon as there are `count` of them; TimeoutError."""
        await self._until(lambda: len(self.sessions) >= count, seconds)
        return list(self.sessions)

    async def wait_for_command(self, verb: str, seconds: float = 10) -> None:
        """Return once a command with this verb has come on the newest connection; TimeoutError."""
        await self._until(
            lambda: bool(self.sessions) and any(c.startswith(verb) for c in self.sessions[-1].commands), seconds
        )

    def note_change(self) -> None:
        """Something has happened that a test may wait for."""
        self._changed.set()

    async def _until(self, fulfilled: Callable[[], bool], seconds: float) -> None:
        async with asyncio.timeout(seconds):
            while not fulfilled():
                self._changed.clear()
                await self._changed.wait()

    def drop_connections(self) -> None:
        """Close every connection now, as a server that restarts does."""
        for writer in self._writers.values():
            writer.close()

    def inject(self, data: bytes) -> None:
        """Say something unasked on every connection."""
        for writer in self._writers.values():
            writer.write(data)

    def record(self, message: Received) -> None:
        """Keep a message; the log has it before any answer."""
        if self._log is not None:
            head = message.content.partition(b"\r\n\r\n")[0].decode("utf-8", "replace")
            line = {
                "sender": message.sender,
                "recipients": message.recipients,
                "size": message.size,
                "sha256": message.sha256,
                "head": head,
                "answer": message.answer,
            }
            os.write(self._log, json.dumps(line).encode() + b"\n")
        else:
            self.messages.append(message)
        self._changed.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = Session(len(self.sessions) + 1, tls=self.implicit_tls)
        self.sessions.append(session)
        self._changed.set()
        self._writers[session] = writer
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await _Conversation(self, session, reader, writer).run()
        except (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            del self._writers[session]
            session.ended.set()
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()


class _Drop(EOFError):
    """The script says to close the connection, or the client has."""


class _Conversation:
    """One session. Replies are gathered until the client's next command is not there yet, as servers that pipeline do."""

    def __init__(
        self, server: SmtpServer, session: Session, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._server = server
        self._session = session
        self._reader = reader
        self._writer = writer
        self._input = b""
        self._output = b""
        self._sender: str | None = None
        self._parameters = ""
        self._recipients: list[str] = []

    async def run(self) -> None:
        await self._answer("connect", "220 receiver.test ESMTP")
        while True:
            line = await self._line()
            self._session.commands.append(line)
            self._server.note_change()
            verb, _, rest = line.partition(" ")
            handler = getattr(self, f"_{verb.lower()}", None)
            if handler is None or verb.upper() not in _VERBS:
                self._say("500 5.5.2 what?")
            else:
                await handler(rest)

    # -- the verbs ----------------------------------------------------------------------------------------------------

    async def _ehlo(self, rest: str) -> None:
        server = self._server
        if not server.esmtp:
            self._say("502 5.5.1 HELO only")
            return
        lines = ["receiver.test", *server.extensions]
        if server.tls is not None and not self._session.tls:
            lines.append("STARTTLS")
        if server.users is not None and (self._session.tls or server.tls is None):
            lines.append(f"AUTH {server.auth_methods}")
        reply = "\r\n".join(f"250{'-' if line is not lines[-1] else ' '}{line}" for line in lines)
        await self._answer("ehlo", reply)

    async def _helo(self, rest: str) -> None:
        await self._answer("helo", "250 receiver.test")

    async def _starttls(self, rest: str) -> None:
        context = self._server.tls
        if context is None or self._session.tls:
            self._say("502 5.5.1 not offered")
            return
        if not await self._answer("starttls", "220 2.0.0 go ahead"):
            return
        await self._flush()
        self._input = b""
        await self._writer.start_tls(context)
        self._session.tls = True

    async def _auth(self, rest: str) -> None:
        method, _, initial = rest.partition(" ")
        try:
            if method.upper() == "PLAIN":
                blob = initial or await self._challenge("")
                _, user, password = base64.b64decode(blob).decode().split("\0")
            else:
                user = base64.b64decode(initial or await self._challenge("VXNlcm5hbWU6")).decode()
                password = base64.b64decode(await self._challenge("UGFzc3dvcmQ6")).decode()
        except (binascii.Error, ValueError):
            self._say("501 5.5.2 not base64")
            return
        users = self._server.users or {}
        known = users.get(user) == password
        usual = "235 2.7.0 welcome" if known else "535 5.7.8 authentication credentials invalid"
        if await self._answer("auth", usual) and known:
            self._session.user = user

    async def _challenge(self, text: str) -> str:
        self._say(f"334 {text}")
        return await self._line()

    async def _mail(self, rest: str) -> None:
        usual = "250 2.1.0 ok"
        if self._server.auth_required and self._session.user is None:
            usual = "530 5.7.0 authentication required"
        elif self._sender is not None:
            usual = "503 5.5.1 nested MAIL"
        if await self._answer("mail", usual):
            self._sender, self._parameters = _path(rest)
            self._recipients = []

    async def _rcpt(self, rest: str) -> None:
        address, _ = _path(rest)
        usual = "250 2.1.5 ok" if self._sender is not None else "503 5.5.1 MAIL first"
        action = self._server.next_action(f"rcpt {address}") or self._server.next_action("rcpt")
        if await self._do(action or Action(usual)):
            self._recipients.append(address)

    async def _data(self, rest: str) -> None:
        usual = "354 go ahead" if self._recipients else "554 5.5.1 no valid recipients"
        action = self._server.next_action("data") or Action(usual)
        await self._do(action)
        if _code(action.reply) == 354:
            await self._content()

    async def _rset(self, rest: str) -> None:
        self._sender = None
        await self._answer("rset", "250 2.0.0 ok")

    async def _noop(self, rest: str) -> None:
        self._say("250 2.0.0 ok")

    async def _quit(self, rest: str) -> None:
        await self._answer("quit", "221 2.0.0 bye")
        await self._flush()
        raise _Drop

    # -- the content --------------------------------------------------------------------------------------------------

    async def _content(self) -> None:
        pieces, size, digest = await self._read_content()
        action = self._server.next_action("dot")
        if action is None:
            action = Action("250 2.0.0 queued" if self._recipients else "554 5.5.1 no valid recipients")
        if self._recipients:
            self._server.record(self._received(b"".join(pieces), size, digest, _code(action.reply)))
        self._sender = None
        await self._do(action)

    def _received(self, raw: bytes, size: int, digest: str, answer: int | None) -> Received:
        return Received(
            self._sender or "",
            tuple(self._recipients),
            self._parameters,
            raw,
            _unstuff(raw),
            size,
            digest,
            self._session.number,
            self._session.tls,
            self._session.user,
            answer,
        )

    async def _read_content(self) -> tuple[list[bytes], int, str]:
        """Raw content in pieces, its size and digest unstuffed; cut at line ends, so that no dot is torn off its line."""
        pieces: list[bytes] = []
        size, digest, first, rest = 0, hashlib.sha256(), True, b""
        while True:
            data = rest + (self._input or await self._more())
            self._input = b""
            if first and (action := self._server.next_action("body")) is not None:
                await self._do(action)
                await self._flush()
            first = False
            end = 0 if data.startswith(b".\r\n") else data.find(b"\r\n.\r\n") + 2
            is_end = end >= 2 or data.startswith(b".\r\n")
            cut = end if is_end else data.rfind(b"\r\n") + 2
            if cut >= 2 or is_end:
                piece, rest = data[:cut], data[cut:]
                # The line end stays with the next piece, where the dot of the end may follow it.
                if not is_end:
                    piece, rest = piece[:-2], piece[-2:] + rest
                plain = _unstuff(piece, begins_line=not pieces and size == 0)
                size += len(plain)
                digest.update(plain)
                if self._server.keep_content:
                    pieces.append(piece)
            else:
                rest = data
            if is_end:
                self._input = rest[3:]
                return pieces, size, digest.hexdigest()

    # -- lines and replies --------------------------------------------------------------------------------------------

    async def _answer(self, step: Step, usual: str) -> bool:
        return await self._do(self._server.next_action(step) or Action(usual))

    async def _do(self, action: Action) -> bool:
        """Carry an action out; answers whether it said yes."""
        if action.when is not None:
            await self._flush()
            await action.when.wait()
        if isinstance(action.reply, bytes):
            self._output += action.reply
        elif action.reply is not None:
            self._say(action.reply)
        if action.drop:
            await self._flush()
            raise _Drop
        return 200 <= (_code(action.reply) or 0) <= 299

    def _say(self, reply: str) -> None:
        self._output += reply.encode() + b"\r\n"

    async def _flush(self) -> None:
        if self._output:
            self._writer.write(self._output)
            self._output = b""
            await self._writer.drain()

    async def _more(self) -> bytes:
        await self._flush()
        data = await self._reader.read(1 << 16)
        if not data:
            raise _Drop
        return data

    async def _line(self) -> str:
        while b"\r\n" not in self._input:
            self._input += await self._more()
        line, _, self._input = self._input.partition(b"\r\n")
        if not self._session.tls:
            self._session.clear += line + b"\r\n"
        return line.decode("utf-8", "backslashreplace")


_VERBS = frozenset({"EHLO", "HELO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "RSET", "NOOP", "QUIT"})


def _action(scripted: Scripted) -> Action:
    return scripted if isinstance(scripted, Action) else Action(scripted)


def _code(reply: str | bytes | None) -> int | None:
    text = reply.decode("ascii", "replace") if isinstance(reply, bytes) else reply or ""
    return int(text[:3]) if text[:3].isdigit() else None


def _path(rest: str) -> tuple[str, str]:
    """`FROM:<a@b> SIZE=3` as address and parameters."""
    path, _, parameters = rest.partition(">")
    return path.partition("<")[2], parameters.strip()


def _unstuff(raw: bytes, *, begins_line: bool = True) -> bytes:
    plain = raw.replace(b"\r\n.", b"\r\n")
    return plain[1:] if begins_line and plain.startswith(b".") else plain


async def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.support.smtp_server", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path, required=True, help="a JSON line for each message, before the answer")
    parser.add_argument("--user", help="demand AUTH with this user name")
    parser.add_argument("--password", default="")
    parser.add_argument("--rcpt", action="append", default=[], metavar="ADDRESS=REPLY")
    parser.add_argument("--on", action="append", default=[], metavar="STEP=REPLY", help="DROP closes the connection")
    options = parser.parse_args()
    users = {options.user: options.password} if options.user else None
    server = SmtpServer(
        port=options.port, users=users, auth_required=users is not None, keep_content=True, log=options.log
    )
    for address, _, reply in (entry.partition("=") for entry in options.rcpt):
        server.to(address, reply)
    for step, _, reply in (entry.partition("=") for entry in options.on):
        server.on(step, DROP if reply == "DROP" else reply)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await server.start()
    print(server.port, flush=True)
    await stop.wait()
    await server.stop()


if __name__ == "__main__":
    asyncio.run(_main())
