"""Statements: each is known, used and valid on its database, and the hot ones walk an index."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import storage
from storage import Store
from storage.statements import Dialect, combine, load, read_sources

DIALECTS: tuple[Dialect, ...] = ("sqlite", "postgres")
SOURCES = sorted(Path(storage.__file__).parent.glob("*.py"))

HOT = {
    "claim": ("deliveries_ready",),
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
POINTED = (
    "settle_deliveries",
    "release_deliveries",
    "renew_deliveries",
    "change_recipients",
    "claimed_messages",
    "claimed_recipients",
    "late_messages",
    "derive_message_states",
    "set_message_states",
    "recipients_of",
    "message",
    "content",
    "list_all",
    "account_limits",
    "limit_standing",
    "send_stamps",
    "drop_slots",
    "number_sends",
    "log_sends",
    "prune_send_log",
    "contents_after",
    "messages_after",
    "endings",
    "events_after",
    "feed",
    "kept_contents",
    "deliveries_of",
    "addressed_recipients",
    "suspended_messages",
    "reschedule_deliveries",
    "lift_marks",
    "message_with_key",
    "forget_keys",
    "give_up_client_ids",
    "pending_of_batch",
    "delete_some_events",
    "suppresses",
    "suppressed",
    "suppression",
    "list_suppressions",
    "delete_suppression",
    "delete_some_suppressions",
)
"""Statements that go by a primary key and never read a table from end to end."""
TABLES = (
    "(messages|deliveries|recipients|contents|events|attempts|accounts|limits|send_log|slots|idempotency_keys"
    "|suppressions)"
)


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


async def explain(store: Store, name: str) -> str:
    """The plan of a statement, as text."""
    database: Any = store._database
    statement = database._statements[name]
    if database.dialect == "sqlite":
        text = statement.for_rows(8) if statement.columns else statement.text
        values = [None] * (8 * len(statement.columns) + len(statement.names))
        rows = await database._writer.run(lambda raw: raw.execute(f"EXPLAIN QUERY PLAN {text}", values).fetchall())
        return "\n".join(row[3] for row in rows)
    async with database._pool.acquire() as connection:
        await connection.execute("PREPARE explained AS " + statement.text)
        try:
            count = len(statement.columns) + len(statement.names)
            nulls = f"({', '.join(['NULL'] * count)})" if count else ""
            plan = await connection.fetch(f"EXPLAIN EXECUTE explained{nulls}")
        finally:
            await connection.execute("DEALLOCATE explained")
        return "\n".join(row[0] for row in plan)


def scans(plan: str) -> Iterator[str]:
    """The lines of a plan that read one of our tables from end to end."""
    for found in plan.splitlines():
        if re.search(rf"Seq Scan on {TABLES}\b", found):
            yield found
        if re.search(rf"\bSCAN {TABLES}\b", found) and "USING" not in found:
            yield found


async def test_every_statement_is_valid(store: Store) -> None:
    for name in load(store._database.dialect):
        assert await explain(store, name) is not None


async def test_hot_statements_walk_their_index(store: Store) -> None:
    for name, indexes in HOT.items():
        plan = await explain(store, name)
        for index in indexes:
            assert index in plan, f"{name}:\n{plan}"
        assert list(scans(plan)) == [], f"{name}:\n{plan}"
    for name in POINTED:
        plan = await explain(store, name)
        assert list(scans(plan)) == [], f"{name}:\n{plan}"


def test_combined_statements_keep_their_values_apart() -> None:
    alone = load("postgres")["insert_deliveries"]
    text = combine(("insert_contents", "insert_deliveries"))
    first = len(load("postgres")["insert_contents"].columns)
    count = first + len(alone.columns) + len(alone.names)
    assert sorted({int(n) for n in re.findall(r"\$(\d+)", text)}) == list(range(1, count + 1))
