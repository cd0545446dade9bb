"""Work: what a transaction does, written once for both databases and without I/O.

A work is a generator. It yields steps (named statements of `storage/sql` with their values) and is sent their answers; what
it returns is the transaction's result. Each step that is answered is a round trip, to SQLite's process or to PostgreSQL's:
so a work says what it need not be told. Nothing else of them shows in the logic, and a test can drive a work by hand.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from relay.errors import RelayError
from relay.model.quick import quick

T = TypeVar("T")

Row: TypeAlias = Sequence[Any]
"""One row, by position: a tuple of sqlite3 or a Record of asyncpg."""
Values: TypeAlias = Mapping[str, object]
"""Values by name; a statement takes the ones that it names and leaves the others."""
Given: TypeAlias = Sequence[Sequence[object]]
"""Rows for a statement with a `rows:` line, in the order of that line; the statement sees them as the table `given`."""

NO_VALUES: Values = {}


class TooFew(RelayError):
    """A statement changed fewer rows than it must."""


@quick
@dataclass(frozen=True, slots=True)
class Fetch:
    """Answered by the rows of a statement."""

    name: str
    values: Values = field(default_factory=dict)
    given: Given | None = None


@quick
@dataclass(frozen=True, slots=True)
class Execute:
    """Answered by the number of rows that a statement changed."""

    name: str
    values: Values = field(default_factory=dict)
    given: Given | None = None
    answered: bool = True
    """False: the work does not want to know, so nothing has to wait for it; and of those in a row none sees what another
    writes."""
    at_least: int = 0
    """If it changes fewer, the work ends with TooFew, which it does not see itself; PostgreSQL's statement sees to that."""


@dataclass(frozen=True, slots=True)
class Together:
    """Statements that need not see what the others write, in one round trip; answered as the last one."""

    steps: Sequence[Execute]


@quick
@dataclass(frozen=True, slots=True)
class Follow:
    """Part of a chain: a fetch that is given `columns` of what those before it were answered, by their places in the chain;
    each row once."""

    name: str
    after: Sequence[int]
    columns: Sequence[int]

    def after_answers(self, answers: Sequence[Sequence[Row]]) -> Fetch:
        """The fetch that it is, when the former ones have been answered."""
        rows = (tuple(row[at] for at in self.columns) for place in self.after for row in answers[place])
        return Fetch(self.name, NO_VALUES, list(dict.fromkeys(rows)))


@quick
@dataclass(frozen=True, slots=True)
class Chain:
    """Fetches one after the other, in one round trip where that can be; answered by the rows of each. It is the last step of
    its work, so that the commit can go along: what follows cannot undo it."""

    steps: Sequence[Fetch | Follow]


@dataclass(frozen=True, slots=True)
class Lock:
    """Row locks, in the order given, until the transaction ends. SQLite, with its one writer, passes over it."""

    name: str
    given: Given


@quick
@dataclass(frozen=True, slots=True)
class Notify:
    """Payloads for the other instances on this store, or the other processes of this one, sent with the commit."""

    payloads: Sequence[str]


@dataclass(frozen=True, slots=True)
class Script:
    """Statements of a migration."""

    text: str


Step: TypeAlias = Fetch | Execute | Together | Chain | Lock | Notify | Script
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
