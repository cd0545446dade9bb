"""Wakes: what workers on one SQLite file tell each other, as PostgreSQL does by NOTIFY: what is ready, what has changed.

A pipe for each worker, made before the first is started, so that it outlives every life of it. What is no longer than
PIPE_BUF is written whole or not at all (POSIX write(2)), so that many may write. Where a pipe is full its reader is told to
look for itself. That the configuration has changed is known at once besides, by a number in memory that all of them see.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import select
from collections.abc import Iterator, Sequence
from typing import Protocol

_PIPE = 1 << 16
_NUMBER = 8


class Hearing(Protocol):
    """Who hears (storage.database.Hearing)."""

    def began(self) -> None:
        """Something may have been missed."""

    def heard(self, payload: str) -> None:
        """Something was told."""


class Wakes:
    """Made by the parent."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.pipes = [os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) for _ in range(count)]
        self._memory = mmap.mmap(-1, (2 * count) * _NUMBER)
        self.numbers = memoryview(self._memory).cast("q")
        """For each worker how often it has changed the configuration, then for each whether it has missed something."""

    def seat(self, number: int) -> Seat:
        """A worker's part."""
        return Seat(self, number)


class Seat:
    """Satisfies storage.database.Peers."""

    def __init__(self, wakes: Wakes, number: int) -> None:
        self._number = number
        self._numbers = wakes.numbers
        self._count = wakes.count
        self._others = [(n, write_end) for n, (_, write_end) in enumerate(wakes.pipes) if n != number]
        self._read_end = wakes.pipes[number][0]
        self._rest = b""

    def note_change(self) -> None:
        """See Peers. Each worker has a number of its own, so that none is lost."""
        self._numbers[self._number] += 1

    def changes(self) -> int:
        """See Peers."""
        return sum(self._numbers[: self._count])

    def tell(self, payloads: Sequence[str]) -> None:
        """See Peers. Never blocks."""
        for piece in _pieces(payloads):
            for number, write_end in self._others:
                try:
                    os.write(write_end, piece)
                except BlockingIOError:
                    self._numbers[self._count + number] = 1
                    self._nudge(write_end)

    def _nudge(self, write_end: int) -> None:
        """The pipe may have been emptied before its reader could see what it has missed."""
        try:
            os.write(write_end, b"\n")
        except BlockingIOError:
            return  # it is full still: its reader looks after the next read

    def listen(self, hearing: Hearing) -> None:
        """See Peers."""
        asyncio.get_running_loop().add_reader(self._read_end, self._read, hearing)

    def _read(self, hearing: Hearing) -> None:
        try:
            octets = os.read(self._read_end, _PIPE)
        except BlockingIOError:
            return
        if self._numbers[self._count + self._number]:
            self._numbers[self._count + self._number] = 0
            hearing.began()
        *lines, self._rest = (self._rest + octets).split(b"\n")
        for line in dict.fromkeys(lines):  # many say the same
            if line:
                hearing.heard(line.decode())


def _pieces(payloads: Sequence[str]) -> Iterator[bytes]:
    """Lines together, as many as go into one write."""
    piece = b""
    for payload in dict.fromkeys(payloads):
        line = payload.encode() + b"\n"
        if len(piece) + len(line) > select.PIPE_BUF:
            yield piece
            piece = b""
        piece += line
    if piece:
        yield piece
