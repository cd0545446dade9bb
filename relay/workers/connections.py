"""Connections: how many SMTP clients are connected to all workers together, and from each address, counted exactly.

A table for each worker in memory that all of them share, written by that worker alone: what it counts goes with it when it
dies. Whoever counts holds a lock for some microseconds, so that no two of them take the last place; it is a record lock,
which the kernel gives back when its process dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import struct
from collections.abc import Iterator
from hashlib import blake2b

_TOTAL = struct.Struct("<I")
_ENTRY = struct.Struct("<12sI")
"""A client's address, hashed, and its connections."""
_WAYS = 16
"""Entries in a bucket. There are four for each connection that may be, so a bucket that is full is one in millions."""
_SPARE = 4


class Connections:
    """Made by the parent; `most` connections at once, `most_of_client` from one address."""

    def __init__(self, count: int, most: int, most_of_client: int) -> None:
        self._count = count
        self._most = most
        self._most_of_client = most_of_client
        self._buckets = max(1, most * _SPARE // _WAYS)
        self._span = _ENTRY.size * (1 + self._buckets * _WAYS)  # the first one's place holds the worker's total
        self._file = os.memfd_create("stagepost-connections", os.MFD_CLOEXEC)
        os.ftruncate(self._file, self._span * count)
        self._memory = mmap.mmap(self._file, self._span * count)
        self._secret = os.urandom(16)  # so that nobody can choose addresses of one bucket

    def seat(self, number: int) -> Seat:
        """A worker's part."""
        return Seat(self, number)

    def forget(self, number: int) -> None:
        """A worker has died, and its connections with it."""
        with self._locked():
            self._memory[number * self._span : (number + 1) * self._span] = bytes(self._span)

    def enter(self, number: int, client: str) -> bool | None:
        """Count one more at this worker: True; None where the client has all it may have, False where all have."""
        key = self._key(client)
        with self._locked():
            if sum(self._total(one) for one in range(self._count)) >= self._most:
                return False
            if sum(self._find(one, key)[1] for one in range(self._count)) >= self._most_of_client:
                return None
            place, known = self._find(number, key)
            if not place:
                return False
            _ENTRY.pack_into(self._memory, place, key, known + 1)
            _TOTAL.pack_into(self._memory, number * self._span, self._total(number) + 1)
            return True

    def leave(self, number: int, client: str) -> None:
        """One less."""
        key = self._key(client)
        with self._locked():
            place, known = self._find(number, key)
            if known:
                _ENTRY.pack_into(self._memory, place, key, known - 1)
                _TOTAL.pack_into(self._memory, number * self._span, self._total(number) - 1)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)

    def _key(self, client: str) -> bytes:
        return blake2b(client.encode(), digest_size=12, key=self._secret).digest()

    def _total(self, number: int) -> int:
        total: int = _TOTAL.unpack_from(self._memory, number * self._span)[0]
        return total

    def _find(self, number: int, key: bytes) -> tuple[int, int]:
        """Where a worker's table has a client, or has room for it (0: nowhere), and how many connections it counts."""
        bucket = int.from_bytes(key[:4], "little") % self._buckets
        first = number * self._span + _ENTRY.size * (1 + bucket * _WAYS)
        room = 0
        for place in range(first, first + _ENTRY.size * _WAYS, _ENTRY.size):
            known, connections = _ENTRY.unpack_from(self._memory, place)
            if known == key and connections:
                return place, connections
            if not connections and not room:
                room = place
        return room, 0


class Seat:
    """Satisfies relay.ingress.listener.ConnectionCount for one worker."""

    def __init__(self, connections: Connections, number: int) -> None:
        self._connections = connections
        self._number = number

    def enter(self, client: str) -> bool | None:
        """See ConnectionCount."""
        return self._connections.enter(self._number, client)

    def leave(self, client: str) -> None:
        """See ConnectionCount."""
        self._connections.leave(self._number, client)
