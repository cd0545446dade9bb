"""How much of the instance's room a way may take: a table."""

from __future__ import annotations

import pytest

from relay.dispatch.room import Room
from relay.dispatch.way import Way


@pytest.mark.parametrize(
    ("in_flight", "capacity", "own", "left"),
    [
        (0, 5, 0, 5),
        (15, 5, 0, 5),
        (18, 5, 0, 2),
        (20, 5, 0, 0),
        (0, 50, 0, 20),
        (1, 50, 1, 17),  # a tenth is for those that have none under way
        (18, 50, 18, 0),
        (19, 50, 18, -1),
        (7, 5, 7, -2),
    ],
)
def test_room(in_flight: int, capacity: int, own: int, left: int) -> None:
    room, way = Room(20, active=True), Way("acme/main")
    room.in_flight, way.capacity, way.in_flight = in_flight, capacity, own
    assert room.left(way) == left
