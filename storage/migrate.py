"""Migrations: the schema's history, the same names for both databases, applied in order under a lock.

A migration that was applied is never edited: its checksum is kept with it. A store that knows more than this version was
written by a later one, and is left alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from relay.errors import StoreError
from storage.statements import Dialect
from storage.work import Lock, Work, execute, fetch, script

_HISTORY = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    name       TEXT NOT NULL PRIMARY KEY,
    checksum   TEXT NOT NULL,
    applied_at BIGINT NOT NULL
);
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """`name` such as `0001_initial`."""

    name: str
    text: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, in hex."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def read_migrations(dialect: Dialect) -> Sequence[Migration]:
    """All of a database, in order."""
    folder = resources.files("storage").joinpath("migrations", dialect)
    files = sorted(folder.iterdir(), key=lambda file: file.name)
    return [Migration(file.name.removesuffix(".sql"), file.read_text("utf-8")) for file in files]


def migrate(migrations: Sequence[Migration], now: int) -> Work[None]:
    """Bring the schema up to date. StoreError where its history is not ours."""
    yield Lock("lock_configuration", [("migration",)])
    yield from script(_HISTORY)
    applied = {name: checksum for name, checksum in (yield from fetch("applied_migrations"))}  # noqa: C416 - records
    known = {migration.name for migration in migrations}
    if unknown := sorted(applied.keys() - known):
        raise StoreError(
            f"the store was written by a later version (it knows {unknown[-1]}): run that version, "
            "or restore the backup taken before the upgrade"
        )
    for migration in migrations:
        checksum = applied.get(migration.name)
        if checksum is None:
            yield from script(migration.text)
            values = {"name": migration.name, "checksum": migration.checksum, "applied_at": now}
            yield from execute("record_migration", values)
        elif checksum != migration.checksum:
            raise StoreError(
                f"migration {migration.name} was edited after it had been applied: install the released files again"
            )
