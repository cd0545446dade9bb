"""Events as a stream, over real sockets: none lost and none twice while mail flows and connections break; who may read it,
how long, how many; who does not read is cut off."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from relay.clock import MILLISECOND, SECOND
from relay.contracts.feed import FeedFilter, FeedPage
from relay.model.event import Event, EventKind
from relay.model.message import QueueId
from sidecar_api import operations
from sidecar_api.client import ApiError, Client
from sidecar_api.streams import StreamTerms
from tests.sidecar_api.conftest import open_door
from tests.sidecar_api.memory import NOW, MemoryFeed
from tests.sidecar_api.whole import Whole, whole_door
from tests.support.clock import FakeClock

PLACE = "/v1/events/stream"
LETTER = {"from": "a@example.com", "to": ["b@example.net"], "subject": "hi", "text": "hello"}
TERMS = StreamTerms(retry=10 * MILLISECOND, per_caller=3, total=5)


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Whole]:
    async with whole_door(tmp_path, streams=TERMS) as one:
        yield one


@contextlib.asynccontextmanager
async def streaming(
    door: Whole, token: str | None = None, **query: str
) -> AsyncIterator[tuple[aiohttp.ClientResponse, AsyncIterator[bytes]]]:
    """An open stream, and its blocks."""
    headers = {"Authorization": f"Bearer {token or door.token}"}
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{door.url}{PLACE}", params=query, headers=headers) as response,
    ):
        yield response, blocks(response)


async def blocks(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """What stands between empty lines."""
    rest = b""
    async for piece in response.content.iter_any():
        *whole, rest = (rest + piece).split(b"\n\n")
        for block in whole:
            yield block


async def rest_of(stream: AsyncIterator[bytes]) -> list[bytes]:
    """All blocks until the end."""
    return [block async for block in stream]


async def send(door: Whole, count: int) -> None:
    for _ in range(count):
        await door.acme.request("POST", "/v1/messages", json=LETTER)


async def all_events(door: Whole) -> list[Any]:
    found: list[Any] = []
    after = "0"
    while True:
        page = await door.acme.request("GET", "/v1/events", query={"after": after, "limit": "100"})
        found += page["items"]
        after = page["next_cursor"]
        if not page["more"]:
            return found


class Breaking:
    """A way to the door that is cut again and again, in the middle of anything."""

    def __init__(self, port: int, octets: int) -> None:
        self._port = port
        self._octets = octets
        self.cuts = 0
        self._serving: set[asyncio.Task[None]] = set()

    def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._serving.add(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind, before = await asyncio.open_connection("127.0.0.1", self._port)
        asking = asyncio.create_task(self._pass(reader, before))
        left = self._octets
        while left and (piece := await behind.read(left)):
            left -= len(piece)
            writer.write(piece)
        self.cuts += not left
        for end in (before, writer):
            end.close()
        await asyncio.gather(asking, before.wait_closed(), writer.wait_closed(), return_exceptions=True)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65536):
            writer.write(piece)
        writer.close()

    async def ended(self) -> None:
        await asyncio.gather(*self._serving)


async def test_resumption_loses_none_and_doubles_none_while_mail_flows(door: Whole) -> None:
    count = 60
    way = Breaking(int(door.url.rpartition(":")[2]), 4000)
    server = await asyncio.start_server(way.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with Client(url, token=door.token) as client:
        sending = asyncio.create_task(send(door, count))
        query = {"limit": 2 * count}  # accepted and captured
        async with asyncio.timeout(60):
            found = [event async for event in client.follow(operations.STREAM_EVENTS, query=query)]
        await sending
    server.close()
    await way.ended()
    assert way.cuts > 3
    assert found == await all_events(door)
    assert len(found) == 2 * count


async def test_it_is_told_at_once_and_goes_on_from_an_id(door: Whole) -> None:
    async with streaming(door, after="latest") as (response, stream):
        assert response.headers["Content-Type"] == "text/event-stream"
        assert response.headers["Cache-Control"] == "no-store"
        first = await anext(stream)
        assert first.splitlines() == [b"retry: 10", b"id: 0"]
        await send(door, 1)
        ids = []
        for kind in ("accepted", "captured"):
            number, data = (await anext(stream)).splitlines()
            event = orjson.loads(data.removeprefix(b"data: "))
            assert (event["kind"], b"id: %d" % event["sequence"]) == (kind, number)
            ids.append(event["sequence"])
    headers = {"Last-Event-ID": str(ids[0])}
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {door.token}", **headers}) as session:
        address = f"{door.url}{PLACE}?after=0&limit=1"  # of the first request: the id is newer
        async with session.get(address) as response:
            again = (await rest_of(blocks(response)))[1]
    assert again.startswith(b"id: %d\n" % ids[1])


async def test_filters_and_places(door: Whole) -> None:
    await send(door, 3)
    one = (await door.acme.request("POST", "/v1/messages", json=LETTER))["id"]
    await door.captured(one)
    query = {"kind": "captured", "limit": "4"}
    captured = [event async for event in door.acme.follow(operations.STREAM_EVENTS, query=query)]
    assert captured == [event for event in await all_events(door) if event["kind"] == "captured"]
    of_one = door.acme.follow(operations.STREAM_EVENTS, query={"message": one, "limit": 2})
    assert [event["kind"] async for event in of_one] == ["accepted", "captured"]
    for bad in ({"after": "x"}, {"limit": "0"}, {"kind": "x"}):
        with pytest.raises(ApiError) as caught:
            await door.acme.request("GET", PLACE, query=bad)
        assert caught.value.status == 422
    with pytest.raises(ApiError) as caught:
        await door.acme.request("GET", PLACE, headers={"Last-Event-ID": "x"})
    assert caught.value.status == 422


async def test_a_tenant_sees_its_own(door: Whole) -> None:
    other = await door.admin.request("POST", "/v1/tenants", json={"id": "other"})
    made = {"id": "keep", "kind": "capture", "default": True}
    async with Client(door.url, token=other["token"]) as theirs:
        await theirs.request("POST", "/v1/accounts", json=made)
        await send(door, 2)
        mine = await theirs.request("POST", "/v1/messages", json=LETTER)
        await send(door, 2)
        seen = [event async for event in theirs.follow(operations.STREAM_EVENTS, query={"limit": 2})]
        assert {event["message"] for event in seen} == {mine["id"]}
        with pytest.raises(ApiError) as caught:
            await theirs.request("GET", PLACE, query={"tenant": "acme"})
        assert caught.value.status == 404
    named = door.admin.follow(operations.STREAM_EVENTS, query={"tenant": "other", "limit": 2})
    assert [event async for event in named] == seen


async def test_a_revoked_token_reads_no_further(door: Whole) -> None:
    made = await door.admin.request("POST", "/v1/tokens", json={"name": "r", "tenant": "acme", "scopes": ["read"]})
    async with streaming(door, made["token"]) as (_, stream):
        await anext(stream)
        await door.admin.request("DELETE", f"/v1/tokens/{made['id']}")
        async with asyncio.timeout(20):
            end = await rest_of(stream)
    assert end == [b": this token is not known, or has expired or been revoked"]


async def test_an_expired_token_reads_no_further_than_a_heartbeat(tmp_path: Path) -> None:
    clock = FakeClock()
    async with whole_door(tmp_path, clock) as door:
        asked = {"name": "r", "tenant": "acme", "expires_at": "+1m"}
        made = await door.admin.request("POST", "/v1/tokens", json=asked)
        async with streaming(door, made["token"]) as (_, stream):
            await anext(stream)
            for _ in range(3):
                await clock.until_slept(clock.now() + 15 * SECOND)
                clock.advance(15 * SECOND)
                assert await anext(stream) == b":"
            await clock.until_slept(clock.now() + 15 * SECOND)
            clock.advance(15 * SECOND)
            assert len(await rest_of(stream)) == 1


async def test_a_heartbeat_says_how_far_it_was_looked(tmp_path: Path) -> None:
    clock = FakeClock()
    async with whole_door(tmp_path, clock) as door, streaming(door, kind="sent") as (_, stream):
        assert (await anext(stream)).endswith(b"\nid: 0")
        await clock.until_slept(clock.now() + 15 * SECOND)
        sent = await door.acme.request("POST", "/v1/messages", json=LETTER)
        await door.captured(sent["id"])
        last = (await all_events(door))[-1]["sequence"]
        clock.advance(15 * SECOND)
        assert await anext(stream) == b":\nid: %d" % last


async def test_how_many_there_may_be(door: Whole) -> None:
    async with contextlib.AsyncExitStack() as opened:
        for _ in range(TERMS.per_caller):
            await anext((await opened.enter_async_context(streaming(door)))[1])
        with pytest.raises(ApiError) as caught:
            await door.acme.request("GET", PLACE)
        assert (caught.value.status, caught.value.code, caught.value.retry_after) == (429, "too_many_streams", 15)
        other = (await door.admin.request("POST", "/v1/tokens", json={"name": "o", "tenant": "acme"}))["token"]
        for _ in range(TERMS.total - TERMS.per_caller):
            await anext((await opened.enter_async_context(streaming(door, other)))[1])
        async with streaming(door, other) as (response, _):
            assert response.status == 503
            assert response.headers["Retry-After"] == "15"
        local = door.admin.follow(operations.STREAM_EVENTS, query={"limit": 1, "after": "latest"})
        seen = asyncio.ensure_future(anext(local))  # the command line finds a place
        while not seen.done():
            await send(door, 1)
        assert (await seen)["kind"] == "accepted"
    async with asyncio.timeout(20):  # those that have gone leave their places at once
        while True:
            async with streaming(door) as (response, _):
                if response.status == 200:
                    break


class Flood(MemoryFeed):
    """Has more events than anybody reads."""

    def __init__(self) -> None:
        self.pages = 0

    async def page(self, wanted: FeedFilter) -> FeedPage:
        """Full."""
        self.pages += 1
        facts = {"reply": "x" * 1000}
        found = [
            Event(EventKind.SENT, NOW, "a", QueueId("q"), None, facts, wanted.after + number)
            for number in range(1, wanted.limit + 1)
        ]
        return FeedPage(found, found[-1].sequence, more=True)


@contextlib.contextmanager
def told(logger: str, word: str) -> Iterator[asyncio.Event]:
    """Set when the log says the word."""
    said = asyncio.Event()

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if word in record.getMessage():
                said.set()

    ear, log = Ear(), logging.getLogger(logger)
    level = log.level
    log.addHandler(ear)
    log.setLevel(logging.INFO)
    try:
        yield said
    finally:
        log.removeHandler(ear)
        log.setLevel(level)


async def test_who_does_not_read_is_cut_off_and_held_in_bounds() -> None:
    flood = Flood()
    terms = replace(TERMS, patience=SECOND // 5)
    with told("sidecar_api.resources.event_stream", "cut off") as cut:
        await _refuse_to_read(flood, terms, cut)


async def _refuse_to_read(flood: Flood, terms: StreamTerms, cut: asyncio.Event) -> None:
    async with open_door(lambda services: replace(services, feed=flood, streams=terms)) as door:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", door.port))
        reader, writer = await asyncio.open_connection(sock=sock, limit=1)  # stops reading almost at once
        writer.write(f"GET {PLACE} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a-all\r\n\r\n".encode())
        await reader.readexactly(1)
        async with asyncio.timeout(20):
            await cut.wait()
        assert flood.pages < 100  # of 100 KB each: what the buffers of system and process hold
        async with asyncio.timeout(20):
            with contextlib.suppress(ConnectionResetError):
                while await reader.read(65536):
                    pass
        writer.close()


async def test_who_reads_gets_it_all_however_much() -> None:
    flood = Flood()
    async with (
        open_door(lambda services: replace(services, feed=flood, streams=TERMS)) as other,
        Client(f"http://127.0.0.1:{other.port}", token="a-all") as client,
    ):
        query = {"limit": 5000}
        seen = [event["sequence"] async for event in client.follow(operations.STREAM_EVENTS, query=query)]
    assert seen == list(range(1, 5001))


async def test_a_stop_ends_it(tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        door = await stack.enter_async_context(whole_door(tmp_path))
        _, stream = await stack.enter_async_context(streaming(door))
        await anext(stream)
        end = asyncio.create_task(rest_of(stream))
        async with asyncio.timeout(20):
            await door.site.stop()
            assert await end == [b": the relay stops"]


async def test_nothing_is_read_while_nothing_happens(tmp_path: Path) -> None:
    clock = FakeClock()
    async with whole_door(tmp_path, clock) as door, streaming(door) as (_, stream):
        await anext(stream)
        await clock.until_slept(clock.now() + 15 * SECOND)
        reads = 0
        page = door.core.store.feed.page

        async def counted(wanted: FeedFilter) -> FeedPage:
            nonlocal reads
            reads += 1
            return await page(wanted)

        door.core.store.feed.page = counted  # type: ignore[method-assign]
        await door.acme.request("GET", "/v1/messages")  # what only reads wakes nobody
        assert reads == 0
        await send(door, 1)
        await anext(stream)
        assert reads > 0
