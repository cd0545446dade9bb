"""Statements: each is known, used and valid on its database, and the hot ones walk an index."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

import storage
from storage import Store
from storage.statements import Dialect, Statement, combine, load, read_sources
from storage.work import script
from tests.storage.plans import explain, read_whole

DIALECTS: tuple[Dialect, ...] = ("sqlite", "postgres")
SOURCES = sorted(Path(storage.__file__).parent.glob("*.py"))

HOT = {
    "claim": ("deliveries_ready",),
    "claim_ordinary": ("deliveries_ready",),
    "heads": ("deliveries_ready",),
    "next_dues": ("deliveries_ready",),
    "claim_expired": ("deliveries_expiring",),
    "next_expiry": ("deliveries_expiring",),
    "claim_overdue": ("deliveries_ready",),
    "recover": ("deliveries_leased",),
    "marked_batches": ("deliveries_suspended",),
    "marked_deliveries": ("deliveries_suspended",),
    "batch_names": ("messages_by_batch",),
    "pending_of_tenant": ("messages_by_state",),
    "list_by_tenant": ("messages_by_tenant",),
    "list_by_state": ("messages_by_state",),
    "list_by_batch": ("messages_by_batch",),
    "list_by_client_id": ("messages_by_client_id",),
    "is_open_for_tenant": ("messages_by_state",),
    "message_with_client_id": ("messages_by_client_id",),
    "forget_old_keys": ("idempotency_keys_by_end",),
    "events_of": ("events_by_message",),
    "feed_of_message": ("events_by_message",),
    "attempts_of": ("attempts_by_message",),
    "list_suppressions_by_reason": ("suppressions_by_reason",),
    "forget_old_suppressions": ("suppressions_by_end",),
}
"""Statements and the index that each must use."""
WHOLE = {
    "accounts": "configuration, for its list",
    "applied_migrations": "at the start",
    "client_sides": "configuration, for its list",
    "credentials": "configuration, for its list",
    "delete_commands": "now and then",
    "delete_credentials": "an admin's act",
    "delete_tokens": "an admin's act",
    "delete_tenant": "an admin's act; whether anything refers to it",
    "forget_default_account": "an admin's act",
    "free_pages": "two numbers",
    "is_used": "at the start",
    "is_waited_for": "an admin's act; suspended and leased deliveries, from partial indexes",
    "last_event": "a sequence, which is one row",
    "limit_keys": "once an hour; a row for each limit",
    "open_deliveries": "a count, at the start and now and then, from partial indexes",
    "queue_counts": "a count, at /metrics, from partial indexes",
    "release_all": "at the start; what is leased, from a partial index",
    "release_holder": "at the start, or when a worker dies; what is leased, from a partial index",
    "stray_slots": "at recovery; the slots in flight",
    "tenants": "configuration, for its list",
    "tokens": "configuration, for its list",
    "unswept_tenants": "after a resumption; configuration",
    "used_passwords": "at the start; configuration",
}
"""Statements that read a table or an index from end to end, and why they may: none is on the way of a message. No other
does, on either database."""


def used_names() -> set[str]:
    """Every string in our code that could name a statement."""
    found: set[str] = set()
    for file in SOURCES:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return found


@pytest.mark.parametrize("dialect", DIALECTS)
def test_no_statement_is_unused(dialect: Dialect) -> None:
    composed = {f"delete_{part}" for part in ("contents", "recipients", "deliveries", "attempts", "events", "messages")}
    assert set(load(dialect)) - used_names() - composed == set()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_no_statement_is_unknown(dialect: Dialect) -> None:
    other: Dialect = "postgres" if dialect == "sqlite" else "sqlite"
    known = set(load(dialect)) | set(load(other))
    asked: set[str] = set()
    for file in SOURCES:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {
                "fetch",
                "fetch_one",
                "execute",
                "Execute",
                "lock",
                "Lock",
            }:
                first = node.args[0]
                asked |= {first.value} if isinstance(first, ast.Constant) and isinstance(first.value, str) else set()
    assert asked
    assert asked - known == set()


def test_what_differs_says_why() -> None:
    for dialect in DIALECTS:
        text = (Path(storage.__file__).parent / "sql" / f"{dialect}.sql").read_text()
        blocks = re.split(r"(?m)^-- (?=\{?[a-z_]+\}?: )", text)[1:]
        blocks = [block for block in blocks if not block.startswith("rows: ")]
        heads = [block for block in blocks if "differs" not in block]
        assert heads == []


def test_fragments_are_used() -> None:
    for dialect in DIALECTS:
        sources = dict(read_sources(dialect))
        fragments = [name for name in sources if name.startswith("{")]
        everything = "\n".join(sources.values())
        assert [name for name in fragments if name not in everything] == []


async def test_hot_statements_walk_their_index(store: Store) -> None:
    statements = load(store._database.dialect)
    for name, indexes in HOT.items():
        if name not in statements:  # the other database's
            continue
        plan = await explain(store, statements[name])
        for index in indexes:
            assert index in plan, f"{name}:\n{plan}"


async def test_no_statement_reads_a_table_from_end_to_end_unless_it_may(store: Store) -> None:
    """Every statement is valid, besides."""
    found = {
        name: read
        for name, statement in load(store._database.dialect).items()
        if (read := read_whole(statement, await explain(store, statement)))
    }
    assert {name: read for name, read in found.items() if name not in WHOLE} == {}


def test_what_may_read_a_table_from_end_to_end_is_none_of_the_hot() -> None:
    everything = set(load("sqlite")) | set(load("postgres"))
    assert set(WHOLE) - everything == set()
    assert set(WHOLE) & set(HOT) == set()


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("SELECT id FROM messages WHERE sender = 'a'", True),
        ("SELECT state FROM recipients AS alias WHERE address LIKE '%a'", True),
        ("SELECT message_id, number FROM deliveries ORDER BY message_id, number", True),
        ("UPDATE deliveries SET due = 1 WHERE due + 1 = 2", True),
        ("WITH ones AS (SELECT message_id FROM deliveries WHERE attempt = 1) SELECT * FROM ones", True),
        ("SELECT id FROM messages WHERE id = 'a'", False),
        ("SELECT * FROM (SELECT 1 AS one UNION ALL SELECT 2) AS own", False),
    ],
)
async def test_a_statement_that_reads_from_end_to_end_is_found_out(store: Store, text: str, read: bool) -> None:
    """The control of the test above."""
    statement = Statement("made_up", text, ())
    assert bool(read_whole(statement, await explain(store, statement))) is read


async def test_a_claim_without_its_index_is_found_out(store: Store) -> None:
    """The same for an index that is gone."""
    await store._database.write(script("DROP INDEX deliveries_ready;"))
    await store.queue.heads()  # SQLite sees by a read that its tables have changed
    claim = load(store._database.dialect)["claim"]
    assert "deliveries_ready" not in await explain(store, claim)


@pytest.mark.postgres
async def test_types_of_rows_are_what_statements_take(store: Store, backend: str) -> None:
    if backend == "sqlite":
        pytest.skip("its statements take values")
    typed = [statement for statement in load("postgres").values() if statement.row_type]
    assert typed
    database: Any = store._database
    async with database._connections.use() as connection:
        for statement in typed:
            query = "SELECT attname FROM pg_attribute WHERE attrelid = CAST($1 AS regclass) ORDER BY attnum"
            assert tuple(row[0] for row in await connection.fetch(query, statement.row_type)) == statement.columns


def test_combined_statements_keep_their_values_apart() -> None:
    alone = load("postgres")["insert_deliveries"]
    text = combine(("insert_contents", "insert_deliveries"))
    first = len(load("postgres")["insert_contents"].columns)
    count = first + len(alone.columns) + len(alone.names)
    assert sorted({int(n) for n in re.findall(r"\$(\d+)", text)}) == list(range(1, count + 1))
