"""Injector: hands in mail as fast as it is taken, and remembers what was answered 250 or 202, until the relay dies.

Every message has a name of its own in its Subject; a name is noted only after the answer, so the note is what the relay
has promised.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

PAUSE = 0.02
"""Seconds until a client that was refused tries again."""


@dataclass
class Injector:
    """`smtp` and `rest` clients side by side against one relay."""

    smtp_port: int
    api_port: int
    token: str
    prefix: str
    padding: str = "x" * 70 + "\r\n"
    acknowledged: list[str] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    """By door and code."""
    _numbers: Iterator[int] = field(default_factory=lambda: iter(range(10**9)))

    async def run(self, smtp: int, rest: int, until: asyncio.Event) -> None:
        """Load until the event is set or the relay is gone."""
        clients = [self._smtp() for _ in range(smtp)] + [self._rest() for _ in range(rest)]
        tasks = [asyncio.create_task(client) for client in clients]
        await until.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _name(self) -> str:
        return f"{self.prefix}-{next(self._numbers)}"

    async def _smtp(self) -> None:
        """One client. Where the relay hangs up it comes again; where it is gone it ends."""
        while True:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.smtp_port)
            try:
                await self._session(reader, writer)
            except (asyncio.IncompleteReadError, ConnectionError):
                await asyncio.sleep(PAUSE)
            finally:
                writer.close()

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _reply(reader)
        await _say(reader, writer, "EHLO injector.test")
        while True:
            name = self._name()
            body = f"From: a@sender.test\r\nSubject: {name}\r\n\r\n{self.padding * 10}."
            for line in ("MAIL FROM:<a@sender.test>", f"RCPT TO:<{name}@receiver.test>", "DATA", body):
                reply = await _say(reader, writer, line)
                if reply[0] not in "23":
                    self.refused[f"smtp {reply[:3]}"] += 1
                    await asyncio.sleep(PAUSE)  # as a client does that is told to come again
                    break
            else:
                self.acknowledged.append(name)

    async def _rest(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.api_port)
        try:
            while True:
                name = self._name()
                draft = {
                    "from": "a@sender.test",
                    "to": [f"{name}@receiver.test"],
                    "subject": name,
                    "text": self.padding * 10,
                }
                body = json.dumps(draft).encode()
                writer.write(
                    f"POST /v1/messages?tenant=default HTTP/1.1\r\nHost: relay\r\nAuthorization: Bearer {self.token}\r\n"
                    f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                    + body
                )
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    int(line.split(b":")[1])
                    for line in head.lower().split(b"\r\n")
                    if line.startswith(b"content-length")
                )
                await reader.readexactly(length)
                if head.startswith(b"HTTP/1.1 202"):
                    self.acknowledged.append(name)
                else:
                    self.refused[f"rest {head[9:12].decode()}"] += 1
                    await asyncio.sleep(PAUSE)
        finally:
            writer.close()


async def _say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: str) -> str:
    writer.write(line.encode() + b"\r\n")
    return await _reply(reader)


async def _reply(reader: asyncio.StreamReader) -> str:
    while True:
        line = (await reader.readuntil(b"\r\n")).decode()
        if line[3:4] != "-":
            return line
