"""Admission: what closes the doors for new mail, with which answer, and when they open again."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from relay.errors import Refusal, Rejected
from relay.intake.admission import LOOK, Admission, Part, is_closed
from relay.metrics import Metrics
from tests.support.clock import FakeClock


def refused(admission: Admission) -> Refusal | None:
    try:
        admission.check()
    except Rejected as rejected:
        return rejected.refusal
    return None


@pytest.mark.parametrize(
    ("level", "was_closed", "closed"),
    [
        (0, False, False),
        (0.99, False, False),
        (1, False, True),
        (9, True, True),
        (0.9, True, True),
        (0.89, True, False),
    ],
)
def test_a_mark_has_a_lower_one(level: float, was_closed: bool, closed: bool) -> None:
    assert is_closed(level, was_closed) is closed


def test_a_full_queue_closes_the_door_and_opens_it_below_nine_tenths() -> None:
    admission = Admission(FakeClock(), Metrics(), max_messages=100)
    seen = []
    for depth in (99, 100, 120, 99, 91, 90, 89, 99, 100):
        admission.depth = depth
        seen.append(refused(admission))
    full = Refusal.QUEUE_FULL
    assert seen == [None, full, full, full, full, full, None, None, full]


class Machine:
    """Figures to look at, and how often that was done."""

    def __init__(self, figure: int) -> None:
        self.figure = figure
        self.looks = 0

    def look(self) -> int:
        self.looks += 1
        return self.figure


@pytest.mark.parametrize(
    ("build", "refusal", "figures"),
    [
        (
            lambda clock, machine: Admission(clock, Metrics(), max_messages=10, free_space=machine.look, min_free=900),
            Refusal.DISK_LOW,
            [(1000, False), (901, False), (900, True), (950, True), (999, True), (1001, False), (0, True)],
        ),
        (
            lambda clock, machine: Admission(clock, Metrics(), max_messages=10, memory=machine.look, max_memory=1000),
            Refusal.MEMORY_LOW,
            [(500, False), (999, False), (1000, True), (901, True), (899, False), (5000, True)],
        ),
    ],
)
def test_disk_and_memory_are_looked_at_once_a_second(
    build: Callable[[FakeClock, Machine], Admission], refusal: Refusal, figures: list[tuple[int, bool]]
) -> None:
    clock, machine = FakeClock(), Machine(figures[0][0])
    admission = build(clock, machine)
    for at, (figure, closed) in enumerate(figures, 1):
        machine.figure = figure
        assert refused(admission) is (refusal if closed else None), figure
        clock.advance(LOOK - 1)
        machine.figure = 1 - figure
        assert refused(admission) is (refusal if closed else None), "looked at too soon"
        assert machine.looks == at
        clock.advance(1)


def test_a_clock_put_back_does_not_blind_it() -> None:
    clock, machine = FakeClock(), Machine(0)
    admission = Admission(clock, Metrics(), max_messages=10, memory=machine.look, max_memory=1000)
    assert refused(admission) is None
    machine.figure = 1000
    clock.step_back(10 * LOOK)
    clock.advance(LOOK)
    assert refused(admission) is Refusal.MEMORY_LOW


def test_memory_is_given_back_while_it_is_short() -> None:
    clock, machine, given_back = FakeClock(), Machine(999), []
    admission = Admission(
        clock,
        Metrics(),
        max_messages=10,
        memory=machine.look,
        max_memory=1000,
        relieve=lambda: given_back.append(machine.figure),
    )
    for machine.figure in (999, 1000, 950, 800):
        refused(admission)
        clock.advance(LOOK)
    assert given_back == [1000, 950]


def test_a_store_that_is_ill_is_nobodys_hysteresis() -> None:
    ailments: list[str | None] = [None, "connection refused", "connection refused", None]
    admission = Admission(FakeClock(), Metrics(), max_messages=10, store=lambda _: ailments.pop(0))
    assert [refused(admission) for _ in range(4)] == [None, Refusal.STORE_DOWN, Refusal.STORE_DOWN, None]


def test_ill_parts_say_what_ails_them_and_are_counted() -> None:
    metrics = Metrics()
    admission = Admission(
        FakeClock(), metrics, max_messages=10, free_space=lambda: 1 << 20, min_free=2 << 20, store=lambda _: "gone"
    )
    admission.depth = 10
    assert admission.ill_parts() == {
        Part.STORE: "gone",
        Part.QUEUE: "10 open deliveries; queue.max_messages is 10",
        Part.DISK: "1 MiB are free; storage.min_free is 2 MiB",
    }
    assert refused(admission) is Refusal.STORE_DOWN
    closed = {part: metrics.registry.get_sample_value("stagepost_admission_closed", {"part": part}) for part in Part}
    assert closed == {Part.STORE: 1, Part.QUEUE: 1, Part.DISK: 1, Part.MEMORY: 0}
    assert metrics.registry.get_sample_value("stagepost_admission_level", {"part": "disk"}) == 2
    assert metrics.registry.get_sample_value("stagepost_admission_refused_total", {"part": "store"}) == 1


def test_stopping_comes_first() -> None:
    admission = Admission(FakeClock(), Metrics(), max_messages=1, store=lambda _: "gone")
    admission.stopping = True
    assert refused(admission) is Refusal.SHUTTING_DOWN


def test_every_rung_has_words_of_its_own() -> None:
    rungs = (Refusal.STORE_DOWN, Refusal.QUEUE_FULL, Refusal.MEMORY_LOW, Refusal.DISK_LOW)
    assert len({str(refusal.reply()) for refusal in rungs}) == len(rungs)
    assert {refusal.reply().code for refusal in rungs} == {451, 452}
    assert {refusal.http_status for refusal in rungs} == {503}
