"""Filling a store: messages by the hundred thousand, written by the database itself with one statement for each table.

The rows are those that intake and dispatch would have left. The store must have been made, and nobody may be using it.
"""

import asyncio
import sqlite3
from dataclasses import dataclass

import asyncpg

from relay.clock import SystemClock

WITHIN = 900.0
"""Seconds that a statement may take."""
_SERIES = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})"
    " INSERT INTO {into} FROM n",
    "postgresql": "INSERT INTO {into} FROM generate_series(CAST(1 AS BIGINT), {count}) AS n(i)",
}
_ID = {"sqlite": "printf('m%015d', i)", "postgresql": "'m' || lpad(i::text, 15, '0')"}
_CONTENT = {
    "sqlite": "CAST('Subject: x' || char(13, 10, 13, 10) || 'hello there' || char(13, 10) AS BLOB)",
    "postgresql": "convert_to('Subject: x' || E'\\r\\n\\r\\n' || 'hello there' || E'\\r\\n', 'UTF8')",
}
_ROWS = (
    """messages (id, tenant_id, sender, priority, accepted_at, size, internet_message_id, source, account_id, eight_bit,
        smtputf8, state)
    SELECT {id}, {tenant}, 'a@bench.example', {priority}, {now}, 27, '<' || i || '@bench.example>', 'rest', '{account}', 0,
        0, 'open'""",
    "contents (message_id, size, inline) SELECT {id}, 27, {content}",
    """recipients (message_id, position, address, delivery, state, attempts)
    SELECT {id}, 0, 'r' || i || '@sink.example', 1, '{state}', {attempts}""",
    """deliveries (message_id, number, tenant_id, queue_key, priority, due, state, attempt)
    SELECT {id}, 1, {tenant}, {tenant} || '/{account}/' || {tenant}, {priority}, {now} + {due}, 'ready', {attempts}""",
)


@dataclass(frozen=True)
class Filling:
    """So many messages of one recipient each. `tenant`, `priority` and `due` (µs from now) are SQL over `i`, the message's
    number, a BIGINT."""

    count: int
    account: str
    tenant: str = "'default'"
    priority: str = "2"
    due: str = "0"
    state: str = "queued"
    attempts: int = 0


def deferred(count: int, account: str) -> Filling:
    """Tried once, put off by an hour and more."""
    return Filling(count, account, due="3600000000 + i * 1000", state="deferred", attempts=1)


async def fill(url: str, filling: Filling) -> None:
    """Write them."""
    dialect = "sqlite" if url.startswith("sqlite:") else "postgresql"
    texts = {
        "id": _ID[dialect],
        "content": _CONTENT[dialect],
        "now": str(SystemClock().now()),
        **{name: str(value) for name, value in vars(filling).items()},
    }
    series = _SERIES[dialect].replace("{count}", texts["count"])
    statements = [series.replace("{into}", into.format(**texts)) for into in _ROWS]
    if dialect == "sqlite":
        await asyncio.to_thread(_fill_sqlite, url.removeprefix("sqlite://"), statements)
        return
    connection = await asyncpg.connect(url)
    for statement in statements:
        await connection.execute(statement, timeout=WITHIN)
    await connection.execute("ANALYZE", timeout=WITHIN)
    await connection.close()


def _fill_sqlite(path: str, statements: list[str]) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
