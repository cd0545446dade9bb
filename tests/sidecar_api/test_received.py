"""What a client makes of a stream of events, however its octets are cut."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest

from sidecar_api.received import LONGEST_EVENT, Received

WIRE = (
    b'retry: 1500\nid: 4\n\nid: 5\ndata: {"sequence":5}\n\n:\n\n: a comment\nid: 9\n\n'
    b'id: 10\r\ndata:{"sequence":\r\ndata: 10}\r\n\r\nunknown: field\n\nid: 11\ndata: {"sequence":11}\n'
)


async def in_pieces(octets: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(octets), size):
        yield octets[start : start + size]


async def received(pieces: AsyncIterator[bytes], by: Received) -> list[Any]:
    return [event async for event in by.events(pieces)]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 1000])
async def test_events_ids_and_the_hint(size: int) -> None:
    by = Received()
    assert by.headers == {}
    assert await received(in_pieces(WIRE, size), by) == [{"sequence": 5}, {"sequence": 10}]
    assert (by.last_id, by.retry) == ("10", 1.5)  # the last event was cut off before its end: it comes again
    assert by.headers == {"Last-Event-ID": "10"}


async def test_an_id_without_an_event_is_kept() -> None:
    by = Received("3")
    assert await received(in_pieces(b":\nid: 7\n\n", 4), by) == []
    assert by.last_id == "7"


async def test_what_is_no_stream_does_not_fill_the_memory() -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in _forever():
            yield b"x" * 65536

    with pytest.raises(ConnectionError):
        await received(endless(), Received())


def _forever() -> Iterable[int]:
    return range(2 * LONGEST_EVENT)
