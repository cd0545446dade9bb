"""Serving the application: on TCP sockets that are handed in, or on a Unix socket of mode 0600, with a watchdog.

aiohttp's server waits for ever for the rest of a header or body, and for a client that does not read its answer. Here each
connection is looked at every few seconds, and closed when it has made no request in time or no progress with it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import orjson
from aiohttp import StreamReader, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.web_protocol import RequestHandler

from sidecar_api.problems import MEDIA_TYPE, RETRY_AFTER, UNEXPECTED, Problem, of_status
from sidecar_api.request_ids import REQUEST_ID, SERVER, new_request_id

log = logging.getLogger(__name__)

BACKLOG = 4096
"""Connections that wait to be accepted, as far as the system allows; beyond them a client hears nothing for seconds."""
_FULL = Problem(503, "too_many_connections", "too many connections, try again later")


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds, and octets per second."""

    request: float = 30
    """For the first header of a connection, for a body before a rate is asked of it, for an answer that is not read."""
    idle: float = 75
    """Between requests on a kept connection."""
    look: float = 5
    """How often a connection is looked at."""
    min_rate: int = 1024
    """Of a body, once `request` has passed."""


class Connection(RequestHandler):
    """One connection, and the watch over it."""

    __slots__ = ("_began", "_body_of", "_patience", "_seen", "_unsent", "_watch", "is_local", "when_lost")

    def __init__(self, server: _Server, *, loop: asyncio.AbstractEventLoop, **kwargs: Any) -> None:
        super().__init__(server, loop=loop, **kwargs)
        self._patience = server.patience
        self._watch: asyncio.TimerHandle | None = None
        self._began = 0.0
        self._body_of: object = None
        self._seen = 0
        self._unsent = 0
        self.is_local = False
        """Over the Unix socket."""
        self.when_lost: Callable[[], None] | None = None
        """Told that the client has gone: for an answer that has nothing to send."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.is_local = _is_unix(transport)
        self._began = self._loop.time()
        self._watch = self._loop.call_later(self._patience.look, self._look)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        super().connection_lost(exc)
        if self.when_lost is not None:
            self.when_lost()

    def _look(self) -> None:
        """Close what does not get on; else look again later."""
        if self._is_stalled(self._loop.time()):
            log.info("connection of %s closed: no complete request in time", self.peername or "a local client")
            transport = self.transport
            self.force_close()
            if transport is not None:
                transport.abort()
            return
        self._watch = self._loop.call_later(self._patience.look, self._look)

    def _is_stalled(self, now: float) -> bool:
        patience, request = self._patience, self._current_request
        if request is None:
            # Between requests aiohttp's own timer closes the connection, the first request aside.
            return self._request_count == 0 and now - self._began >= patience.request
        if request is not self._body_of:
            self._body_of, self._began, self._seen = request, now, 0
        received = request.content.total_bytes
        progress, self._seen = received - self._seen, received
        if self.writing_paused and self.transport is not None:
            unsent = self.transport.get_write_buffer_size()
            if unsent != self._unsent:
                self._unsent, self._began = unsent, now
            return now - self._began >= patience.request
        if request.content.is_eof() or self._reading_paused:
            return False  # the wait is ours
        return now - self._began >= patience.request and progress < patience.min_rate * patience.look

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  # aiohttp's signature
    ) -> web.StreamResponse:
        """What is no valid HTTP, as a problem; aiohttp would log a traceback and answer in plain text."""
        if isinstance(exc, ConnectionError) and (self.transport is None or self.transport.is_closing()):
            raise exc  # the client has gone: there is nobody to answer, and nobody is at fault
        if status == 500:
            log.error("a request failed unexpectedly", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun already")
        response = (UNEXPECTED if status == 500 else of_status(status)).response(request_id := new_request_id())
        response.headers.update({REQUEST_ID: request_id, hdrs.SERVER: SERVER})
        response.force_close()
        return response


def _is_unix(transport: asyncio.BaseTransport) -> bool:
    sock = transport.get_extra_info("socket")
    return sock is not None and sock.family == socket.AF_UNIX


def is_local(request: web.BaseRequest) -> bool:
    """Whether the request came over the Unix socket."""
    connection = request.protocol
    return isinstance(connection, Connection) and connection.is_local


class _Doorstep(asyncio.Protocol):
    """Where a connection stands when there are many: one over the network is told so, the command line still comes in."""

    def __init__(self, server: _Server) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast("asyncio.Transport", transport)  # uvloop's is one without being derived from it
        if _is_unix(stream):
            connection = self._server.connection()
            stream.set_protocol(connection)
            connection.connection_made(stream)
            return
        body = orjson.dumps(_FULL.body())
        head = f"HTTP/1.1 503 Service Unavailable\r\nContent-Type: {MEDIA_TYPE}\r\nContent-Length: {len(body)}\r\n"
        stream.write(f"{head}Retry-After: {RETRY_AFTER}\r\nConnection: close\r\n\r\n".encode() + body)
        stream.close()


class _Server(web.Server):
    """Makes a connection for each client, while there is room."""

    def __init__(
        self,
        answer: Callable[[web.Request], Awaitable[web.StreamResponse]],
        *,
        patience: Patience,
        max_connections: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(answer, request_factory=self._request, **kwargs)  # type: ignore[arg-type]  # it makes no others
        self.patience = patience
        self._max_connections = max_connections

    def __call__(self) -> asyncio.Protocol:  # type: ignore[override]  # not only aiohttp's
        return self.connection() if len(self._connections) < self._max_connections else _Doorstep(self)

    def connection(self) -> Connection:
        """For one client more."""
        return Connection(self, loop=self._loop, **self._kwargs)

    def _request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.Request:
        return web.Request(message, payload, protocol, writer, task, self._loop)


class Answering(Protocol):
    """An application."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """The answer to a request, whatever becomes of it."""

    def close(self) -> None:
        """The relay stops: answers that would not end by themselves are to end."""


class _Runner(web.ServerRunner):
    """Starts and stops the server of an application."""

    def __init__(self, app: Answering, server: _Server, *, shutdown_timeout: float) -> None:
        super().__init__(server, shutdown_timeout=shutdown_timeout)
        self._app = app

    async def shutdown(self) -> None:
        self._app.close()


class Site:
    """The application where it is served."""

    def __init__(self, runner: _Runner, socket_path: Path | None) -> None:
        self._runner = runner
        self._socket_path = socket_path

    @property
    def ports(self) -> list[int]:
        """The TCP ports it listens on."""
        return [address[1] for address in self._runner.addresses if isinstance(address, tuple)]

    async def stop(self) -> None:
        """Accept no more; idle connections close at once, running requests have the shutdown timeout."""
        await self._runner.cleanup()
        if self._socket_path is not None:
            self._socket_path.unlink(missing_ok=True)


async def start_site(
    app: Answering,
    *,
    sockets: Sequence[socket.socket] = (),
    unix_path: Path | None = None,
    tls: ssl.SSLContext | None = None,
    patience: Patience = Patience(),  # frozen
    max_connections: int = 500,
    shutdown_timeout: float = 30,
) -> Site:
    """Serve `app` on bound TCP sockets, by TLS alone where there is a context, and on a Unix socket of mode 0600, whose
    callers are admins and always find room.

    OSError where the path is in use by a running relay, or cannot be made.
    """
    server = _Server(
        app.answer,
        patience=patience,
        max_connections=max_connections,
        auto_decompress=False,  # sidecar_api.coding does it, bounded
        access_log=None,
        keepalive_timeout=patience.idle,
        logger=log,
    )
    runner = _Runner(app, server, shutdown_timeout=shutdown_timeout)
    await runner.setup()
    try:
        if unix_path is not None:
            await web.SockSite(runner, bind_unix(unix_path), backlog=BACKLOG).start()
        for one in sockets:
            context = None if one.family == socket.AF_UNIX else tls
            await web.SockSite(runner, one, ssl_context=context, backlog=BACKLOG).start()
    except BaseException:
        await runner.cleanup()
        raise
    return Site(runner, unix_path)


def bind_unix(path: Path) -> socket.socket:
    """A socket that only its owner may connect to. One left behind by a relay that died is replaced."""
    if path.is_socket():
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink()
            else:
                raise OSError(f"another relay is listening on {path}")
    bound = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o177)
    try:
        bound.bind(str(path))
    except BaseException:
        bound.close()
        raise
    finally:
        os.umask(mask)
    bound.setblocking(False)
    return bound
