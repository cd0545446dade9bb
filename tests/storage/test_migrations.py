"""Migrations: the same history on both databases, and what is refused."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from relay.errors import StoreError
from relay.model.message import DeliveryState, MessageState, RecipientState, Source
from storage.accepting import write_delivery, write_recipients
from storage.migrate import Migration, migrate, read_migrations
from storage.rows import write_message
from storage.sqlite_writer import EXECUTE, SCRIPT, connect, run, split_script
from storage.statements import load
from storage.work import script
from tests.storage.conftest import Open
from tests.storage.mail import TENANT, mail

_TABLE = re.compile(r"CREATE TABLE (\w+) \((.*?)^\)", re.MULTILINE | re.DOTALL)
_INDEX = re.compile(r"^CREATE (?:UNIQUE )?INDEX .*;$", re.MULTILINE)
_COLUMN = re.compile(r"^    ([a-z_]+) ", re.MULTILINE)


def schema(text: str) -> dict[str, list[str]]:
    return {name: _COLUMN.findall(columns) for name, columns in _TABLE.findall(text)}


def test_both_databases_have_the_same_history() -> None:
    sqlite, postgres = read_migrations("sqlite"), read_migrations("postgres")
    assert [migration.name for migration in sqlite] == [migration.name for migration in postgres]
    for one, other in zip(sqlite, postgres, strict=True):
        tables = schema(other.text)
        tables.pop("content_chunks", None)  # a file beside SQLite
        assert schema(one.text) == tables
        assert _INDEX.findall(one.text) == _INDEX.findall(other.text)


def test_migrations_are_in_the_package() -> None:
    for dialect in ("sqlite", "postgres"):
        assert resources.files("storage").joinpath("migrations", dialect, "0001_initial.sql").is_file()


async def test_migrating_again_changes_nothing(opened: Open) -> None:
    store = await opened()
    database = store._database
    migrations = read_migrations(database.dialect)
    await database.write(migrate(migrations, 0))
    later = Migration("9999_later", "CREATE TABLE later (id TEXT);\nCREATE TABLE after_it (id TEXT);\n")
    await database.write(migrate([*migrations, later], 0))
    await database.write(script("INSERT INTO after_it VALUES ('x');\n"))
    with pytest.raises(StoreError, match="written by a later version"):
        await database.write(migrate(migrations, 0))


async def test_an_edited_migration_is_refused(opened: Open) -> None:
    store = await opened()
    database = store._database
    first, *rest = read_migrations(database.dialect)
    edited = replace(first, text=first.text + "\n-- edited")
    with pytest.raises(StoreError, match="0001_initial was edited"):
        await database.write(migrate([edited, *rest], 0))


async def test_a_migration_that_fails_leaves_nothing(opened: Open) -> None:
    store = await opened()
    database = store._database
    migrations = read_migrations(database.dialect)
    broken = Migration("9999_broken", "CREATE TABLE half (id TEXT);\nCREATE TABLE half (id TEXT);\n")
    with pytest.raises(Exception, match="half"):
        await database.write(migrate([*migrations, broken], 0))
    await database.write(script("CREATE TABLE half (id TEXT);\n"))
    await database.write(migrate(migrations, 0))


HOT_CHECKS: Sequence[tuple[str, str, type[StrEnum]]] = (
    ("messages", "source", Source),
    ("messages", "state", MessageState),
    ("recipients", "state", RecipientState),
    ("deliveries", "state", DeliveryState),
)


def test_checks_in_cheaper_words_say_the_same(tmp_path: Path) -> None:
    """Of what was written before, too: SQLite's tables stay as they are."""
    path = str(tmp_path / "stagepost.db")
    before, (change,) = read_migrations("sqlite")[:5], read_migrations("sqlite")[5:6]
    assert change.name == "0007_checks"
    new = mail()
    with closing(connect(path)) as connection:
        for migration in before:
            run_script(connection, migration.text)
        connection.execute("INSERT INTO tenants (id, name, created_at) VALUES (?, '', 0)", (TENANT,))
        texts = {name: (one.text, one.columns) for name, one in load("sqlite").items()}
        steps: Sequence[tuple[str, Sequence[object]]] = [
            ("insert_messages", write_message(new.message)),
            ("insert_recipients", next(write_recipients(new))),
            ("insert_deliveries", write_delivery(new)),
        ]
        lease = ("one", 1, 1)  # holder, clock, length
        rows = [(EXECUTE, name, lease if "deliveries" in name else (), [row], 1) for name, row in steps]
        run(connection, texts, ("BEGIN IMMEDIATE", rows, "COMMIT"))
        run(connection, texts, ("BEGIN IMMEDIATE", [(SCRIPT, change.text, (), None, 0)], "COMMIT"))
    with closing(connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT id FROM messages").fetchall() == [(new.message.id,)]
        for table, column, words in HOT_CHECKS:
            ((text,),) = connection.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (table,))
            assert f"{column} IN (" not in text
            (check,) = re.findall(rf"^    {column} .*?CHECK \(([^)]*)\)", text, re.MULTILINE | re.DOTALL)[:1]
            assert set(re.findall(rf"{column} = '(\w+)'", check)) == {word.value for word in words}
            with pytest.raises(sqlite3.IntegrityError, match="CHECK constraint failed"):
                connection.execute(f"UPDATE {table} SET {column} = 'nowhere'")


WRONG = [
    *(f"{table} SET {column} = 'nowhere'" for table, column, _ in HOT_CHECKS),
    "messages SET priority = 4",
    "messages SET smtputf8 = 2",
    "recipients SET reply_code = 99, reply_text = ''",
    "deliveries SET attempt = -1",
    "deliveries SET number = 0",
    "deliveries SET holder = 'nobody'",
]


@pytest.mark.postgres
async def test_types_of_columns_say_what_checks_said(opened: Open, backend: str) -> None:
    """Of what was written before, too: PostgreSQL's tables stay as they are."""
    if backend == "sqlite":
        pytest.skip("its columns have no types of their own")
    store = await opened()
    database: Any = store._database
    new = mail()
    files: dict[str, int] = {}
    async with database._connections.use() as connection:
        await connection.execute("CREATE SCHEMA former; SET search_path = former")
        for migration in read_migrations("postgres"):
            if migration.name == "0008_domains":
                await connection.execute("INSERT INTO tenants (id, name, created_at) VALUES ($1, '', 0)", TENANT)
                for name, row in (
                    ("insert_messages", write_message(new.message)),
                    ("insert_recipients", next(write_recipients(new))),
                    ("insert_deliveries", write_delivery(new)),
                ):
                    statement = load("postgres")[name]
                    values = statement.bind({"holder": "one", "lease": 1, "now": 1, "boot": 1})
                    await connection.execute(statement.text, *[[value] for value in row], *values)
                files = await table_files(connection)
            await connection.execute(f"BEGIN; {migration.text}; COMMIT")
        assert await table_files(connection) == files
        assert await connection.fetchval("SELECT id FROM messages") == new.message.id
        for wrong in WRONG:
            with pytest.raises(asyncpg.CheckViolationError):
                await connection.execute(f"UPDATE {wrong}")
        await connection.execute("RESET search_path")


async def table_files(connection: Any) -> dict[str, int]:
    """Where tables are kept: a table that is rewritten gets a new file."""
    query = "SELECT relname, relfilenode FROM pg_class WHERE relkind = 'r' AND relnamespace = 'former'::regnamespace"
    return {row[0]: row[1] for row in await connection.fetch(query)}


def run_script(connection: sqlite3.Connection, text: str) -> None:
    for statement in split_script(text):
        connection.execute(statement)
