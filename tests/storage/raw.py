"""SQLite's writing connection, asked past the store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from storage import Store
from storage.sqlite_writer import SCRIPT
from storage.writing import Writing


def writing_of(store: Store) -> Writing:
    writing: Writing = store._database._writing  # type: ignore[attr-defined]
    return writing


async def run(store: Store, *statements: str) -> Sequence[Sequence[Any]]:
    """The rows of each, outside of a transaction."""
    script = "".join(f"{statement};\n" for statement in statements)
    answers: Sequence[Sequence[Sequence[Any]]] = await writing_of(store)._process.ask(
        (None, [(SCRIPT, script, (), None, 0)], None)
    )
    return answers[0]
