"""Statements: the SQL of the store, read once from `storage/sql/*.sql` and put into each database's form.

A statement begins with `-- name: what it does`; `-- {name}: …` begins a fragment, which others take in by `{name}`. Values
are written `:name`. A line `-- rows: id text, at bigint` says that the statement works on many rows at once: it sees them as
the table `given`, a VALUES list in SQLite, unnested arrays in PostgreSQL. There it may also ask for some of their columns
where it needs no more, `given(id)`: a row that is joined to one to be changed is copied as it is, with all that it has.
`-- rows: settling(id text, at bigint)`: PostgreSQL has a type of that name, and gets one array of such rows.

`sqlite.sql` and `postgres.sql` hold only what must differ and say why; the other files are shared.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

from storage.work import Values

Dialect = Literal["sqlite", "postgres"]

_HEAD = re.compile(r"^-- (\{[a-z_]+\}|[a-z_]+): .+$", re.MULTILINE)
_ROWS = re.compile(r"^-- rows: (?:([a-z_]+)\()?(.+?)\)?$", re.MULTILINE)
_FRAGMENT = re.compile(r"\{([a-z_]+)\}")
_VALUE = re.compile(r"(?<![:\w]):([a-z_]+)")
_SOME_COLUMNS = re.compile(r"\bgiven\(([a-z0-9_,\s]+)\)")
_PLACEHOLDER = re.compile(r"\$(\d+)")
_BEFORE = "before AS (\n"
_NOTHING_BEFORE = "before AS (SELECT 1 AS written), "
"""The table of a statement that waits for what another writes, which has the other one, where it is alone."""
_COMMENT = re.compile(r"^--.*$\n?", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement in a database's form."""

    name: str
    text: str
    """With its placeholders; of a SQLite statement with rows, what follows the VALUES list."""
    names: tuple[str, ...]
    """The values it takes, in the order of its placeholders."""
    columns: tuple[str, ...] = ()
    """Of `given`; empty where it takes no rows."""
    row_type: str | None = None
    """PostgreSQL's name of their type, where they are given as an array of it."""

    @property
    def parameters(self) -> int:
        """How many placeholders it has."""
        return (1 if self.row_type else len(self.columns)) + len(self.names)

    def bind(self, values: Values) -> list[object]:
        """The values in their order."""
        return list(map(values.__getitem__, self.names))


@cache
def load(dialect: Dialect) -> Mapping[str, Statement]:
    """Every statement by name."""
    sources = dict(read_sources(dialect))
    fragments = {name[1:-1]: text for name, text in sources.items() if name.startswith("{")}
    return {
        name: _render(name, _expand(text, fragments), dialect)
        for name, text in sources.items()
        if not name.startswith("{")
    }


def read_sources(dialect: Dialect) -> list[tuple[str, str]]:
    """Name (a fragment's in braces) and text of every block in the shared files and the dialect's own."""
    other = {"sqlite": "postgres.sql", "postgres": "sqlite.sql"}[dialect]
    found: list[tuple[str, str]] = []
    for file in sorted(resources.files("storage").joinpath("sql").iterdir(), key=lambda file: file.name):
        if file.name.endswith(".sql") and file.name != other:
            found += _split(file.read_text("utf-8"))
    if len({name for name, _ in found}) != len(found):
        raise ValueError("a statement's name is used twice in storage/sql")
    return found


def _split(text: str) -> list[tuple[str, str]]:
    heads = [head for head in _HEAD.finditer(text) if head[1] != "rows"]
    ends = [head.start() for head in heads[1:]] + [len(text)]
    return [(head[1], text[head.end() : end]) for head, end in zip(heads, ends, strict=True)]


def _expand(text: str, fragments: Mapping[str, str]) -> str:
    while found := _FRAGMENT.search(text):
        text = text.replace(found[0], _COMMENT.sub("", fragments[found[1]]).strip())
    return text


def _render(name: str, text: str, dialect: Dialect) -> Statement:
    rows = _ROWS.search(text)
    columns = [tuple(column.split()) for column in rows[2].split(",")] if rows else []
    body = _COMMENT.sub("", text).strip().removesuffix(";")
    names: list[str] = []
    if dialect == "sqlite":
        # One placeholder each, even where a name comes again: numbered and named ones cannot be mixed with a VALUES list.
        names = [found[1] for found in _VALUE.finditer(body)]
        body = _VALUE.sub("?", body)
        return Statement(name, _after_with(body) if columns else body, tuple(names), tuple(c for c, _ in columns))
    return _render_postgres(name, body, columns, rows[1] if rows else None)


def _render_postgres(name: str, body: str, columns: Sequence[tuple[str, ...]], row_type: str | None) -> Statement:
    names: list[str] = []
    first = 1 if row_type else len(columns)

    def number(found: re.Match[str]) -> str:
        if found[1] not in names:
            names.append(found[1])
        return f"${first + names.index(found[1]) + 1}"

    body = _VALUE.sub(number, body)
    arrays = {column: f"${at}::{kind}[]" for at, (column, kind) in enumerate(columns, 1)}

    def unnest(found: re.Match[str]) -> str:
        if row_type:
            return f"unnest($1::{row_type}[]) AS given"
        some = [column.strip() for column in found[1].split(",")]
        return f"unnest({', '.join(arrays[column] for column in some)}) AS given ({', '.join(some)})"

    if _SOME_COLUMNS.search(body):
        body = _SOME_COLUMNS.sub(unnest, body)
    elif columns:
        given = f"given ({', '.join(arrays)}) AS (SELECT * FROM unnest({', '.join(arrays.values())}))"  # noqa: S608 - our own text
        body = f"WITH {given}{_after_with(body)}"
    return Statement(name, body, tuple(names), tuple(arrays), row_type)


@cache
def combine(names: tuple[str, ...]) -> str:
    """PostgreSQL's text of several statements at once, of which none sees what the others write; the last one answers. Its
    placeholders are theirs, one statement after the other. The last one is done first, but for what waits for `before`."""
    if len(names) == 1:
        return load("postgres")[names[0]].text
    tables: list[str] = []
    parts: list[str] = []
    taken = 0
    for name in names:
        statement = load("postgres")[name]
        text = _PLACEHOLDER.sub(lambda found, taken=taken: f"${taken + int(found[1])}", statement.text)  # type: ignore[misc]
        taken += statement.parameters
        if text.startswith("WITH ") and not text.startswith("WITH given "):  # tables that write stand at the top alone
            own, end, text = text.rpartition("\n)\n")
            tables.append(own.removeprefix("WITH ") + end.rstrip())
        parts.append(text)
    tables += [f"part_{at} AS ({text})" for at, text in enumerate(parts[:-1])]
    last = parts[-1]
    if not tables:
        return last
    text = f"WITH {', '.join(tables)}{_after_with(last)}"
    return text.replace(_NOTHING_BEFORE, "") if _BEFORE in text else text


def _after_with(body: str) -> str:
    """What follows `given` in the WITH clause: further tables of the statement's own, or the statement."""
    return f",{body.removeprefix('WITH')}" if body.startswith("WITH ") else f" {body}"
