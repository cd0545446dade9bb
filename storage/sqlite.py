"""SQLite: a process of its own writes (storage.writing), and a thread reads, by aiosqlite, a whole work in one hop.

In a thread every statement gave the GIL away and had to win it back from a busy event loop, three times over: so the loop
and the connection that writes share no interpreter. How often to checkpoint was chosen, not measured; pages of 8 and 16 KiB
made a message alone slower.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path

import aiosqlite

from relay.errors import StoreError, StoreUnavailable
from storage.database import Hearing, Peers
from storage.durability import Durability
from storage.sqlite_writer import Opening, apply, connect, run
from storage.statements import Dialect, load
from storage.work import T, Work
from storage.writing import Transaction, Writing

OLDEST = (3, 37, 0)
"""The first with STRICT tables."""
CACHE_KIB = 64 * 1024

_SETTINGS = (
    "PRAGMA page_size = 4096",
    "PRAGMA auto_vacuum = INCREMENTAL",  # so that a file that has grown can shrink; no cost that could be measured
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA temp_store = MEMORY",
    f"PRAGMA cache_size = -{CACHE_KIB}",
    "PRAGMA wal_autocheckpoint = 4000",
)
_READER_SETTINGS = ("PRAGMA query_only = ON", f"PRAGMA cache_size = -{CACHE_KIB // 8}")

_TRY_AGAIN = {
    sqlite3.SQLITE_BUSY: "it is locked",
    sqlite3.SQLITE_LOCKED: "it is locked",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "reading or writing failed",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
    sqlite3.SQLITE_NOMEM: "there is not enough memory",
    sqlite3.SQLITE_INTERRUPT: "it was interrupted",
    sqlite3.SQLITE_PROTOCOL: "it is locked",
    sqlite3.SQLITE_READONLY: "it cannot be written",
}
_DO_SOMETHING = {
    sqlite3.SQLITE_CORRUPT: "is damaged: restore it from a backup",
    sqlite3.SQLITE_NOTADB: "is not a SQLite database: name another file in storage.url",
}
_STATEMENTS = load("sqlite")
_TEXTS = {name: (statement.text, statement.columns) for name, statement in _STATEMENTS.items()}


class _Connection(aiosqlite.Connection):
    """aiosqlite's, with a way to run many statements in one hop to its thread."""

    async def run(self, function: Callable[[sqlite3.Connection], T]) -> T:
        result: T = await self._execute(function, self._conn)  # type: ignore[no-untyped-call]
        return result


class SQLite:
    """Satisfies Database. Opened by one instance at a time: `<path>.lock` says so, held by its process or the parent of its
    processes."""

    dialect: Dialect = "sqlite"
    groups_at_most = 1
    claims_at_once = False

    def __init__(
        self, path: Path, lock: int | None, reader: _Connection, peers: Peers | None, durability: Durability
    ) -> None:
        """Use `open_sqlite`."""
        self._path = path
        self._durability = durability
        self._lock = lock
        self._peers = peers
        self._reader = reader
        opening = Opening(str(path), _SETTINGS, _TEXTS, takes_turns=peers is not None, relay=0)
        self._writing = Writing(opening, _STATEMENTS, durability, self._tell)
        self._closed = False

    async def start(self) -> None:
        """Connect both; StoreError where that is of no use."""
        try:
            journal = await self._writing.start()
            if journal != "wal":
                raise StoreError(f"SQLite's journal is {journal}, not WAL: put the database on a local file system")
            _ = await self._reader
            await self._reader.run(lambda raw: apply(raw, _READER_SETTINGS))
        except sqlite3.Error as error:
            raise _translate(error, self._path) from error

    async def equip(self) -> None:
        """The writer's views and triggers, by which one statement writes many tables."""
        await self._writing.equip(
            resources.files("storage").joinpath("sql", "on_open", "sqlite.sql").read_text("utf-8")
        )

    async def write(self, work: Work[T]) -> T:
        """One transaction. It comes to its end even where the caller no longer waits."""
        if self._closed:
            raise StoreUnavailable("the store is closed")
        try:
            return await self._writing.write(work)
        except sqlite3.Error as error:
            raise _translate(error, self._path) from error

    async def read(self, work: Work[T]) -> T:
        """One snapshot, on the reader's connection."""
        if self._closed:
            raise StoreUnavailable("the store is closed")
        try:
            return await self._reader.run(lambda raw: self._read(raw, work))
        except sqlite3.Error as error:
            raise _translate(error, self._path) from error

    async def listen(self, hearing: Hearing) -> None:
        """There is no other instance to hear of, but there may be other processes of ours."""
        if self._peers is not None:
            self._peers.listen(hearing)

    async def close(self) -> None:
        """Wait for what runs, close, and let the next process in."""
        if not self._closed:
            self._closed = True
            await self._reader.close()
            await self._writing.close()
            if self._lock is not None:
                os.close(self._lock)

    def _tell(self, notes: Sequence[str]) -> None:
        if self._peers is not None:
            self._peers.tell(notes)

    def _read(self, connection: sqlite3.Connection, work: Work[T]) -> T:
        self._durability.check()
        transaction = Transaction(work, _STATEMENTS, "BEGIN")
        answers: Sequence[object] = ()
        end = None
        while end is None:
            request = transaction.advance(answers)
            end = request[2]
            answers = run(connection, _TEXTS, request)
        return transaction.outcome(answers)


def _translate(error: sqlite3.Error, path: Path) -> Exception:
    """The one place where sqlite3's errors become ours; what is no fault of file or machine is a bug and stays as it is."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if isinstance(error, sqlite3.ProgrammingError) and "closed" in str(error):
        return StoreUnavailable("the store is closed")
    if reason := _TRY_AGAIN.get(code):
        return StoreUnavailable(f"{path}: {reason} ({error})")
    if reason := _DO_SOMETHING.get(code):
        return StoreError(f"{path} {reason}")
    return error


async def open_sqlite(
    path: Path, peers: Peers | None = None, durability: Durability | None = None, *, keep_lock: bool = False
) -> SQLite:
    """Open or make the database; with `peers`, whose parent has kept the lock (`keep_lock`: until it ends). StoreError where
    another instance has it open, or SQLite is too old."""
    if sqlite3.sqlite_version_info < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise StoreError(f"SQLite {sqlite3.sqlite_version} is too old: {oldest} is needed; or use PostgreSQL")
    try:
        lock = None if peers else await asyncio.to_thread(hold_sqlite, path)
    except OSError as error:
        raise StoreError(f"{path} cannot be opened: {error.strerror}; check storage.url and its permissions") from None
    reader = _Connection(lambda: connect(str(path)), 64)
    opened = SQLite(path, None if keep_lock else lock, reader, peers, durability or Durability())
    try:
        await opened.start()
    except BaseException:
        await opened.close()
        if keep_lock and lock is not None:
            os.close(lock)
        raise
    return opened


def hold_sqlite(path: Path) -> int:
    """Make directory and file, for their owner alone, and hold the lock that says they are in use, until the descriptor is
    closed by all that have it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except BlockingIOError:
        os.close(lock)
        raise StoreError(f"{path} is in use by another process: stop it, or talk to it instead") from None
    except BaseException:
        os.close(lock)
        raise
    return lock
