"""The writer's process as the relay sees it: started, spoken to over a socket, and started again after its death."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import marshal
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias, cast

from relay.errors import StoreUnavailable
from storage import sqlite_writer
from storage.sqlite_writer import LENGTH, Failure, Opening, Request, pack
from storage.work import TooFew

COMMAND: tuple[str, ...] = (sys.executable, "-I", "-S", sqlite_writer.__file__)
"""Followed by the number of its socket's descriptor."""
SHORT_LIFE = 1.0
"""Seconds: so long after the start of one that has died no other is started."""
_NOT_ITS_CONCERN = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
"""What a terminal or a service manager sends to all of a relay's processes: the writer ends after the relay."""

Answered: TypeAlias = Callable[[Any, Failure | None], None]
"""Told of a request's answer, or of its failure."""
LOST = Failure("", 0, "the process that writes to the database has died")

log = logging.getLogger(__name__)


class WriterProcess:
    """One life after the other; `died` is told of the end of each that was not asked for."""

    def __init__(self, died: Callable[[], None]) -> None:
        self._died = died
        self._loop = asyncio.get_running_loop()
        self._link: _Link | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._born = -SHORT_LIFE
        self.is_up = False
        """Whether requests can be sent."""

    async def start(self, opening: Opening) -> str:
        """Answers which journal the database has. Raises StoreUnavailable or what sqlite3 raised."""
        await self._reap()
        if self._loop.time() - self._born < SHORT_LIFE:
            raise StoreUnavailable(f"{LOST.text} again and again")
        self._born = self._loop.time()
        ours, theirs = socket.socketpair()
        with theirs, _signals_held_back():
            self._process = subprocess.Popen(  # noqa: ASYNC220, S603 - it takes a millisecond, and the command is ours
                (*COMMAND, str(theirs.fileno())), pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL
            )
        link: _Link
        _, link = await self._loop.create_connection(lambda: _Link(self._lost), sock=ours)
        try:
            journal: str = await self._ask(link, opening._replace(relay=os.getpid()))
        except BaseException:
            link.close()
            raise
        self._link, self.is_up = link, True
        return journal

    def send(self, request: Request, answered: Answered) -> None:
        """Answers come in the order of the requests."""
        assert self._link is not None  # noqa: S101 - `is_up` says so
        self._link.send(request, answered)

    async def ask(self, request: Request) -> Any:
        """Send and wait."""
        assert self._link is not None  # noqa: S101 - `is_up` says so
        return await self._ask(self._link, request)

    async def close(self) -> None:
        """Have it end, and wait for that."""
        if (link := self._link) is not None:
            self._link, self.is_up = None, False
            link.close()
        await self._reap()

    async def _ask(self, link: _Link, message: tuple[Any, ...]) -> Any:
        future: asyncio.Future[Any] = self._loop.create_future()

        def answered(answer: Any, failure: Failure | None) -> None:
            if future.done():
                return
            if failure is None:
                future.set_result(answer)
            else:
                future.set_exception(error_of(failure))

        link.send(message, answered)
        return await future

    def _lost(self) -> None:
        if self._link is not None:
            self._link, self.is_up = None, False
            self._died()

    async def _reap(self) -> None:
        if self._process is not None:
            status = await asyncio.to_thread(self._process.wait)
            if status:
                log.error("the process that writes to the database has ended with status %d", status)
            self._process = None


class _Link(asyncio.Protocol):
    """The relay's end of the socket."""

    def __init__(self, lost: Callable[[], None]) -> None:
        self._lost = lost
        self._waiting: deque[Answered] = deque()
        self._came = bytearray()
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def send(self, message: tuple[Any, ...], answered: Answered) -> None:
        """A message may be larger than the socket's buffer; there are never more than a few."""
        if self._transport is None:
            answered(None, LOST)
            return
        octets = pack(message)
        self._waiting.append(answered)
        self._transport.write(octets)

    def data_received(self, data: bytes) -> None:
        came = self._came
        came += data
        at, size = 0, len(came)
        while size - at >= LENGTH.size:
            begin = at + LENGTH.size
            end = begin + LENGTH.unpack_from(came, at)[0]
            if end > size:
                break
            is_done, answer = marshal.loads(came[begin:end])  # noqa: S302 - from our own process
            at = end
            if is_done:
                self._waiting.popleft()(answer, None)
            else:
                self._waiting.popleft()(None, Failure(*answer))
        del came[:at]

    def connection_lost(self, _: Exception | None) -> None:
        self._transport = None
        self._lost()
        while self._waiting:
            self._waiting.popleft()(None, LOST)

    def close(self) -> None:
        """After what is still to be sent."""
        if self._transport is not None:
            self._transport.close()


@contextlib.contextmanager
def _signals_held_back() -> Iterator[None]:
    """A process that is started meanwhile never gets them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _NOT_ITS_CONCERN)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def error_of(failure: Failure) -> Exception:
    """As if sqlite3 had raised it here."""
    if failure.kind == sqlite_writer.TOO_FEW:
        return TooFew(failure.text)
    if not failure.kind:
        return StoreUnavailable(failure.text)
    error: sqlite3.Error = getattr(sqlite3, failure.kind)(failure.text)
    error.sqlite_errorcode = failure.code
    return error
