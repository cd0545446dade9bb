"""Exchange: what one worker asks the others, over a Unix socket of each in the data directory: its figures, its health."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

ANSWERS_WITHIN = 1.0
"""Seconds."""
_LONGEST_QUESTION = 64

log = logging.getLogger(__name__)

Answer = Callable[[], Awaitable[bytes]]


def socket_path(directory: Path, number: int) -> Path:
    """Where a worker answers; no longer than `api.sock`, whose path is known to fit."""
    return directory / f"w{number}.sock"


class Exchange:
    """A worker's part: it answers questions by their names, and asks them of all others."""

    def __init__(self, directory: Path, number: int, count: int, answers: Mapping[str, Answer]) -> None:
        self._path = socket_path(directory, number)
        self._others = {n: socket_path(directory, n) for n in range(count) if n != number}
        self._answers = answers
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Answer from now on, in place of a former life."""
        self._path.unlink(missing_ok=True)
        sock = socket.socket(socket.AF_UNIX)
        mask = os.umask(0o177)
        try:
            sock.bind(str(self._path))
        finally:
            os.umask(mask)
        self._server = await asyncio.start_unix_server(self._serve, sock=sock)

    async def stop(self) -> None:
        """Answer no more."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)

    async def ask(self, question: str) -> Mapping[int, bytes | None]:
        """What each of the others answers, by its number; None where it does not, in time."""
        answers = await asyncio.gather(*(self._ask(path, question) for path in self._others.values()))
        return dict(zip(self._others, answers, strict=True))

    async def _ask(self, path: Path, question: str) -> bytes | None:
        try:
            async with asyncio.timeout(ANSWERS_WITHIN):
                reader, writer = await asyncio.open_unix_connection(str(path))
                try:
                    writer.write(f"{question}\n".encode())
                    return await reader.read() or None
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(ANSWERS_WITHIN):
                question = (await reader.readline())[:_LONGEST_QUESTION].decode().strip()
                writer.write(await self._answers[question]())
                await writer.drain()
        except (OSError, TimeoutError):
            pass  # whoever asked has gone
        except Exception:  # the others must not think that this worker is dead for a bug in one answer
            log.exception("another worker's question was not answered")
        finally:
            with contextlib.suppress(OSError):
                writer.close()
