"""Depth: how many deliveries of the whole instance are open, as its workers count what they accept and what they finish."""

from __future__ import annotations

import mmap

_NUMBER = 8


class Depth:
    """Made by the parent. A number for each worker, written by it alone, and one for what was there before."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._memory = mmap.mmap(-1, (count + 1) * _NUMBER)
        self.numbers = memoryview(self._memory).cast("q")

    def seat(self, number: int) -> Seat:
        """A worker's part."""
        return Seat(self, number)

    @property
    def total(self) -> int:
        """What is open."""
        return sum(self.numbers)

    def correct(self, counted: int) -> None:
        """So many were counted in the store; by one worker alone."""
        self.numbers[self._count] += counted - self.total


class Seat:
    """Satisfies relay.intake.admission.Depth for one worker."""

    def __init__(self, depth: Depth, number: int) -> None:
        self._depth = depth
        self._number = number

    @property
    def total(self) -> int:
        """See Depth."""
        return self._depth.total

    def add(self, some: int) -> None:
        """See Depth."""
        self._depth.numbers[self._number] += some

    def correct(self, counted: int) -> None:
        """See Depth."""
        self._depth.correct(counted)
