"""The process that writes to SQLite: what its death and the relay's leave behind."""

from __future__ import annotations

import asyncio
import marshal
import os
import signal
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from relay.errors import StoreUnavailable
from storage import Store, writer_process
from storage.sqlite_writer import EXECUTE, FETCH, LENGTH, SCRIPT, Opening, Request, pack
from storage.work import Chain, Execute, Fetch, TooFew, Work, fetch
from storage.writer_process import COMMAND
from tests.storage.conftest import Open, furnish
from tests.storage.mail import QUEUE, mail
from tests.storage.raw import writing_of

BEGIN = "BEGIN IMMEDIATE"


@pytest.fixture
def backend() -> str:
    return "sqlite"


def kill(store: Store, number: signal.Signals = signal.SIGKILL) -> None:
    process = writing_of(store)._process._process
    assert process is not None
    process.send_signal(number)


async def until_seen(store: Store) -> None:
    """The loop has seen the end of the process."""
    while writing_of(store)._process.is_up:  # noqa: ASYNC110 - there is nothing to be woken by
        await asyncio.sleep(0)


# -- its death, as the relay sees it -------------------------------------------------------------------------------------


async def test_what_was_under_way_is_unavailable_and_the_next_is_not(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A work that has begun is not tried again: whether it was committed is not known."""
    monkeypatch.setattr(writer_process, "SHORT_LIFE", 0.0)
    store = await opened()
    await furnish(store)
    await store.queue.accept(mail())

    def work() -> Work[None]:
        yield from fetch("tenants")
        kill(store)
        yield from fetch("tenants")

    with pytest.raises(StoreUnavailable, match="has died"):
        await store._database.write(work())
    await store.queue.accept(mail())
    assert await store.queue.open_deliveries() == 2
    assert len((await store.queue.claim(QUEUE, 5)).deliveries) == 2


async def test_one_that_dies_when_idle_is_followed_by_another(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_process, "SHORT_LIFE", 0.0)
    store = await opened()
    await furnish(store)
    former = writing_of(store)._process._process
    assert former is not None
    kill(store)
    await asyncio.to_thread(former.wait)
    await until_seen(store)
    await store.queue.accept(mail())


async def test_one_that_dies_again_and_again_is_given_time(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_process, "SHORT_LIFE", 1e9)
    store = await opened()
    await furnish(store)
    kill(store)
    await until_seen(store)
    with pytest.raises(StoreUnavailable, match="again and again"):
        await store.queue.accept(mail())
    monkeypatch.setattr(writer_process, "SHORT_LIFE", 0.0)
    await store.queue.accept(mail())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_signals_for_the_relay_do_not_end_it(opened: Open, number: signal.Signals) -> None:
    store = await opened()
    await furnish(store)
    former = writing_of(store)._process._process
    kill(store, number)
    await store.queue.accept(mail())
    assert writing_of(store)._process._process is former


async def test_it_ends_with_the_store(opened: Open) -> None:
    store = await opened()
    process = writing_of(store)._process._process
    assert process is not None
    await store.close()
    assert process.returncode == 0


# -- works ---------------------------------------------------------------------------------------------------------------


async def test_too_few_rows_undo_the_whole(opened: Open) -> None:
    store = await opened()
    await furnish(store)

    def work() -> Work[None]:
        yield Execute("put_setting", {"name": "n", "value": "v"}, answered=False)
        yield Execute("forget_setting", {"name": "none"}, answered=False, at_least=1)

    with pytest.raises(TooFew, match="forget_setting changed 0 rows of 1"):
        await store._database.write(work())
    assert await store._database.read(fetch("setting", {"name": "n"})) == []


async def test_a_work_that_raises_is_undone(opened: Open) -> None:
    store = await opened()

    def work() -> Work[None]:
        yield Execute("put_setting", {"name": "n", "value": "v"})
        raise LookupError

    with pytest.raises(LookupError):
        await store._database.write(work())
    assert await store._database.read(fetch("setting", {"name": "n"})) == []


async def test_a_value_that_cannot_be_sent_fails_its_work_alone(opened: Open) -> None:
    store = await opened()

    def work(*, asks_before: bool) -> Work[None]:
        if asks_before:
            yield Execute("put_setting", {"name": "n", "value": "v"})
        yield Execute("put_setting", {"name": "m", "value": object()})

    for asks_before in (False, True):
        with pytest.raises(ValueError, match="unmarshallable"):
            await store._database.write(work(asks_before=asks_before))
    assert await store._database.read(fetch("setting", {"name": "n"})) == []
    assert await store._database.write(fetch("tenants")) == []


@pytest.mark.parametrize("value", [2**63, "\ud800"])
async def test_a_value_that_sqlite_cannot_take_fails_its_work_alone(opened: Open, value: object) -> None:
    store = await opened()
    process = writing_of(store)._process._process

    def work() -> Work[None]:
        yield Execute("put_setting", {"name": "n", "value": "v"}, answered=False)
        yield Execute("put_setting", {"name": "m", "value": value}, answered=False)

    with pytest.raises(sqlite3.DataError):
        await store._database.write(work())
    assert await store._database.read(fetch("setting", {"name": "n"})) == []
    assert await store._database.write(fetch("tenants")) == []
    assert writing_of(store)._process._process is process


async def test_a_message_that_cannot_be_written_fails_alone(opened: Open) -> None:
    store = await opened()
    await furnish(store)
    first, bad, last = await asyncio.gather(
        *map(store.queue.accept, (mail(), mail(due=2**63), mail())), return_exceptions=True
    )
    assert isinstance(bad, sqlite3.DataError)
    assert not isinstance(first, BaseException)
    assert not isinstance(last, BaseException)


async def test_a_chain_must_be_the_last(opened: Open) -> None:
    store = await opened()

    def work() -> Work[None]:
        yield Chain([Fetch("tenants")])
        yield Fetch("tenants")

    with pytest.raises(RuntimeError, match="must be the last step"):
        await store._database.write(work())
    assert await store._database.write(fetch("tenants")) == []


# -- the process by itself -----------------------------------------------------------------------------------------------


class Alone:
    """One on a database with a table, spoken to from here."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._sock, theirs = socket.socketpair()
        self._sock.settimeout(10)
        self.process = subprocess.Popen([*COMMAND, str(theirs.fileno())], pass_fds=[theirs.fileno()])
        theirs.close()

    def open(self, relay: int) -> None:
        texts: dict[str, tuple[str, tuple[str, ...]]] = {
            "put": ("INSERT INTO t VALUES (?)", ()),
            "all": ("SELECT x FROM t", ()),
        }
        opening = Opening(str(self.path), ("PRAGMA journal_mode = WAL",), texts, takes_turns=True, relay=relay)
        assert self.ask(opening) == (True, "wal")
        assert self.ask((None, [(SCRIPT, "CREATE TABLE t (x);\n", (), None, 0)], None)) == (True, [[[]]])

    def ask(self, message: Request | tuple[Any, ...]) -> Any:
        self._sock.sendall(pack(message))
        head = self._sock.recv(LENGTH.size, socket.MSG_WAITALL)
        return marshal.loads(self._sock.recv(LENGTH.unpack(head)[0], socket.MSG_WAITALL)) if head else None

    def leave(self) -> None:
        self._sock.close()

    def rows(self) -> list[Any]:
        connection = sqlite3.connect(self.path)
        try:
            return connection.execute("SELECT x FROM t").fetchall()
        finally:
            connection.close()


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Alone]:
    alone = Alone(tmp_path / "t.db")
    yield alone
    alone.leave()
    assert alone.process.wait(10) == 0


def put(value: int, end: str | None = "COMMIT") -> Request:
    return BEGIN, [(EXECUTE, "put", [value], None, 1)], end


def test_the_end_of_the_socket_undoes_what_was_not_committed(alone: Alone) -> None:
    alone.open(os.getpid())
    assert alone.ask(put(1)) == (True, [1])
    assert alone.ask(put(2, None)) == (True, [1])
    assert alone.ask((None, [(FETCH, "all", (), None, 0)], None)) == (True, [[(1,), (2,)]])
    alone.leave()
    assert alone.process.wait(10) == 0
    assert alone.rows() == [(1,)]


def test_nothing_is_committed_for_a_relay_that_is_dead(alone: Alone) -> None:
    """Others have taken over by then what it held; the test above is the control."""
    alone.open(1)
    assert alone.ask(put(1)) is None
    assert alone.process.wait(10) == 0
    assert alone.rows() == []


def test_a_failure_says_what_sqlite_said_and_leaves_no_transaction(alone: Alone) -> None:
    alone.open(os.getpid())
    is_done, failure = alone.ask((BEGIN, [(SCRIPT, "INSERT INTO none VALUES (1);\n", (), None, 0)], None))
    assert (is_done, failure[0], failure[2]) == (False, "OperationalError", "no such table: none")
    assert alone.ask(put(1)) == (True, [1])
    assert alone.rows() == [(1,)]
