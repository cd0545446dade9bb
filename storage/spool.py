"""Spool: large contents as files beside SQLite: `<spool>/<two hex digits>/<queue id>`, durable before they are named so.

Temp file, fsync, rename, fsync of the directory. All of it in threads, in pieces large enough to be worth the hop.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path
from typing import IO
from zlib import crc32

from relay.errors import StoreUnavailable
from storage.durability import Durability
from storage.work import T

PIECE = 256 * 1024
"""Octets in one hop to a thread."""
_UNFINISHED = "unfinished"


class SpoolFile:
    """One content on its way to disk."""

    def __init__(self, spool: Spool, message: str) -> None:
        self._spool = spool
        self._message = message
        self._file: IO[bytes] | None = None

    async def append(self, piece: bytes) -> None:
        """Write a piece."""
        await _in_thread(lambda: self._append(piece))

    async def commit(self) -> None:
        """Make it durable under its name."""
        await _in_thread(self._commit)

    async def discard(self) -> None:
        """Remove it, whether it is finished or not."""
        await _in_thread(self._discard)

    def _append(self, piece: bytes) -> None:
        if self._file is None:
            path = self._spool.unfinished(self._message)
            self._file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb", 0)
        view = memoryview(piece)
        while view:
            view = view[self._file.write(view) :]

    def _commit(self) -> None:
        assert self._file is not None  # noqa: S101 - for the type checker: content comes before its end
        self._spool.sync(self._file.fileno())
        self._file.close()
        path = self._spool.path(self._message)
        if not path.parent.exists():
            path.parent.mkdir(mode=0o700, exist_ok=True)
            self._spool.sync_directory(self._spool.root)
        self._spool.unfinished(self._message).rename(path)
        self._spool.sync_directory(path.parent)

    def _discard(self) -> None:
        if self._file is not None:
            self._file.close()
        self._spool.unfinished(self._message).unlink(missing_ok=True)
        self._spool.path(self._message).unlink(missing_ok=True)


class Spool:
    """The directory."""

    def __init__(self, root: Path, durability: Durability) -> None:
        self.root = root
        self._durability = durability

    def prepare(self) -> None:
        """Make it, for its owner alone, and remove what a former life left unfinished."""
        folder = self.root / _UNFINISHED
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.root.chmod(0o700)
        for path in folder.iterdir():
            path.unlink(missing_ok=True)

    def path(self, message: str) -> Path:
        """Where a message's content is."""
        return self.root / f"{crc32(message.encode()) & 0xFF:02x}" / message

    def unfinished(self, message: str) -> Path:
        """Where it is until then."""
        return self.root / _UNFINISHED / message

    def sync(self, descriptor: int) -> None:
        """Have it written to disk. A full disk (also by quota) says so here at times: this file has failed, no other."""
        self._durability.check()
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                self._durability.lose(f"{self.root} could not be synced to disk ({error.strerror})")
            raise

    def sync_directory(self, path: Path) -> None:
        """Have its names written to disk."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.sync(descriptor)
        finally:
            os.close(descriptor)

    def writer(self, message: str) -> SpoolFile:
        """A content to be written."""
        if "/" in message or message.startswith("."):
            raise ValueError(f"{message!r} cannot name a file")
        return SpoolFile(self, message)

    async def read(self, message: str) -> AsyncGenerator[bytes, None]:
        """The content in pieces; FileNotFoundError where there is none."""
        file = await _in_thread(lambda: self.path(message).open("rb", 0))
        try:
            while piece := await _in_thread(lambda: file.read(PIECE)):
                yield piece
        finally:
            file.close()

    async def remove(self, messages: list[str]) -> None:
        """Remove contents."""

        def unlink() -> None:
            for message in messages:
                self.path(message).unlink(missing_ok=True)

        await _in_thread(unlink)

    async def folders(self) -> list[Path]:
        """The directories that hold contents."""
        return await _in_thread(lambda: [path for path in self.root.iterdir() if len(path.name) == 2])

    async def older_than(self, age: int, folder: Path) -> list[str]:
        """The messages in a directory whose content was written more than `age` µs ago."""
        return await _in_thread(lambda: list(_older_than(time.time() - age / 1e6, folder)))


def _older_than(before: float, folder: Path) -> Iterator[str]:
    for entry in os.scandir(folder):
        with contextlib.suppress(FileNotFoundError):
            if entry.stat().st_mtime < before:
                yield entry.name


async def _in_thread(function: Callable[[], T]) -> T:
    """Run to its end even where nobody waits any more: a half-written piece must not be met by its removal."""
    task = asyncio.ensure_future(asyncio.to_thread(function))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StoreUnavailable(f"spool: {error.strerror or error}") from error
