"""The watchdog over connections, room for large bodies, stopping, the Unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sidecar_api.app import App
from sidecar_api.bodies import BodyMemory
from sidecar_api.site import Patience, Site, start_site
from tests.sidecar_api.conftest import Door, filled_directory, listening, services_of
from tests.sidecar_api.memory import Archive, RecordingIntake

CROWD = min(300, int(Path("/proc/sys/net/core/somaxconn").read_text()))
BRIEF = Patience(request=0.2, idle=5, look=0.05, min_rate=10_000)
HEAD = b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a-all\r\nContent-Type: application/json\r\n"


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    archive = Archive()
    app = App(services_of(RecordingIntake(archive), archive, filled_directory(), {}, 1_000_000))
    one = await start_site(app, sockets=[listening()], patience=BRIEF, shutdown_timeout=1)
    yield one
    await one.stop()


@pytest.mark.parametrize(
    "octets",
    [b"", b"GET /health/live HT", HEAD, HEAD + b"Content-Length: 100\r\n\r\n", HEAD + b"Content-Length: 9\r\n\r\n{"],
)
async def test_a_request_that_is_not_completed_is_closed(site: Site, octets: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.ports[0])
    writer.write(octets)
    async with asyncio.timeout(20):
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
    writer.close()


async def test_a_body_that_drips_too_slowly_is_closed(site: Site) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.ports[0])
    writer.write(HEAD + b"Content-Length: 100000\r\n\r\n")
    closed = asyncio.ensure_future(reader.read())
    async with asyncio.timeout(20):
        while not closed.done():
            writer.write(b"x")
            await asyncio.wait([closed], timeout=0.02)
    assert closed.exception() is not None or closed.result() == b""
    writer.close()


async def test_a_kept_connection_serves_on_after_that_time(site: Site) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.ports[0])
    loop = asyncio.get_running_loop()
    until = loop.time() + 3 * BRIEF.request
    served = 0
    while loop.time() < until:
        writer.write(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        assert b" 200 OK" in head
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        served += 1
    assert served > 1
    writer.close()


async def test_beyond_its_connections_it_says_so_and_the_command_line_still_comes_in() -> None:
    archive = Archive()
    app = App(services_of(RecordingIntake(archive), archive, filled_directory(), {}, 1000))
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as bound:
        bound.setblocking(False)
        path = Path(folder) / "api.sock"
        site = await start_site(app, sockets=[bound], unix_path=path, max_connections=2)
        tcp = next(port for port in site.ports if port)
        kept = [await asyncio.open_connection("127.0.0.1", tcp) for _ in range(2)]
        await _served(*kept[1])
        reader, writer = await asyncio.open_connection("127.0.0.1", tcp)
        answer = await asyncio.wait_for(reader.read(), 5)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: 5\r\n" in answer
        assert b'"code":"too_many_connections"' in answer
        writer.close()
        local = await asyncio.open_unix_connection(path)
        await _served(*local)
        local[1].close()
        kept.pop()[1].close()
        async with asyncio.timeout(20):
            while True:
                again = await asyncio.open_connection("127.0.0.1", tcp)
                again[1].write(b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                said = await again[0].read()
                again[1].close()
                if b" 200 OK" in said:
                    break
        for _, writer in kept:
            writer.close()
        await site.stop()


async def _served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b" 200 OK" in await asyncio.wait_for(reader.readuntil(b"}"), 5)


async def test_stopping_closes_idle_connections(site: Site) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.ports[0])
    writer.write(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
    await asyncio.wait_for(reader.readuntil(b"}"), 5)
    await asyncio.wait_for(site.stop(), 5)
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()


async def test_a_socket_left_behind_is_replaced_and_one_in_use_is_not() -> None:
    archive = Archive()

    def app() -> App:
        return App(services_of(RecordingIntake(archive), archive, filled_directory(), {}, 1000))

    with tempfile.TemporaryDirectory() as folder:  # a socket's path must be short
        path = Path(folder) / "api.sock"
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
        first = await start_site(app(), unix_path=path)
        with pytest.raises(OSError, match="another relay is listening"):
            await start_site(app(), unix_path=path)
        await first.stop()
        assert not path.exists()


async def test_body_memory_is_given_in_turn() -> None:
    memory = BodyMemory(100)
    order: list[str] = []
    gates = {name: asyncio.Event() for name in "abc"}

    async def hold(name: str, size: int) -> None:
        async with memory.held(size):
            order.append(name)
            await gates[name].wait()

    tasks = {name: asyncio.ensure_future(hold(name, size)) for name, size in (("a", 80), ("b", 500), ("c", 10))}
    await asyncio.sleep(0)
    assert order == ["a"]  # b needs all there is; c has room, but came later
    gates["a"].set()
    await tasks["a"]
    await asyncio.sleep(0)
    assert order == ["a", "b"]
    tasks["b"].cancel()
    await asyncio.wait([tasks["b"]])
    await asyncio.sleep(0)
    assert order == ["a", "b", "c"]
    gates["c"].set()
    await tasks["c"]


async def test_who_gives_up_waiting_lets_the_next_one_in() -> None:
    memory = BodyMemory(100)
    entered = asyncio.Event()

    async def enter(size: int) -> None:
        async with memory.held(size):
            entered.set()

    async with memory.held(60):
        large = asyncio.ensure_future(enter(100))
        small = asyncio.ensure_future(enter(30))
        await asyncio.sleep(0)
        assert not entered.is_set()
        large.cancel()
        await asyncio.wait_for(small, 20)
        assert entered.is_set()


@pytest.mark.parametrize(
    ("path", "media_type"), [("/v1/messages", "application/json"), ("/v1/messages/raw", "message/rfc822")]
)
@pytest.mark.parametrize("begun", [b"", b"From: a@a.example\r\n"])
async def test_a_client_that_goes_away_is_no_fault_of_ours(
    door: Door, caplog: pytest.LogCaptureFixture, path: str, media_type: str, begun: bytes
) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", door.port)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a-all\r\nContent-Type: {media_type}\r\n"
    writer.write(head.encode() + b"Content-Length: 1000\r\n\r\n" + begun)
    await writer.drain()
    assert (await door.ask("GET", "/health/live")).status == 200  # the other one is in its handler by now
    writer.close()
    await writer.wait_closed()
    for _ in range(3):
        assert (await door.ask("GET", "/health/live")).status == 200
    assert [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING] == []


async def test_a_crowd_that_comes_at_once_is_heard(site: Site) -> None:
    """Nobody's connection is dropped by the system while the door is busy with something else: here, with this test."""
    with contextlib.ExitStack() as open_ones:
        for _ in range(CROWD):
            open_ones.enter_context(socket.create_connection(("127.0.0.1", site.ports[0]), timeout=1))
