"""A door on loopback with a recording intake behind it, and a client that speaks in octets."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

import pytest
import trustme
import uvloop

from relay.clock import Clock, SystemClock
from relay.contracts import Accepted
from relay.errors import Rejected
from relay.ingress.listener import Listener, SmtpDoor, bind, server_tls
from relay.ingress.settings import DoorSettings
from relay.intake.submission import Submission
from relay.model.message import QueueId
from relay.model.reply import Reply
from relay.model.tenant import Credential
from relay.secrets import hash_generated

WITHIN = 20.0
"""Seconds after which a test has failed that waits for something."""
SETTINGS = DoorSettings(hostname="relay.example", loopback_tenant="default", auth_failure_delay=0.001)


@dataclass
class RecordingIntake:
    """Satisfies MessageIntake: takes every message, or fails as it is told."""

    max_size: int = 10_000_000
    max_recipients: int = 100
    refusal: Rejected | None = None
    """Raised at MAIL."""
    before: Exception | None = None
    """Raised before anything is read."""
    midway: Exception | None = None
    """Raised after the first piece."""
    after: Exception | None = None
    """Raised after all is read."""
    keep: bool = True
    gate: asyncio.Event | None = None
    """Commits wait for it."""
    at_commit: asyncio.Event = field(default_factory=asyncio.Event)
    messages: list[tuple[Submission, bytes]] = field(default_factory=list)
    pieces: list[int] = field(default_factory=list)
    faults: list[BaseException] = field(default_factory=list)
    faulted: asyncio.Event = field(default_factory=asyncio.Event)

    def check_admission(self) -> None:
        if self.refusal is not None:
            raise self.refusal

    async def accept(self, submission: Submission) -> Accepted:
        try:
            return await self._accept(submission)
        except BaseException as fault:
            self.faults.append(fault)
            self.faulted.set()
            raise

    async def _accept(self, submission: Submission) -> Accepted:
        if self.before is not None:
            raise self.before
        content = b""
        async for piece in submission.content:
            self.pieces.append(len(piece))
            if self.midway is not None:
                raise self.midway
            if self.keep:
                content += piece
        if self.after is not None:
            raise self.after
        self.at_commit.set()
        if self.gate is not None:
            await self.gate.wait()
        self.messages.append((submission, content))
        return Accepted(QueueId(f"Q{len(self.messages)}"))


@dataclass
class People:
    """Satisfies Credentials."""

    known: dict[str, Credential] = field(default_factory=dict)
    unavailable: Exception | None = None

    def add(
        self,
        username: str,
        secret: str | None = None,
        *networks: IPv4Network | IPv6Network,
        tenant: str = "acme",
        allowed_senders: tuple[str, ...] = (),
    ) -> Credential:
        stored = hash_generated(secret) if secret is not None else None
        credential = Credential(username, tenant, stored, networks, allowed_senders=allowed_senders)
        self.known[username] = credential
        return credential

    async def credential(self, username: str) -> Credential | None:
        if self.unavailable is not None:
            raise self.unavailable
        return self.known.get(username)

    async def credentials(self, tenant: str | None) -> Sequence[Credential]:
        return [one for one in self.known.values() if tenant in {None, one.tenant}]


@dataclass
class RecordingObserver:
    """Satisfies DoorObserver."""

    told: list[str] = field(default_factory=list)
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    def connection_opened(self, peer: str) -> None:
        self.told.append(f"opened {peer}")

    def connection_closed(self, peer: str) -> None:
        self.told.append(f"closed {peer}")
        asyncio.get_running_loop().call_soon(self.closed.set)  # when the door has counted it, too

    def connection_refused(self, peer: str) -> None:
        self.told.append(f"refused {peer}")

    def auth_failed(self, peer: str, username: str) -> None:
        self.told.append(f"auth failed {peer} {username}")

    def message_rejected(self, peer: str, principal: str | None, sender: str, reply: Reply) -> None:
        self.told.append(f"rejected {peer} {principal} <{sender}> {reply.code}")


class Client:
    """Says octets, hears lines."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def say(self, *lines: str) -> None:
        """Lines in one packet."""
        self.send("".join(f"{line}\r\n" for line in lines).encode())

    def send(self, octets: bytes) -> None:
        self.writer.write(octets)

    async def hear(self) -> str:
        """A reply line; "" at the end of the connection."""
        async with asyncio.timeout(WITHIN):
            try:
                line = await self.reader.readline()
            except ConnectionError:
                return ""
        assert not line or line.endswith(b"\r\n")
        return line[:-2].decode("ascii")

    async def hear_reply(self) -> list[str]:
        """All lines of one reply."""
        lines = [await self.hear()]
        while lines[-1][3:4] == "-":
            lines.append(await self.hear())
        return lines

    async def ask(self, line: str) -> str:
        """Say a line; the last line of its reply."""
        self.say(line)
        return (await self.hear_reply())[-1]

    async def greet(self, verb: str = "EHLO") -> list[str]:
        """Greeting and EHLO; the EHLO reply."""
        assert (await self.hear()).startswith("220 ")
        self.say(f"{verb} client.example")
        return await self.hear_reply()

    async def envelope(self, *recipients: str, sender: str = "a@b.example") -> str:
        """MAIL, RCPT and DATA in one packet; DATA's reply."""
        wanted = recipients or ("c@d.example",)
        self.say(f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{one}>" for one in wanted), "DATA")
        for _ in range(1 + len(wanted)):
            assert (await self.hear()).startswith("250 ")
        return await self.hear()

    async def rest(self) -> list[str]:
        """Everything up to the end of the connection."""
        lines = []
        while line := await self.hear():
            lines.append(line)
        return lines

    async def start_tls(self, context: ssl.SSLContext) -> None:
        async with asyncio.timeout(WITHIN):
            await self.writer.start_tls(context, server_hostname="relay.example")

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        """End the connection by RST, as a client does that is killed with octets unread."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@dataclass
class OpenDoor:
    """A door that listens, and what stands behind it."""

    door: SmtpDoor
    port: int
    tls_port: int | None
    intake: RecordingIntake
    people: People
    observer: RecordingObserver
    host: str
    clients: list[Client] = field(default_factory=list)

    async def connect(self, tls: ssl.SSLContext | None = None, *, host: str | None = None) -> Client:
        port = self.port if tls is None else self.tls_port
        server_hostname = None if tls is None else "relay.example"
        async with asyncio.timeout(WITHIN):
            pair = await asyncio.open_connection(host or self.host, port, ssl=tls, server_hostname=server_hostname)
        client = Client(*pair)
        self.clients.append(client)
        return client

    async def greeted(self) -> Client:
        """A client that has said EHLO."""
        client = await self.connect()
        await client.greet()
        return client

    async def until_empty(self) -> None:
        """Every session has ended, and every handshake."""
        async with asyncio.timeout(WITHIN):
            await self.door._empty.wait()

    async def until(self, sessions: int) -> None:
        """So many sessions are left."""
        async with asyncio.timeout(WITHIN):
            while self.door.sessions > sessions:
                self.observer.closed.clear()
                await self.observer.closed.wait()


@dataclass(frozen=True)
class Certificates:
    """A server certificate for relay.example, and who trusts it."""

    server: ssl.SSLContext
    client: ssl.SSLContext


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder: Path = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    issued = authority.issue_cert("relay.example")
    chain = folder / "relay.pem"
    issued.private_key_and_cert_chain_pem.write_to_path(str(chain))
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    return Certificates(server_tls(str(chain)), trusting)


_ON_BOTH_LOOPS = {"test_tls.py", "test_dialogs.py", "test_limits.py"}
"""What depends on how a loop's transports behave; all else runs on the loop that the relay runs on."""


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    both = {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}
    return both if item.path.name in _ON_BOTH_LOOPS else {"uvloop": uvloop.new_event_loop}


OpenADoor = Callable[..., Awaitable[OpenDoor]]


@pytest.fixture
async def open_door() -> AsyncIterator[OpenADoor]:
    """Opens doors: keyword arguments are DoorSettings; `tls` a context; `clock` a clock; `host` where to listen."""
    async with AsyncExitStack() as stack:

        async def opened(
            *,
            tls: ssl.SSLContext | None = None,
            clock: Clock | None = None,
            host: str = "127.0.0.1",
            **settings: object,
        ) -> OpenDoor:
            intake, people, observer = RecordingIntake(), People(), RecordingObserver()
            chosen = replace(SETTINGS, **settings)  # type: ignore[arg-type]  # the callers name the fields
            door = SmtpDoor(intake, people, chosen, clock or SystemClock(), tls=tls, observer=observer)
            sockets = [bind(host, 0)[0] for _ in range(2 if tls else 1)]
            await door.start([Listener(sock, number == 1) for number, sock in enumerate(sockets)])
            ports = [int(sock.getsockname()[1]) for sock in sockets]
            where = "127.0.0.1" if host == "0.0.0.0" else host
            standing = OpenDoor(door, ports[0], ports[1] if tls else None, intake, people, observer, where)

            async def close() -> None:
                for client in standing.clients:
                    client.close()
                await door.stop(WITHIN)

            stack.push_async_callback(close)
            return standing

        yield opened
