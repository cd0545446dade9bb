"""Windows that slide: how many slots are open, and when the next one is, against a count by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.clock import DAY, HOUR, MINUTE
from relay.model.limit import NO_LIMITS, Limits, LimitUnit, OnLimit, Slots
from storage.windows import (
    LENGTHS,
    Division,
    Lengths,
    Limit,
    Meter,
    Stamps,
    Standing,
    Window,
    divide,
    places,
    windows_of,
)

NOW = 1000 * DAY
KEY = "account:acme/main"
TWO = (Window(60, 2),)
THREE = (Window(60, 3),)


@dataclass(frozen=True)
class Grant:
    """How many slots are open to deliveries that take one each, and when the next one is."""

    slots: int
    next_at: int | None


def grant(windows: Sequence[Window], standing: Standing, stamps: Mapping[int, int], wanted: int, now: int) -> Grant:
    meter = Meter(Limit(KEY, tuple(windows)), standing, Stamps((number, 1, at) for number, at in stamps.items()))
    division = divide([meter], (1,) * wanted, now)
    assert not division.over
    return Grant(len(division.granted), division.next_at)


@pytest.mark.parametrize(
    ("limits", "windows"),
    [
        (NO_LIMITS, ()),
        (Limits(per_minute=5), (Window(MINUTE, 5),)),
        (Limits(per_hour=7), (Window(HOUR, 7),)),
        (Limits(5, 70, 900), (Window(MINUTE, 5), Window(HOUR, 70), Window(DAY, 900))),
    ],
)
def test_windows_of_limits(limits: Limits, windows: tuple[Window, ...]) -> None:
    assert windows_of(limits, LENGTHS) == windows
    assert limits.is_set == bool(windows)


def test_tests_may_have_shorter_days() -> None:
    assert windows_of(Limits(1, 2, 3), Lengths(10, 20, 30)) == (Window(10, 1), Window(20, 2), Window(30, 3))


@pytest.mark.parametrize(
    ("windows", "ages", "in_flight", "wanted", "expected"),
    [
        pytest.param(TWO, [], 0, 5, Grant(2, NOW + 60), id="nothing sent yet: as many as the limit says"),
        pytest.param(TWO, [], 0, 2, Grant(2, None), id="all that were wanted"),
        pytest.param(TWO, [], 1, 5, Grant(1, NOW + 60), id="what is in flight counts"),
        pytest.param(TWO, [], 2, 5, Grant(0, NOW + 60), id="all in flight: none before a window has passed"),
        pytest.param(TWO, [], 3, 5, Grant(0, NOW + 60), id="the limit was lowered meanwhile"),
        pytest.param(TWO, [30, 10], 0, 5, Grant(0, NOW + 30), id="full until the older one leaves"),
        pytest.param(TWO, [61, 10], 0, 5, Grant(1, NOW + 50), id="one has left, the other follows"),
        pytest.param(TWO, [60, 10], 0, 1, Grant(1, None), id="it has left when the window is over, not after"),
        pytest.param(TWO, [59, 10], 0, 1, Grant(0, NOW + 1), id="and not before"),
        pytest.param(TWO, [59, 10], 1, 1, Grant(0, NOW + 50), id="one in flight: both must leave"),
        pytest.param(THREE, [50, 40, 30, 20, 10], 0, 1, Grant(0, NOW + 30), id="more sent than the limit, now lowered"),
        pytest.param((*TWO, Window(600, 3)), [300, 200, 100], 0, 1, Grant(0, NOW + 300), id="the strictest decides"),
        pytest.param((*TWO, Window(600, 4)), [300, 200, 100], 0, 5, Grant(1, NOW + 300), id="even for the second"),
    ],
)
def test_slots_and_when_the_next_one_opens(
    windows: tuple[Window, ...], ages: list[int], in_flight: int, wanted: int, expected: Grant
) -> None:
    """`ages`: how long ago each was sent, oldest first."""
    stamps = {number: NOW - age for number, age in enumerate(ages, 1)}
    assert grant(windows, Standing(len(ages), in_flight), stamps, wanted, NOW) == expected


@given(
    windows=st.lists(st.builds(Window, st.integers(1, 50), st.integers(1, 6)), min_size=1, max_size=3),
    ages=st.lists(st.integers(0, 60), max_size=12).map(lambda ages: sorted(ages, reverse=True)),
    in_flight=st.integers(0, 7),
    wanted=st.integers(1, 8),
    pruned=st.booleans(),
)
def test_it_is_what_counting_would_say(
    windows: list[Window], ages: list[int], in_flight: int, wanted: int, pruned: bool
) -> None:
    def open_at(at: int) -> int:
        """By counting, if nothing else happens."""
        return min(w.most - in_flight - sum(stamp + w.length > at for stamp in stamps.values()) for w in windows)

    stamps = {number: NOW - age for number, age in enumerate(ages, 1)}
    standing = Standing(len(ages), in_flight)
    longest = max(window.length for window in windows)
    spans = [*places(Limit(KEY, tuple(windows)), standing, wanted)]
    asked = {n: at for n, at in stamps.items() if any(first <= n <= last for first, last in spans)}
    if pruned:
        asked = {n: at for n, at in asked.items() if at > NOW - longest}
    assert all(1 <= first <= last <= len(ages) and last - first < wanted for first, last in spans)

    granted = grant(windows, standing, asked, wanted, NOW)
    assert granted.slots == min(wanted, max(0, open_at(NOW)))
    if granted.slots == wanted:
        assert granted.next_at is None
    else:
        first = next((at for at in range(NOW, NOW + longest + 1) if open_at(at) > granted.slots), None)
        assert granted.next_at is not None
        if first is None or granted.next_at < first:  # some can come only from what is in flight: not before a window
            assert any(w.most - in_flight <= granted.slots and granted.next_at >= NOW + w.length for w in windows)
        else:
            assert granted.next_at == first


def meter(
    key: str, most: int, *sends: tuple[int, int], unit: LimitUnit, on_limit: OnLimit, in_flight: int = 0
) -> Meter:
    """`sends`: how long ago, and how many slots it took; oldest first."""
    last, rows = 0, []
    for age, weight in sends:
        last += weight
        rows.append((last, weight, NOW - age))
    return Meter(Limit(key, (Window(60, most),), unit, on_limit), Standing(last, in_flight), Stamps(rows))


M, R = LimitUnit.MESSAGES, LimitUnit.RECIPIENTS
DEFER, REJECT = OnLimit.DEFER, OnLimit.REJECT


@pytest.mark.parametrize(
    ("meters", "line", "expected"),
    [
        pytest.param(
            [meter("a", 5, unit=R, on_limit=DEFER)],
            [2, 3, 1],
            Division({0: (Slots("a", 2),), 1: (Slots("a", 3),)}, {}, NOW + 60),
            id="recipients are counted",
        ),
        pytest.param(
            [meter("a", 5, (50, 3), (20, 2), unit=R, on_limit=DEFER)],
            [3],
            Division({}, {}, NOW + 10),
            id="three slots open when the send of three has left",
        ),
        pytest.param(
            [meter("a", 5, (50, 3), (20, 2), unit=R, on_limit=DEFER)],
            [4],
            Division({}, {}, NOW + 40),
            id="four only when the next one has left as well",
        ),
        pytest.param(
            [meter("a", 5, (50, 2), unit=R, on_limit=DEFER)],
            [4, 1],
            Division({}, {}, NOW + 10),
            id="nobody overtakes the first that must wait",
        ),
        pytest.param(
            [meter("a", 2, unit=R, on_limit=DEFER)],
            [9, 1],
            Division({0: (), 1: (Slots("a", 1),)}, {}, None),
            id="what can never go whole is let through without slots, to be divided",
        ),
        pytest.param(
            [meter("a", 1, (10, 1), unit=M, on_limit=REJECT)],
            [1, 1],
            Division({}, {0: "a", 1: "a"}, None),
            id="rejected, each of them",
        ),
        pytest.param(
            [meter("a", 1, unit=M, on_limit=REJECT)],
            [1, 1],
            Division({0: (Slots("a", 1),)}, {1: "a"}, None),
            id="one goes, the other is rejected",
        ),
        pytest.param(
            [meter("a", 9, unit=M, on_limit=DEFER), meter("t", 4, unit=R, on_limit=DEFER)],
            [3, 2],
            Division({0: (Slots("a", 1), Slots("t", 3))}, {}, NOW + 60),
            id="it goes where all limits let it, each counting as it does",
        ),
        pytest.param(
            [meter("a", 1, (10, 1), unit=M, on_limit=DEFER), meter("t", 1, (30, 1), unit=M, on_limit=DEFER)],
            [1],
            Division({}, {}, NOW + 50),
            id="of two closed limits the later one decides",
        ),
        pytest.param(
            [meter("a", 3, unit=R, on_limit=DEFER, in_flight=2)],
            [2],
            Division({}, {}, NOW + 60),
            id="recipients in flight count",
        ),
    ],
)
def test_who_may_go(meters: list[Meter], line: list[int], expected: Division) -> None:
    assert divide(meters, line, NOW) == expected


def test_a_stamp_stands_for_all_the_slots_of_its_send() -> None:
    stamps = Stamps([(3, 3, 100), (4, 1, 200), (9, 2, 300)])
    assert [stamps.of(number) for number in range(11)] == [None, 100, 100, 100, 200, None, None, None, 300, 300, None]
