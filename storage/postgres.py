"""PostgreSQL, by asyncpg: a pool of connections, and one more that listens.

Rows given to a statement travel as one array for each column, so that a group of any size is one round trip for each table.
Plans are generic and go by plain index scans alone: the sizes of the tables, which change by the minute, must not turn a
plan over, and only such scans mark the dead entries that a queue leaves in its indexes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Sequence
from typing import Any, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from relay.errors import StoreError, StoreUnavailable
from storage.database import Hearing
from storage.statements import Dialect, combine, load
from storage.work import (
    Chain,
    Execute,
    Fetch,
    Follow,
    Given,
    Lock,
    Notify,
    Row,
    Script,
    Step,
    T,
    Together,
    TooFew,
    Values,
    Work,
)

OLDEST = 13
CONNECTIONS = 8
GROUPS_IN_FLIGHT = 2
CHANNEL = "stagepost"
TIMEOUT = 30.0
"""Seconds after which a statement that was not answered is given up."""
RECONNECT_AT_MOST = 10.0
"""Seconds between attempts to listen again."""

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

_Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"

log = logging.getLogger(__name__)


class PostgreSQL:
    """Satisfies Database."""

    dialect: Dialect = "postgres"
    groups_in_flight = GROUPS_IN_FLIGHT

    def __init__(self, url: str, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        """Use `open_postgres`."""
        self._url = url
        self._pool = pool
        self._sender = secrets.token_hex(4)
        self._statements = load("postgres")
        self._running: set[asyncio.Task[Any]] = set()
        self._listener: asyncio.Task[None] | None = None

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
        """Hear the other instances, over a connection that is made again whenever it is lost."""
        hearing.ended()
        self._listener = asyncio.get_running_loop().create_task(self._keep_listening(hearing), name="listen")

    async def close(self) -> None:
        """Wait for what runs, then close."""
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)
        while self._running:
            await asyncio.wait(self._running)
        with contextlib.suppress(*_UNAVAILABLE):
            await asyncio.wait_for(self._pool.close(), TIMEOUT)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # seen, even where nobody waits for it any more

    async def _transact(self, work: Work[T], begin: str) -> T:
        try:
            async with self._pool.acquire(timeout=TIMEOUT) as connection:
                await connection.execute(begin)
                try:
                    result = await self._drive(connection, work)
                    await connection.execute("COMMIT")
                except BaseException:
                    work.close()
                    await _roll_back(connection)
                    raise
                return result
        except Exception as error:
            raise _translate(error) from error

    async def _drive(self, connection: _Connection, work: Work[T]) -> T:
        answer: object = None
        while True:
            try:
                step = work.send(answer)
            except StopIteration as end:
                result: T = end.value
                return result
            answer = await self._perform(connection, step)

    async def _perform(self, connection: _Connection, step: Step) -> object:
        match step:
            case Fetch(name, values, given):
                return await self._fetch(connection, name, values, given)
            case Execute():
                changed = await self._execute(connection, [step])
                if changed < step.at_least:
                    raise TooFew(f"{step.name} changed {changed} rows of {step.at_least}")
                return changed
            case Together(steps):
                return await self._execute(connection, steps)
            case Chain(steps):
                return await self._chain(connection, steps)
            case Lock(name, given):
                await self._fetch(connection, name, {}, given)
            case Notify(payloads):
                await self._fetch(connection, "notify", {}, [(f"{self._sender} {payload}",) for payload in payloads])
            case Script(text):
                await connection.execute(text)
        return None

    async def _chain(self, connection: _Connection, steps: Sequence[Fetch | Follow]) -> Sequence[Sequence[Row]]:
        """Nothing is asked where no row is given."""
        answers: list[Sequence[Row]] = []
        for step in steps:
            fetch = step.after_answers(answers) if isinstance(step, Follow) else step
            none = fetch.given is not None and not fetch.given
            answers.append(() if none else await self._fetch(connection, fetch.name, fetch.values, fetch.given))
        return answers

    async def _execute(self, connection: _Connection, steps: Sequence[Execute]) -> int:
        """Several in one statement, the first ones as tables of the last one's WITH."""
        arguments: list[object] = []
        for step in steps:
            statement = self._statements[step.name]
            arguments += [*_columns(step.given, len(statement.columns)), *statement.bind(step.values)]
        status = await connection.execute(combine(tuple(step.name for step in steps)), *arguments)
        return int(status.rpartition(" ")[2])

    async def _fetch(self, connection: _Connection, name: str, values: Values, given: Given | None) -> Sequence[Row]:
        statement = self._statements[name]
        rows: Sequence[Row] = await connection.fetch(  # type: ignore[assignment]  # a Record is a sequence, if not by name
            statement.text, *_columns(given, len(statement.columns)), *statement.bind(values)
        )
        return rows

    async def _keep_listening(self, hearing: Hearing) -> None:
        pause = 0.1
        while True:
            try:
                await self._listen(hearing)
                pause = 0.1
            except Exception as error:  # whatever it is, hearing nothing for good would be worse
                log.warning("listening to the store: %s", _translate(error))
            hearing.ended()
            await asyncio.sleep(pause)
            pause = min(pause * 2, RECONNECT_AT_MOST)

    async def _listen(self, hearing: Hearing) -> None:
        """Until the connection is lost."""
        connection = await asyncpg.connect(self._url, timeout=TIMEOUT)
        try:
            lost = asyncio.Event()
            connection.add_termination_listener(lambda _: lost.set())
            await connection.add_listener(CHANNEL, lambda *told: self._hear(hearing, str(told[-1])))
            hearing.began()
            await lost.wait()
        finally:
            connection.terminate()

    def _hear(self, hearing: Hearing, payload: str) -> None:
        sender, _, told = payload.partition(" ")
        if sender != self._sender:
            hearing.heard(told)


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


async def _keep_session(_: object) -> None:
    """Nothing to reset when a connection goes back: all sessions are alike, and a reset is a round trip."""


async def open_postgres(url: str) -> PostgreSQL:
    """Connect. StoreError where the server is too old or would not keep what it has acknowledged."""
    try:
        pool = await asyncpg.create_pool(
            url,
            min_size=0,
            max_size=CONNECTIONS,
            max_inactive_connection_lifetime=0,
            statement_cache_size=256,
            max_cached_statement_lifetime=0,
            command_timeout=TIMEOUT,
            timeout=TIMEOUT,
            server_settings=_SESSION,
            reset=_keep_session,
        )
    except ValueError as error:
        raise StoreError(f"storage.url is no PostgreSQL URL: {error}") from None
    except Exception as error:
        raise _translate(error) from error
    try:
        await _check(pool)
    except BaseException as error:
        pool.terminate()
        raise (_translate(error) if isinstance(error, Exception) else error) from error
    return PostgreSQL(url, pool)


async def _check(pool: asyncpg.Pool[asyncpg.Record]) -> None:
    async with pool.acquire() as connection:
        if connection.get_server_version().major < OLDEST:
            raise StoreError(f"PostgreSQL {connection.get_server_version().major} is too old: {OLDEST} is needed")
        for name, bad in (("fsync", {"off"}), ("synchronous_commit", {"off"}), ("full_page_writes", {"off"})):
            value = await connection.fetchval("SELECT current_setting($1)", name)
            if value in bad:
                raise StoreError(f"PostgreSQL has {name} = {value} and could lose accepted mail: set {name} = on")
        encoding = await connection.fetchval("SHOW server_encoding")
        if encoding != "UTF8":
            raise StoreError(f"the database's encoding is {encoding}: make one with ENCODING 'UTF8'")
