"""An SMTP client that can stop at any step of a transaction, which smtp-source cannot.

Latency needs the instant of the final dot; memory needs fifty clients that are all in the middle of DATA at once.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Self, TypeVar

from bench.processes import LOOPBACK, BenchError

CLIENT_NAME = "client.bench.example"

T = TypeVar("T")


class Conversation:
    """One SMTP session, step by step; any reply but the expected one ends the measurement."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    @asynccontextmanager
    async def open(cls, port: int) -> AsyncIterator[Self]:
        """Connect and greet; QUIT at the end of the block."""
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        try:
            session = cls(reader, writer)
            await session.expect("220")
            await session.command(f"EHLO {CLIENT_NAME}", "250")
            yield session
            await session.command("QUIT", "221")
        finally:
            writer.close()

    async def begin(self, sender: str, recipient: str, size: int) -> None:
        """MAIL, RCPT and DATA, up to the 354."""
        await self.command(f"MAIL FROM:<{sender}> SIZE={size}", "250")
        await self.command(f"RCPT TO:<{recipient}>", "250")
        await self.command("DATA", "354")

    async def command(self, line: str, code: str) -> None:
        """One command and its reply."""
        self._writer.write(f"{line}\r\n".encode("ascii"))
        await self.expect(code)

    async def content(self, block: bytes) -> None:
        """A part of the content, as fast as the relay takes it."""
        self._writer.write(block)
        await self._writer.drain()

    async def expect(self, code: str) -> None:
        """Read one reply, all its lines."""
        line = b"   -"
        while line[3:4] == b"-":
            line = await self._reader.readline()
        if line[:3] != code.encode("ascii"):
            raise BenchError(f"expected {code}, the relay said {line.decode('utf-8', 'replace').strip()!r}")


async def together(conversations: Iterable[Coroutine[None, None, T]]) -> list[T]:
    """Hold them all at once; the first that fails ends the others and gives the one error to show."""
    tasks: list[asyncio.Task[T]] = []
    try:
        async with asyncio.TaskGroup() as group:
            tasks.extend(group.create_task(conversation) for conversation in conversations)
    except ExceptionGroup as failures:
        first = failures.exceptions[0]
        if isinstance(first, BenchError | OSError):
            raise BenchError(f"{first} ({len(failures.exceptions)} of {len(tasks)} sessions failed)") from failures
        raise
    return [task.result() for task in tasks]


def filler(size: int) -> bytes:
    """So many bytes of text in lines, no line starting with a dot."""
    line = b"Stagepost carries what it is given, no more and no less, to the next post.\r\n"
    return (line * (size // len(line) + 1))[: size - 2] + b"\r\n" if size >= 2 else b""
