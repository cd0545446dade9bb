"""Room: how many deliveries the instance may hold at once, how many it holds, and whether it takes on any more."""

from __future__ import annotations

from relay.dispatch.way import Way

KEPT_FREE = 10
"""One slot of so many is for accounts that use none: a few slow ones cannot take the instance."""


class Room:
    """The instance's, across all its ways."""

    __slots__ = ("_kept_free", "_max_concurrent", "active", "in_flight", "stopping")

    def __init__(self, max_concurrent: int, *, active: bool) -> None:
        self._max_concurrent = max_concurrent
        self._kept_free = max_concurrent // KEPT_FREE
        self.active = active
        """Whether anything is attempted."""
        self.stopping = False
        """Nothing new is begun any more."""
        self.in_flight = 0
        """Deliveries from a slot to the end of their lease, and slots of claims on their way: what the instance may hold."""

    def left(self, way: Way) -> int:
        """How many more slots this way may take of the instance's, and of its own; below zero where it has too many."""
        room = self._max_concurrent - self.in_flight
        if way.in_flight:
            room -= self._kept_free
        return min(way.room, room)
