"""Migrations: the same history on both databases, and what is refused."""

from __future__ import annotations

import re
from dataclasses import replace
from importlib import resources

import pytest

from relay.errors import StoreError
from storage.migrate import Migration, migrate, read_migrations
from storage.work import script
from tests.storage.conftest import Open

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
