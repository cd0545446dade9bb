"""PostgreSQL, by asyncpg: some connections, and one more that listens.

A work that need not be told anything before its end is one statement, which commits by itself: one round trip. Rows given
to a statement travel as one array for each column, so that a group of any size is one round trip for each table.
Plans are generic and go by plain index scans alone: the sizes of the tables, which change by the minute, must not turn a
plan over, and only such scans mark the dead entries that a queue leaves in its indexes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, TypeAlias, cast

import asyncpg

from relay.errors import StoreError, StoreUnavailable
from storage.connections import Connections
from storage.database import Hearing
from storage.listening import Listening
from storage.statements import Dialect, combine, load
from storage.stretch import Stretch, advance
from storage.work import (
    Chain,
    Execute,
    Fetch,
    Follow,
    Given,
    Lock,
    Row,
    Script,
    Step,
    T,
    Together,
    Work,
)

OLDEST = 13
CONNECTIONS = 8
TIMEOUT = 30.0
"""Seconds after which a statement that was not answered is given up."""
SCRIPT_TIMEOUT = 3600.0
"""The same of a migration, which may build indexes."""

_SESSION = {
    "application_name": "stagepost",
    "synchronous_commit": "on",
    "statement_timeout": "20s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "60s",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}

_UNAVAILABLE = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.PostgresIOError,
)
_WRONG_DOOR = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError)

_Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


class PostgreSQL:
    """Satisfies Database."""

    dialect: Dialect = "postgres"
    groups_at_most = CONNECTIONS // 2
    claims_at_once = True

    def __init__(self, url: str, connections: Connections[_Connection]) -> None:
        """Use `open_postgres`."""
        self._connections = connections
        self._listening = Listening(lambda: _connect_ear(url), self._quiesce)
        self._statements = load("postgres")
        self._running: set[asyncio.Task[Any]] = set()

    async def equip(self) -> None:
        """Nothing: its statements can do all they need to."""

    async def write(self, work: Work[T]) -> T:
        """One transaction, in a task of its own that the caller's cancellation does not reach."""
        task = asyncio.get_running_loop().create_task(self._transact(work, "BEGIN"))
        self._running.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    async def read(self, work: Work[T]) -> T:
        """One snapshot."""
        return await self._transact(work, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")

    async def listen(self, hearing: Hearing) -> None:
        """Hear the other instances, if there are any."""
        self._listening.start(hearing)

    async def close(self) -> None:
        """Wait for what runs, then close."""
        while self._running:
            await self._quiesce()
        await self._listening.close()
        with contextlib.suppress(*_UNAVAILABLE):
            await asyncio.wait_for(self._connections.close(), TIMEOUT)

    async def _quiesce(self) -> None:
        """Until what is being written now has come to its end."""
        if running := set(self._running):
            await asyncio.wait(running)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # seen, even where nobody waits for it any more

    async def _transact(self, work: Work[T], begin: str) -> T:
        try:
            connection = await self._connections.take()
            try:
                stretch = advance(work, None)
                if stretch.is_whole(notes_go_along=self._listening.is_alone):
                    return await self._commit_at_once(connection, work, stretch)
                return await self._drive(connection, work, stretch, begin)
            finally:
                self._connections.give_back(connection)
        except Exception as error:
            raise _translate(error) from error

    async def _commit_at_once(self, connection: _Connection, work: Work[T], stretch: Stretch[T]) -> T:
        """What is one statement commits itself."""
        try:
            if stretch.last is None:
                await self._send(connection, stretch)
                return cast("T", stretch.result)
            rows = await self._fetch(connection, [*stretch.unanswered, stretch.last])
        except asyncpg.PostgresError:
            raise
        except BaseException:  # whether it is still at it is not known
            connection.terminate()
            raise
        return cast("T", advance(work, [rows]).result)

    async def _drive(self, connection: _Connection, work: Work[T], stretch: Stretch[T], begin: str) -> T:
        try:
            await connection.execute(begin)
            while stretch.step is not None:
                await self._send(connection, stretch)
                stretch = advance(work, await self._perform(connection, stretch.step))
            await self._send(connection, stretch)
            await connection.execute("COMMIT")
        except BaseException:
            work.close()
            await _roll_back(connection)
            raise
        return cast("T", stretch.result)

    async def _send(self, connection: _Connection, stretch: Stretch[T]) -> None:
        """What needs no answer, in one statement."""
        steps = stretch.unanswered
        if stretch.notes and not self._listening.is_alone:
            given = [(f"{self._listening.sender} {note}",) for note in stretch.notes]
            steps = [*steps, Execute("notify", given=given)]  # the last: a part that only reads would not be run
        if steps:
            await self._execute(connection, steps)

    async def _perform(self, connection: _Connection, step: Step) -> object:
        match step:
            case Fetch():
                return await self._fetch(connection, [step])
            case Execute():
                return await self._execute(connection, [step])
            case Together(steps):
                return await self._execute(connection, steps)
            case Chain(steps):
                return await self._chain(connection, steps)
            case Lock(name, given):
                await self._fetch(connection, [Fetch(name, given=given)])
            case Script(text):
                await connection.execute(text, timeout=SCRIPT_TIMEOUT)
        return None

    async def _chain(self, connection: _Connection, steps: Sequence[Fetch | Follow]) -> Sequence[Sequence[Row]]:
        """Nothing is asked where no row is given."""
        answers: list[Sequence[Row]] = []
        for step in steps:
            fetch = step.after_answers(answers) if isinstance(step, Follow) else step
            none = fetch.given is not None and not fetch.given
            answers.append(() if none else await self._fetch(connection, [fetch]))
        return answers

    async def _execute(self, connection: _Connection, steps: Sequence[Execute]) -> int:
        """How many rows the last one changed."""
        status = await connection.execute(*self._combined(steps))
        return int(status.rpartition(" ")[2])

    async def _fetch(self, connection: _Connection, steps: Sequence[Execute | Fetch]) -> Sequence[Row]:
        """The rows of the last one."""
        rows: Sequence[Row] = await connection.fetch(*self._combined(steps))  # type: ignore[assignment]  # a Record is a sequence, if not by name
        return rows

    def _combined(self, steps: Sequence[Execute | Fetch]) -> Sequence[Any]:
        """Several in one statement, the first ones as tables of the last one's WITH; then its arguments."""
        arguments: list[Any] = [combine(tuple([step.name for step in steps]))]
        for step in steps:
            statement = self._statements[step.name]
            if statement.row_type is None:
                arguments += _columns(step.given, len(statement.columns))
            else:
                arguments.append(step.given)
            arguments += statement.bind(step.values)
        return arguments


def _columns(given: Given | None, count: int) -> Sequence[Sequence[object]]:
    if given is None:
        return ()
    return list(zip(*given, strict=True)) or [()] * count


async def _roll_back(connection: _Connection) -> None:
    """Leave the transaction; a connection that cannot is closed, and its transaction with it."""
    try:
        await connection.execute("ROLLBACK")
    except BaseException:
        connection.terminate()
        raise


def _translate(error: Exception) -> Exception:
    """The one place where asyncpg's errors become ours; what neither server nor network did is a bug and stays as it is."""
    if isinstance(error, _WRONG_DOOR):
        return StoreError(f"PostgreSQL does not let us in: {error}; check storage.url")
    if isinstance(error, _UNAVAILABLE):
        return StoreUnavailable(f"PostgreSQL: {str(error) or type(error).__name__}")
    return error


async def _connect_ear(url: str) -> asyncpg.Connection[asyncpg.Record]:
    settings = {"application_name": "stagepost", "lock_timeout": "2s"}
    return await asyncpg.connect(url, timeout=TIMEOUT, server_settings=settings)


async def open_postgres(url: str) -> PostgreSQL:
    """Connect. StoreError where the server is too old or would not keep what it has acknowledged."""

    async def connect() -> _Connection:
        return await asyncpg.connect(
            url,
            statement_cache_size=256,
            max_cached_statement_lifetime=0,
            command_timeout=TIMEOUT,
            timeout=TIMEOUT,
            server_settings=_SESSION,
        )

    connections = Connections(connect, CONNECTIONS, TIMEOUT)
    try:
        async with connections.use() as connection:
            await _check(connection)
    except ValueError as error:
        raise StoreError(f"storage.url is no PostgreSQL URL: {error}") from None
    except BaseException as error:
        connections.terminate()
        raise (_translate(error) if isinstance(error, Exception) else error) from error
    return PostgreSQL(url, connections)


async def _check(connection: _Connection) -> None:
    if connection.get_server_version().major < OLDEST:
        raise StoreError(f"PostgreSQL {connection.get_server_version().major} is too old: {OLDEST} is needed")
    for name, bad in (("fsync", {"off"}), ("synchronous_commit", {"off"}), ("full_page_writes", {"off"})):
        value = await connection.fetchval("SELECT current_setting($1)", name)
        if value in bad:
            raise StoreError(f"PostgreSQL has {name} = {value} and could lose accepted mail: set {name} = on")
    encoding = await connection.fetchval("SHOW server_encoding")
    if encoding != "UTF8":
        raise StoreError(f"the database's encoding is {encoding}: make one with ENCODING 'UTF8'")
