"""The SQLite writer: a process that holds the one connection that writes, and does what it is told over a socket
(storage.writing is the other end). So SQLite and the event loop have an interpreter each, and neither waits for the other.

Run by its path, with nothing of ours imported: it is there in 20 ms, and small. It ends when the socket does, however the
relay came to its end, and what was not committed then is undone. The reader's thread takes from here what it does alike.

A request is `(begin, steps, end)`: what begins and what ends a transaction, or None where this request does not. It is
answered `(True, the steps' answers)` or `(False, failure)`; after a failure the transaction is undone.

Rows given to a statement go in as one VALUES list, in few sizes so that there are few texts to prepare: measured beside a
busy event loop a row took 2.2 to 2.4 µs, by executemany 3.6 to 4.9.
"""

from __future__ import annotations

import fcntl
import marshal
import os
import socket
import sqlite3
import struct
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from io import IOBase
from itertools import chain
from typing import Any, NamedTuple, TypeAlias

FETCH, EXECUTE, SCRIPT = range(3)

Rows: TypeAlias = Sequence[Sequence[object]]
Links: TypeAlias = tuple[Sequence[int], Sequence[int]]
"""In place of rows: those that earlier steps of the request were answered, by their places, and which columns of them; each
once."""
Step: TypeAlias = tuple[int, str, Sequence[object], Rows | Links | None, int]
"""What it is; the statement's name or the script; its values; its rows; how many it must change at least."""
Request: TypeAlias = tuple[str | None, Sequence[Step], str | None]
Texts: TypeAlias = Mapping[str, tuple[str, tuple[str, ...]]]
"""By a statement's name its text and the columns of the rows that it is given."""

LENGTH = struct.Struct("!I")
"""Before each request and answer, which are marshalled."""
MAX_ROWS = 64
"""Rows in one statement."""
TEXTS_KEPT = STATEMENTS_KEPT = 1024
BUSY_MS = 10_000
NOT_SYNCED = frozenset((sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC))
TOO_FEW = "too few"
"""The kind of a failure where a statement changed fewer rows than it must."""


class Opening(NamedTuple):
    """What the writer is to know before all requests."""

    path: str
    settings: Sequence[str]
    texts: Texts
    takes_turns: bool
    """Whether other processes write to the file as well."""
    relay: int
    """The process that it works for."""


class Failure(NamedTuple):
    """Of a request."""

    kind: str
    """The name of sqlite3's class, or TOO_FEW."""
    code: int
    text: str


class TooFew(Exception):
    """A statement changed fewer rows than it must."""


def _as_it_is(value: bytes | None) -> bytes | None:
    return value


for _kind in (type(None), bytes):
    # Python looks for an adapter of each such value, and does so long where there is none: 4 % of a message's instructions.
    sqlite3.register_adapter(_kind, _as_it_is)


def connect(path: str) -> sqlite3.Connection:
    """Transactions are begun and ended by who uses it."""
    return sqlite3.connect(
        path,
        isolation_level=None,
        timeout=BUSY_MS / 1000,
        cached_statements=STATEMENTS_KEPT,
        check_same_thread=False,  # closed by whoever closes the store
    )


def apply(connection: sqlite3.Connection, settings: Sequence[str]) -> str:
    """Answers which journal it has."""
    for pragma in settings:
        connection.execute(pragma).fetchall()
    return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


def run(
    connection: sqlite3.Connection, texts: Texts, request: Request, before_end: Callable[[], None] = lambda: None
) -> Sequence[object]:
    """The answers to a request; where it raises the transaction was undone."""
    begin, steps, end = request
    answers: list[object] = []
    try:
        if begin is not None:
            connection.execute(begin)
        for step in steps:
            answers.append(_perform(connection, texts, step, answers))
        if end is not None:
            before_end()
            connection.execute(end)
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return answers


def _perform(connection: sqlite3.Connection, texts: Texts, step: Step, before: Sequence[object]) -> object:
    """The rows of a fetch or of each statement of a script, or how many an execute changed. `before`: what the steps before
    it were answered."""
    kind, name, values, given, at_least = step
    if kind == SCRIPT:
        return [connection.execute(statement).fetchall() for statement in split_script(name)]
    bound = _bind(texts[name], values, _linked(given, before) if type(given) is tuple else given)
    if kind == FETCH:
        return [row for text, bindings in bound for row in connection.execute(text, bindings)]
    changes = connection.total_changes
    for text, bindings in bound:
        connection.execute(text, bindings)
    changed = connection.total_changes - changes
    if changed < at_least:
        raise TooFew(f"{name} changed {changed} rows of {at_least}")
    return changed


def _linked(links: Any, answers: Sequence[Any]) -> Rows:
    places, columns = links
    return list(dict.fromkeys(tuple(row[at] for at in columns) for place in places for row in answers[place]))


def _bind(
    statement: tuple[str, tuple[str, ...]], values: Sequence[object], given: Rows | None
) -> Iterator[tuple[str, Sequence[object]]]:
    text, columns = statement
    if given is None:
        yield text, values
        return
    for rows in _chunks(given):
        yield with_rows(text, columns, len(rows)), [*chain.from_iterable(rows), *values]


@lru_cache(TEXTS_KEPT)
def with_rows(text: str, columns: tuple[str, ...], count: int) -> str:
    """A statement's text for so many rows."""
    row = f"({', '.join('?' * len(columns))})"
    return f"WITH given ({', '.join(columns)}) AS (VALUES {', '.join([row] * count)}){text}"


def _chunks(given: Rows) -> Iterator[Rows]:
    """64 rows at a time, then the largest multiple of 8, then the rest: 50 are 48 and 2, and there are 15 texts."""
    at, left = 0, len(given)
    while left:
        size = min(MAX_ROWS, left & ~7 or left)
        yield given[at : at + size]
        at, left = at + size, left - size


def split_script(text: str) -> Iterator[str]:
    """The statements of a script; sqlite3's own executescript would commit first."""
    statement = ""
    for line in text.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def pack(message: tuple[Any, ...]) -> bytes:
    """One request or answer, to be sent."""
    octets = marshal.dumps(tuple(message))
    return LENGTH.pack(len(octets)) + octets


class Turns:
    """Whose turn it is to write, where several processes do. SQLite's own way is to look again and again, ever less often,
    while somebody else writes: with two busy writers one of them waits for most of the time. A lock of the kernel's wakes
    the next one at once, and goes with a process that dies."""

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(f"{path}.turn", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def begin(self) -> None:
        """Wait for it."""
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def end(self) -> None:
        """It is the next one's."""
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)


class Writer:
    """The connection, and what is done with it."""

    def __init__(self, opening: Opening) -> None:
        self._texts = opening.texts
        self._relay = opening.relay
        self._turns = Turns(opening.path) if opening.takes_turns else None
        self._connection = connect(opening.path)
        self.journal = apply(self._connection, opening.settings)

    def answer(self, request: Request) -> Sequence[object]:
        """Do what is asked; where it raises everything has been undone."""
        if request[0] is not None and self._turns is not None:
            self._turns.begin()
        try:
            return run(self._connection, self._texts, request, self._check)
        finally:
            if self._turns is not None and not self._connection.in_transaction:
                self._turns.end()

    def _check(self) -> None:
        """What a relay held that is dead others take over, by a transaction that waits for this one. So this one must not be
        committed after its relay's death, or they would not have seen what it holds."""
        if os.getppid() != self._relay:
            raise ConnectionError("the relay is gone")

    def close(self) -> None:
        """Undo what is not committed."""
        self._connection.close()


def serve(sock: socket.socket) -> None:
    """Until the socket's end, or until something could not be synced: nothing may be written after that."""
    requests = sock.makefile("rb", 1 << 18)
    writer: Writer | None = None
    try:
        while (message := _receive(requests)) is not None:
            try:
                if writer is None:
                    writer = Writer(Opening(*message))
                    sock.sendall(pack((True, writer.journal)))
                else:
                    sock.sendall(pack((True, writer.answer(message))))
            except (sqlite3.Error, TooFew, OverflowError, UnicodeEncodeError) as error:
                failure = _failure(error)
                sock.sendall(pack((False, tuple(failure))))
                if failure.code in NOT_SYNCED:
                    return
    except ConnectionError:
        pass
    finally:
        if writer is not None:
            writer.close()


def _receive(requests: IOBase) -> Any:
    """None: there is no more."""
    head = requests.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    length: int = LENGTH.unpack(head)[0]
    octets = requests.read(length)
    return marshal.loads(octets) if len(octets) == length else None  # noqa: S302 - from the relay alone


def _failure(error: Exception) -> Failure:
    match error:
        case TooFew():
            kind = TOO_FEW
        case OverflowError() | UnicodeEncodeError():  # of a value that is none of SQLite's
            kind = "DataError"
        case _:
            kind = type(error).__name__
    return Failure(kind, getattr(error, "sqlite_errorcode", 0), str(error))


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
