"""SQLite, by aiosqlite: one connection writes, another reads; a whole work runs in one hop to the connection's thread.

Every step of SQLite gives the GIL away and must win it back from a busy event loop, so that few fat statements are fast and
many thin ones are not, whatever they do: rows given to a statement go in as one VALUES list, in few sizes so that there are
few texts to prepare. Tried on two busy cores, so good for the order and not the digits: beside a busy loop a row took 2.2 to
2.4 µs, by executemany 3.6 to 4.9; settlements by UPDATE … FROM gave 3 600 to 3 700 pairs/s, by executemany 3 100 to 3 300;
pages of 8 and 16 KiB made a message alone slower. How often to checkpoint was chosen, not measured.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from importlib import resources
from itertools import chain
from pathlib import Path

import aiosqlite

from relay.errors import StoreError, StoreUnavailable
from storage.database import Hearing, Peers
from storage.durability import Durability
from storage.statements import Dialect, Statement, load
from storage.turns import Turns
from storage.work import Execute, Fetch, Given, Notify, Row, Script, Step, T, Together, Work

OLDEST = (3, 37, 0)
"""The first with STRICT tables."""
MAX_ROWS = 64
"""Rows in one statement."""
STATEMENTS_KEPT = 1024
CACHE_KIB = 64 * 1024
BUSY_MS = 10_000

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
_NOT_SYNCED = {sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC}


class _Connection(aiosqlite.Connection):
    """aiosqlite's, with a way to run many statements in one hop to its thread."""

    async def run(self, function: Callable[[sqlite3.Connection], T]) -> T:
        result: T = await self._execute(function, self._conn)  # type: ignore[no-untyped-call]
        return result


class SQLite:
    """Satisfies Database. Opened by one instance at a time: `<path>.lock` says so, held by its process or the parent of its
    processes."""

    dialect: Dialect = "sqlite"
    groups_in_flight = 1

    def __init__(
        self,
        path: Path,
        lock: int | None,
        writer: _Connection,
        reader: _Connection,
        peers: Peers | None,
        durability: Durability,
    ) -> None:
        """Use `open_sqlite`."""
        self._path = path
        self._durability = durability
        self._lock = lock
        self._peers = peers
        self._turns = Turns(path) if peers else None
        self._notes: list[str] = []
        """What the peers are to hear of the transaction that runs; the writing thread's."""
        self._writer = writer
        self._reader = reader
        self._statements = load("sqlite")
        self._closed = False

    async def equip(self) -> None:
        """The writer's views and triggers, by which one statement writes many tables."""
        script = resources.files("storage").joinpath("sql", "on_open", "sqlite.sql").read_text("utf-8")
        await self._writer.run(lambda raw: _run_script(raw, script))

    async def write(self, work: Work[T]) -> T:
        """One transaction. The thread runs it to its end even where the caller no longer waits."""
        return await self._run(self._writer, self._write, work)

    async def read(self, work: Work[T]) -> T:
        """One snapshot, on the reader's connection."""
        return await self._run(self._reader, self._read, work)

    async def listen(self, hearing: Hearing) -> None:
        """There is no other instance to hear of, but there may be other processes of ours."""
        if self._peers is not None:
            self._peers.listen(hearing)

    async def close(self) -> None:
        """Wait for what runs, close, and let the next process in."""
        if not self._closed:
            self._closed = True
            await self._reader.close()
            await self._writer.close()
            if self._turns is not None:
                self._turns.close()
            if self._lock is not None:
                os.close(self._lock)

    async def _run(
        self, connection: _Connection, transact: Callable[[sqlite3.Connection, Work[T]], T], work: Work[T]
    ) -> T:
        if self._closed:
            raise StoreUnavailable("the store is closed")
        try:
            return await connection.run(lambda raw: transact(raw, work))
        except sqlite3.Error as error:
            raise _translate(error, self._path) from error

    def _read(self, connection: sqlite3.Connection, work: Work[T]) -> T:
        return self._transact(connection, "BEGIN", work)

    def _write(self, connection: sqlite3.Connection, work: Work[T]) -> T:
        if self._peers is None or self._turns is None:
            return self._transact(connection, "BEGIN IMMEDIATE", work)
        self._notes = []
        with self._turns:
            result = self._transact(connection, "BEGIN IMMEDIATE", work)
        if self._notes:
            self._peers.tell(self._notes)
        return result

    def _transact(self, connection: sqlite3.Connection, begin: str, work: Work[T]) -> T:
        self._durability.check()
        connection.execute(begin)
        try:
            result = self._drive(connection, work)
            connection.execute("COMMIT")
        except BaseException as error:
            if getattr(error, "sqlite_errorcode", None) in _NOT_SYNCED:
                self._durability.lose(f"{self._path} could not be synced to disk ({error})")
            work.close()
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return result

    def _drive(self, connection: sqlite3.Connection, work: Work[T]) -> T:
        answer: object = None
        while True:
            try:
                step = work.send(answer)
            except StopIteration as end:
                result: T = end.value
                return result
            answer = self._perform(connection, step)

    def _perform(self, connection: sqlite3.Connection, step: Step) -> object:
        if isinstance(step, Fetch):
            return self._fetch(connection, step)
        if isinstance(step, Execute):
            return self._execute(connection, step)
        if isinstance(step, Together):
            return [self._execute(connection, one) for one in step.steps][-1]
        if isinstance(step, Script):
            _run_script(connection, step.text)
        elif isinstance(step, Notify) and self._peers is not None:
            self._notes += step.payloads
        return None  # locks are for several writers

    def _execute(self, connection: sqlite3.Connection, step: Execute) -> int:
        before = connection.total_changes
        statement = self._statements[step.name]
        for text, values in _bind(statement, step):
            connection.execute(text, values)
        return connection.total_changes - before

    def _fetch(self, connection: sqlite3.Connection, step: Fetch) -> Sequence[Row]:
        rows: list[Row] = []
        for text, values in _bind(self._statements[step.name], step):
            rows += connection.execute(text, values).fetchall()
        return rows


def _bind(statement: Statement, step: Fetch | Execute) -> Iterator[tuple[str, list[object]]]:
    values = statement.bind(step.values)
    if step.given is None:
        yield statement.text, values
        return
    for rows in _chunks(step.given):
        yield statement.for_rows(len(rows)), [*chain.from_iterable(rows), *values]


def _chunks(given: Given) -> Iterator[Given]:
    """64 rows at a time, then the largest multiple of 8, then the rest: 50 are 48 and 2, and there are 15 texts."""
    at, left = 0, len(given)
    while left:
        size = min(MAX_ROWS, left & ~7 or left)
        yield given[at : at + size]
        at, left = at + size, left - size


def _run_script(connection: sqlite3.Connection, text: str) -> None:
    for statement in split_script(text):
        connection.execute(statement)


def split_script(text: str) -> Iterator[str]:
    """The statements of a script; sqlite3's own executescript would commit first."""
    statement = ""
    for line in text.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


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
    opened: list[_Connection] = []
    try:
        for settings in (_SETTINGS, _READER_SETTINGS):
            connection = _Connection(lambda: _connect(path), 64)
            _ = await connection
            opened.append(connection)
            await connection.run(lambda raw, settings=settings: _apply(raw, settings))  # type: ignore[misc]
    except BaseException as error:
        for connection in opened:
            await connection.close()
        if lock is not None:
            os.close(lock)
        raise _translate(error, path) if isinstance(error, sqlite3.Error) else error from error
    return SQLite(path, None if keep_lock else lock, opened[0], opened[1], peers, durability or Durability())


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


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        path,
        isolation_level=None,  # transactions are begun and ended here
        timeout=BUSY_MS / 1000,
        cached_statements=STATEMENTS_KEPT,
        check_same_thread=False,  # closed by whoever closes the store
    )


def _apply(connection: sqlite3.Connection, settings: Sequence[str]) -> None:
    for pragma in settings:
        connection.execute(pragma).fetchall()
    if settings is _SETTINGS:
        mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
        if mode != "wal":
            raise StoreError(f"SQLite's journal is {mode}, not WAL: put the database on a local file system")
