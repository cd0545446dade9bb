"""The door as a whole: its listening sockets, its sessions and their limits, and how it closes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, cast

from relay.clock import Clock
from relay.errors import Refusal
from relay.ingress.authenticator import Authenticator, Credentials
from relay.ingress.connection import Connection
from relay.ingress.context import DoorContext, MessageIntake
from relay.ingress.data_reader import Pace
from relay.ingress.faults import encode_reply
from relay.ingress.session import Session
from relay.ingress.settings import DoorObserver, DoorSettings, SilentObserver
from relay.ingress.trust import read_client_address

logger = logging.getLogger(__name__)

_BACKLOG = 4096
"""Connections that wait to be accepted, as far as the system allows (net.core.somaxconn). A client beyond them hears nothing
and tries again after seconds; a crowd is rather to be told 421."""
_LAST_WAIT = 1.0
"""Seconds for sessions to end that have been aborted; the process goes on to its end without them."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A bound TCP socket. `implicit_tls`: TLS from the first octet (RFC 8314 §3.3)."""

    sock: socket.socket
    implicit_tls: bool = False


def bind(host: str, port: int) -> tuple[socket.socket, ...]:
    """Bound sockets for every address of `host` (empty: all of this machine). OSError where one is taken."""
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, kind, proto, _, address in dict.fromkeys(found):
            sock = socket.socket(family, kind, proto)
            sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(address)
            sock.setblocking(False)
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return tuple(sockets)


class ConnectionCount(Protocol):
    """Counts connections against their limits, for all doors of an instance."""

    def enter(self, client: str) -> bool | None:
        """Count one more: True. None: its client has all it may have; False: there are as many as there may be."""

    def leave(self, client: str) -> None:
        """One less."""


class OwnCount:
    """The count of a door that is alone."""

    def __init__(self, most: int, most_of_client: int) -> None:
        self._most = most
        self._most_of_client = most_of_client
        self._by_client: Counter[str] = Counter()
        self._total = 0

    def enter(self, client: str) -> bool | None:
        """See ConnectionCount."""
        if self._total >= self._most:
            return False
        if self._by_client[client] >= self._most_of_client:
            return None
        self._total += 1
        self._by_client[client] += 1
        return True

    def leave(self, client: str) -> None:
        """See ConnectionCount."""
        self._total -= 1
        self._by_client[client] -= 1
        if not self._by_client[client]:
            del self._by_client[client]


class SmtpDoor:
    """Build, `start` on sockets, `stop`. One door for all listeners of a process: its limits are over all of them."""

    def __init__(
        self,
        intake: MessageIntake,
        directory: Credentials,
        settings: DoorSettings,
        clock: Clock,
        *,
        tls: ssl.SSLContext | None = None,
        observer: DoorObserver | None = None,
        count: ConnectionCount | None = None,
    ) -> None:
        """`count`: where the limits are over more than this door."""
        self._authenticator = Authenticator(
            directory,
            clock,
            failure_delay=settings.auth_failure_delay,
            failures_per_minute=settings.auth_failures_per_minute,
        )
        pace = Pace(settings.data_timeout, settings.data_grace, settings.min_data_rate)
        self._context = DoorContext(intake, self._authenticator, settings, observer or SilentObserver(), pace, tls)
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._sessions: set[Connection] = set()
        self._count = count or OwnCount(settings.max_connections, settings.max_connections_per_client)
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def sessions(self) -> int:
        """How many there are."""
        return len(self._sessions)

    async def start(self, listeners: Sequence[Listener]) -> None:
        """Listen. The sockets are the door's from now on. ValueError for implicit TLS without a certificate."""
        if self._context.tls is None and any(listener.implicit_tls for listener in listeners):
            raise ValueError("a listener with implicit TLS needs a certificate")
        loop = asyncio.get_running_loop()
        for listener in listeners:
            sock = listener.sock
            at_home = _is_loopback(sock)
            if listener.implicit_tls:
                sock.setblocking(False)
                sock.listen(_BACKLOG)
                self._begin(self._accept_secure(sock, loopback_listener=at_home))
            else:
                arrive = partial(Doorstep, self, loopback_listener=at_home)
                self._servers.append(await loop.create_server(arrive, sock=sock, backlog=_BACKLOG))

    async def stop(self, deadline: float) -> None:
        """Take no connection more. Idle sessions get 421 4.3.2; messages that are coming in may end within `deadline` s."""
        self._stopping = True
        for server in self._servers:
            server.close()
        for task in tuple(self._tasks):
            task.cancel()
        for session in tuple(self._sessions):
            session.shut_down()
        try:
            async with asyncio.timeout(deadline):
                await self._empty.wait()
        except TimeoutError:
            logger.warning("%d SMTP sessions did not end in time", len(self._sessions))
            for session in tuple(self._sessions):
                session.abort()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WAIT):
                    await self._empty.wait()
        self._servers.clear()
        self._authenticator.close()

    def admit(self, peer: str) -> Refusal | None:
        """Why one more connection from `peer` is not taken; None: it is, and counts from now on: a session must follow."""
        if self._stopping:
            return Refusal.SHUTTING_DOWN
        is_in = len(self._sessions) < self._context.settings.max_connections and self._count.enter(peer)
        if is_in:
            return None
        refusal = Refusal.TOO_MANY_CONNECTIONS if is_in is False else Refusal.TOO_MANY_FROM_CLIENT
        self._context.observer.connection_refused(peer)
        return refusal

    def new_session(self, peer: str, *, loopback_listener: bool) -> Session:
        """A session for a connection that was admitted."""
        try:
            session = Session(self._context, peer, self._left, loopback_listener=loopback_listener)
        except BaseException:
            self._count.leave(peer)
            raise
        self._sessions.add(session)
        self._empty.clear()
        return session

    async def _accept_secure(self, sock: socket.socket, *, loopback_listener: bool) -> None:
        """Connections that begin with TLS. Accepted by hand: a handshake counts as a session from its first octet, and
        uvloop cannot begin one on a connection that its own server has accepted without losing the client's hello.
        """
        loop = asyncio.get_running_loop()
        with sock:
            while True:
                try:
                    client, address = await loop.sock_accept(sock)
                except OSError as fault:  # no descriptors left, most likely: others must end first
                    logger.warning("cannot accept connections: %s", fault)
                    await asyncio.sleep(1)
                    continue
                peer = str(address[0])
                if self.admit(peer) is None:
                    session = self.new_session(peer, loopback_listener=loopback_listener)
                    self._begin(self._secure(client, session))
                else:
                    client.close()  # in clear there is nothing it would understand

    async def _secure(self, client: socket.socket, session: Session) -> None:
        """The handshake; with its end the session begins."""
        loop = asyncio.get_running_loop()
        timeout = self._context.settings.handshake_timeout
        try:
            await loop.connect_accepted_socket(
                lambda: session, client, ssl=self._context.tls, ssl_handshake_timeout=timeout
            )
        except (OSError, ssl.SSLError) as fault:
            logger.info("no TLS with %s: %s", session.peer, fault)
            self._left(session)
        except BaseException:
            self._left(session)
            raise

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _left(self, session: Connection) -> None:
        if session not in self._sessions:
            return
        self._sessions.remove(session)
        self._count.leave(session.peer)
        if not self._sessions:
            self._empty.set()


class Doorstep(asyncio.Protocol):
    """Where a connection stands until it is known whether there is room: a session costs a hundred times as much."""

    def __init__(self, door: SmtpDoor, *, loopback_listener: bool) -> None:
        self._door = door
        self._loopback_listener = loopback_listener

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let it in, or say why not."""
        stream = cast("asyncio.Transport", transport)  # uvloop's is one without being derived from it
        peername = stream.get_extra_info("peername")
        peer = str(peername[0]) if peername else ""  # it may have gone already
        if refusal := self._door.admit(peer):
            stream.write(encode_reply(refusal.reply()))
            stream.close()
            return
        session = self._door.new_session(peer, loopback_listener=self._loopback_listener)
        stream.set_protocol(session)
        session.connection_made(stream)


def _is_loopback(sock: socket.socket) -> bool:
    address = read_client_address(str(sock.getsockname()[0]))
    return address is not None and address.is_loopback
