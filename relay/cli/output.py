"""Output: a table on a terminal, aligned text for a pipe. What came by mail may hold anything, so controls are masked."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

Columns = Mapping[str, str]
"""Title: where the value stands in a row, as `reply.code`."""


def show_rows(rows: Iterable[Mapping[str, Any]], columns: Columns) -> None:
    """A list."""
    cells = [[_text(_pick(row, path)) for path in columns.values()] for row in rows]
    titles = list(columns)
    if sys.stdout.isatty():
        _rich_table(titles, cells)
    else:
        _plain_table([[title.upper() for title in titles], *cells])


def show_facts(facts: Mapping[str, Any]) -> None:
    """One thing: a name and a value a line; what is nested is named with dots."""
    pairs = list(_flatten("", facts))
    width = max((len(name) for name, _ in pairs), default=0)
    for name, value in pairs:
        click.echo(f"{name:<{width}}  {value}".rstrip())


def clean(text: str) -> str:
    """Without what a terminal would obey."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _pick(row: Mapping[str, Any], path: str) -> Any:
    value: Any = row
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{clean(str(name))}={_text(each)}" for name, each in value.items()) or "-"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_text(each) for each in value) or "-"
    return clean(str(value)) or "-"


def _flatten(prefix: str, facts: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for name, value in facts.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(f"{prefix}{name}.", value)
        else:
            yield f"{prefix}{name}", _text(value)


def _plain_table(lines: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _rich_table(titles: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for title in titles:
        table.add_column(title, overflow="fold")
    for line in lines:
        table.add_row(*(Text(cell, style=_style(cell)) for cell in line))
    Console().print(table)


def _style(cell: str) -> str:
    return {"sent": "green", "failed": "red", "expired": "red", "deferred": "yellow", "held": "yellow"}.get(cell, "")
