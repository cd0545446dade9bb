"""A door on loopback with a recording intake behind it, and a client that speaks in octets."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import trustme
import uvloop

from relay.certificates import server_tls
from relay.clock import Clock, SystemClock
from relay.ingress.listener import Listener, SmtpDoor, bind
from relay.ingress.settings import DoorSettings
from tests.ingress.behind import People, RecordingIntake, RecordingObserver

WITHIN = 20.0
"""Seconds after which a test has failed that waits for something."""
SETTINGS = DoorSettings(hostname="relay.example", loopback_tenant="default", auth_failure_delay=0.001)


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

    async def closes_with(self, code: str) -> None:
        """There is one reply more, with this code, and the connection ends."""
        assert [line[:9] for line in await self.rest()] == [code]

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


_ON_BOTH_LOOPS = {"test_tls.py", "test_dialogs.py", "test_limits.py", "test_ends.py"}
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
