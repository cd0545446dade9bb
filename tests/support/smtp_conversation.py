"""The dialogue of the SMTP server for tests, from the server's side: one session, verb by verb."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import socket
import struct
from typing import TYPE_CHECKING

from tests.support.smtp_script import Action, Received, Session, Step, reply_code

if TYPE_CHECKING:
    from tests.support.smtp_server import SmtpServer


class _Drop(EOFError):
    """The script says to close the connection, or the client has."""


class Conversation:
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
        """Until either side closes: OSError or EOFError."""
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
        if reply_code(action.reply) == 354:
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
            self._server.record(self._received(b"".join(pieces), size, digest, reply_code(action.reply)))
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
        if action.drop or action.reset:
            await self._flush()
            if action.reset:
                sock = self._writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self._writer.transport.abort()
            raise _Drop
        return 200 <= (reply_code(action.reply) or 0) <= 299

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


def _path(rest: str) -> tuple[str, str]:
    """`FROM:<a@b> SIZE=3` as address and parameters."""
    path, _, parameters = rest.partition(">")
    return path.partition("<")[2], parameters.strip()


def _unstuff(raw: bytes, *, begins_line: bool = True) -> bytes:
    plain = raw.replace(b"\r\n.", b"\r\n")
    return plain[1:] if begins_line and plain.startswith(b".") else plain
