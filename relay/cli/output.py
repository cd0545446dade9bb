"""Output: a table on a terminal, aligned text for a pipe. What came by mail may hold anything, so controls are masked."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click

Columns = Mapping[str, str]
"""Title: where the value stands in a row, as `reply.code`."""


def show_rows(rows: Iterable[Mapping[str, Any]], columns: Columns, *, spare: Sequence[str] = ()) -> None:
    """A list. On a terminal that is too narrow the `spare` columns are left out, the first of them first."""
    cells = [[as_text(pick(row, path)) for path in columns.values()] for row in rows]
    titles = list(columns)
    if sys.stdout.isatty():
        from relay.cli.terminal import show_table

        show_table(titles, cells, spare)
    else:
        _plain_table([[title.upper() for title in titles], *cells])


def show_facts(facts: Mapping[str, Any]) -> None:
    """One thing: a name and a value a line; what is nested is named with dots."""
    pairs = list(_flatten("", facts))
    if sys.stdout.isatty():
        from relay.cli.terminal import show_pairs

        show_pairs(pairs)
        return
    width = max((len(name) for name, _ in pairs), default=0)
    for name, value in pairs:
        click.echo(f"{name:<{width}}  {value}".rstrip())


def csv_writer(columns: Columns) -> Callable[[Iterable[Mapping[str, Any]]], None]:
    """Writes comma-separated values (RFC 4180), whole, the API's names before the first; a list in one cell is separated by
    spaces."""
    import csv

    writer = csv.writer(sys.stdout)
    names = [list(columns.values())]

    def write(rows: Iterable[Mapping[str, Any]]) -> None:
        if names:
            writer.writerow(names.pop())
        writer.writerows([_as_cell(pick(row, path)) for path in columns.values()] for row in rows)

    return write


def clean(text: str) -> str:
    """Without what a terminal would obey."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def pick(row: Mapping[str, Any], path: str) -> Any:
    """What stands at a path with dots, or None."""
    value: Any = row
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def as_text(value: Any) -> str:
    """A value as people read it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{clean(name)}={each}" for name, each in _flatten("", value)) or "-"
    if isinstance(value, Sequence) and not isinstance(value, str):
        # Of things with members, each must be told from the next.
        between = "; " if any(isinstance(each, Mapping) for each in value) else ", "
        return between.join(as_text(each) for each in value) or "-"
    return clean(str(value)) or "-"


def _as_cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " ".join(_as_cell(each) for each in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _flatten(prefix: str, facts: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for name, value in facts.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(f"{prefix}{name}.", value)
        else:
            yield f"{prefix}{name}", as_text(value)


def _plain_table(lines: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
