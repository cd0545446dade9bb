"""Work: what a transaction does, written once for both databases and without I/O.

A work is a generator. It yields steps (named statements of `storage/sql` with their values) and is sent their answers; what
it returns is the transaction's result. SQLite drives a whole work in one hop to its thread, PostgreSQL awaits each step:
neither shows in the logic, and a test can drive a work by hand.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")

Row: TypeAlias = Sequence[Any]
"""One row, by position: a tuple of sqlite3 or a Record of asyncpg."""
Values: TypeAlias = Mapping[str, object]
"""Values by name; a statement takes the ones that it names and leaves the others."""
Given: TypeAlias = Sequence[Sequence[object]]
"""Rows for a statement with a `rows:` line, in the order of that line; the statement sees them as the table `given`."""

NO_VALUES: Values = {}


@dataclass(frozen=True, slots=True)
class Fetch:
    """Answered by the rows of a statement."""

    name: str
    values: Values = field(default_factory=dict)
    given: Given | None = None


@dataclass(frozen=True, slots=True)
class Execute:
    """Answered by the number of rows that a statement changed."""

    name: str
    values: Values = field(default_factory=dict)
    given: Given | None = None


@dataclass(frozen=True, slots=True)
class Together:
    """Statements that need not see what the others write, in one round trip; answered as the last one."""

    steps: Sequence[Execute]


@dataclass(frozen=True, slots=True)
class Lock:
    """Row locks, in the order given, until the transaction ends. SQLite, with its one writer, passes over it."""

    name: str
    given: Given


@dataclass(frozen=True, slots=True)
class Notify:
    """Payloads for the other instances on this store, or the other processes of this one, sent with the commit."""

    payloads: Sequence[str]


@dataclass(frozen=True, slots=True)
class Script:
    """Statements of a migration."""

    text: str


Step: TypeAlias = Fetch | Execute | Together | Lock | Notify | Script
Work: TypeAlias = Generator[Step, Any, T]


def fetch(name: str, values: Values = NO_VALUES, given: Given | None = None) -> Work[Sequence[Row]]:
    """The rows of a statement; none without asking the database where no row is given."""
    if given is not None and not given:
        return ()
    rows: Sequence[Row] = yield Fetch(name, values, given)
    return rows


def fetch_one(name: str, values: Values = NO_VALUES) -> Work[Row | None]:
    """The first row of a statement, or None."""
    rows: Sequence[Row] = yield Fetch(name, values)
    return rows[0] if rows else None


def execute(name: str, values: Values = NO_VALUES, given: Given | None = None) -> Work[int]:
    """How many rows a statement changed; 0 without asking the database where no row is given."""
    if given is not None and not given:
        return 0
    changed: int = yield Execute(name, values, given)
    return changed


def execute_together(*steps: Execute) -> Work[int]:
    """Those that were given rows; how many rows the last of `steps` changed."""
    some = [step for step in steps if step.given]
    if not some:
        return 0
    changed: int = yield Together(some)
    return changed if some[-1] is steps[-1] else 0


def notify(payloads: Sequence[str]) -> Work[None]:
    """Tell the other instances, if anything is to be told."""
    if payloads:
        yield Notify(payloads)


def script(text: str) -> Work[None]:
    """Run the statements of a migration."""
    yield Script(text)
