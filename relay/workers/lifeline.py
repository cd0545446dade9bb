"""Lifeline: the socket between the parent and one of its workers, as the worker sees it.

The worker says that it is ready and, now and then, that its event loop turns. The parent says which worker has died. The end
of it says that the parent is gone: then nobody would start this worker again or stop it, so it stops by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

HEARTBEAT = 5.0
"""Seconds between a worker's signs of life."""
READY = b"ready"
ALIVE = b"alive"
DIED = b"died "
"""What the parent says, before a worker's number and life."""
_LONGEST = 64


class Lifeline:
    """Satisfies `relay.service.Overseer`."""

    interval: float | None = HEARTBEAT

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        sock.setblocking(False)

    def ready(self) -> None:
        """This worker takes mail."""
        self._say(READY)

    def alive(self) -> None:
        """The event loop turns."""
        self._say(ALIVE)

    def stopping(self) -> None:
        """The parent knows: it said so, or it is gone."""

    def watch(self, *, died: Callable[[int, int], None], orphaned: Callable[[], None]) -> None:
        """Be told of the death of another worker (number, life), and of the parent's. On the running loop."""
        loop = asyncio.get_running_loop()

        def read() -> None:
            try:
                told = self._sock.recv(_LONGEST)
            except BlockingIOError:
                return
            except OSError:
                told = b""
            if told.startswith(DIED):
                number, life = told.removeprefix(DIED).split()
                died(int(number), int(life))
            elif not told:
                loop.remove_reader(self._sock)
                orphaned()

        loop.add_reader(self._sock, read)

    def close(self) -> None:
        """Nothing more is to be told."""
        with contextlib.suppress(RuntimeError):
            asyncio.get_running_loop().remove_reader(self._sock)
        self._sock.close()

    def _say(self, word: bytes) -> None:
        with contextlib.suppress(OSError):  # a parent that does not read is gone, or about to be
            self._sock.send(word)
