"""Stretches: what a work asks for between two answers."""

from __future__ import annotations

from collections.abc import Sequence

from storage.ordinary import accept_ordinary, accepted_row, settle_ordinary, settled_row
from storage.stretch import advance
from storage.work import Execute, Fetch, Notify, Row, Work
from tests.storage.mail import leased, mail, settled

LEASE = {"holder": "one", "lease": 1}


def mixed() -> Work[int]:
    yield Execute("first", answered=False)
    yield Notify(["a", "b"])
    yield Execute("second", answered=False)
    yield Notify(["b", "c"])
    rows: Sequence[Row] = yield Fetch("third")
    yield Execute("fourth", answered=False)
    changed: int = yield Execute("fifth")
    return len(rows) + changed


def test_what_needs_no_answer_goes_along_with_what_does() -> None:
    work = mixed()
    stretch = advance(work, None)
    assert [step.name for step in stretch.unanswered] == ["first", "second"]
    assert stretch.notes == ["a", "b", "c"]
    assert stretch.step == Fetch("third")
    stretch = advance(work, [(1,), (2,)])
    assert [step.name for step in stretch.unanswered] == ["fourth"]
    assert stretch.step == Execute("fifth")
    stretch = advance(work, 3)
    assert (stretch.unanswered, stretch.notes, stretch.step, stretch.result) == ([], [], None, 5)


def test_an_ordinary_group_needs_no_answer() -> None:
    """So it is one statement."""
    old, new = mail(leased=True), mail()
    accepted, settlement = accepted_row(new), settled(leased(old), whole=True)
    settled_ordinary = settled_row(settlement)
    assert accepted is not None
    assert settled_ordinary is not None

    def group() -> Work[str]:
        yield from accept_ordinary([new], [accepted], LEASE)
        yield from settle_ordinary([settlement], [settled_ordinary], LEASE)
        return "done"

    stretch = advance(group(), None)
    assert [step.name for step in stretch.unanswered] == ["accept_ordinary", "settle_ordinary"]
    assert (stretch.step, stretch.result) == (None, "done")
