"""Plans: how a database would run a statement, and which of our tables or indexes it would read from end to end.

EXPLAIN is asked on an empty store, with the settings of the relay's own sessions: what it says does not hang on statistics.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from storage import Store
from storage.sqlite_writer import with_rows
from storage.statements import Statement
from tests.storage.raw import run

_NAMED = re.compile(
    r"(?:\b(\w+)(?:\s*\([^()]*\))?\s+AS\s+(?:MATERIALIZED\s+)?\()|(?:(?:\)|\bgiven)\s+AS\s+(\w+))", re.IGNORECASE
)
"""Tables that exist in the statement alone: of a WITH clause, or a SELECT with a name."""
_SCAN = re.compile(r"^SCAN (\S+)(?: USING (?:COVERING )?INDEX (\S+))?")


async def explain(store: Store, statement: Statement) -> str:
    """The plan, as text: SQLite's, or PostgreSQL's as JSON."""
    database: Any = store._database
    if database.dialect == "sqlite":
        text = with_rows(statement.text, statement.columns, 8) if statement.columns else statement.text
        (rows,) = await run(store, f"EXPLAIN QUERY PLAN {text.replace('?', 'NULL')}")
        return "\n".join(row[3] for row in rows)
    async with database._connections.use() as connection:
        await connection.execute("PREPARE explained AS " + statement.text)
        try:
            nulls = f"({', '.join(['NULL'] * statement.parameters)})" if statement.parameters else ""
            (plan,) = await connection.fetchrow(f"EXPLAIN (FORMAT JSON) EXECUTE explained{nulls}")
        finally:
            await connection.execute("DEALLOCATE explained")
        return str(plan)


def read_whole(statement: Statement, plan: str) -> list[str]:
    """What is read from end to end; what stops at the first row, as a minimum does, is not."""
    if plan.startswith("["):
        return sorted(set(_walk(json.loads(plan)[0]["Plan"], stops=False)))
    made = {name for names in _NAMED.findall(statement.text) for name in names} | {"given"}
    found = (_SCAN.match(line) for line in plan.splitlines() if "VIRTUAL TABLE" not in line)
    return sorted(
        {scan[2] or scan[1] for scan in found if scan and not (scan[1] in made or re.match(r"[\d(]|CONSTANT", scan[1]))}
    )


def _walk(node: dict[str, Any], stops: bool) -> Iterator[str]:
    kind = node["Node Type"]
    if kind == "Seq Scan":
        yield node["Relation Name"]
    elif kind in {"Index Scan", "Index Only Scan", "Bitmap Index Scan"} and "Index Cond" not in node and not stops:
        yield node["Index Name"]
    for part in node.get("Plans", ()):
        yield from _walk(part, stops=kind == "Limit")
