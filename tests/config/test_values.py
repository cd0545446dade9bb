"""Kinds of values, by table."""

from __future__ import annotations

from typing import Any

import pytest

from relay.clock import DAY, HOUR, MILLISECOND, MINUTE, SECOND, show_duration
from relay.config.values import FLAG, Kind, duration, durations, optional, percent, show_size, size

DURATION: Kind[Any] = duration(0, 365 * DAY)
SIZE: Kind[Any] = size(0, 2**40)


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (DURATION, "500ms", 500 * MILLISECOND),
        (DURATION, "300s", 300 * SECOND),
        (DURATION, "5m", 5 * MINUTE),
        (DURATION, " 1 H ", HOUR),
        (DURATION, "2d", 2 * DAY),
        (DURATION, "1w", 7 * DAY),
        (DURATION, "0s", 0),
        (durations(0, DAY), "1m", (MINUTE,)),
        (durations(0, DAY), "1m, 5m,\n15m", (MINUTE, 5 * MINUTE, 15 * MINUTE)),
        (optional(DURATION), " ", None),
        (SIZE, "0", 0),
        (SIZE, "1024", 1024),
        (SIZE, "64KiB", 64 * 1024),
        (SIZE, "25MiB", 25 * 2**20),
        (SIZE, "10MB", 10_000_000),
        (SIZE, "1 gib", 2**30),
        (SIZE, "5B", 5),
        (percent(50), "0%", 0.0),
        (percent(50), "50%", 0.5),
        (FLAG, "Yes", True),
        (FLAG, "0", False),
    ],
)
def test_read(kind: Kind[Any], text: str, expected: object) -> None:
    assert kind.read(text) == expected


@pytest.mark.parametrize("value", [0, MILLISECOND, SECOND, 90 * SECOND, 5 * MINUTE, HOUR, 7 * DAY])
def test_a_shown_duration_reads_back(value: int) -> None:
    assert DURATION.read(show_duration(value)) == value


@pytest.mark.parametrize("value", [0, 1, 1000, 1024, 64 * 1024, 25 * 2**20, 2**31])
def test_a_shown_size_reads_back(value: int) -> None:
    assert SIZE.read(show_size(value)) == value
