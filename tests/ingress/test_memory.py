"""Large and endless messages cost no memory: content streams through."""

from __future__ import annotations

import asyncio
import tracemalloc

import pytest

from relay.ingress.data_reader import PIECE
from tests.ingress.conftest import Client, OpenADoor, OpenDoor

MEGABYTE = 1024 * 1024


async def _message(door: OpenDoor, block: bytes, size: int) -> str:
    client = await door.greeted()
    assert (await client.envelope()).startswith("354")
    await _pour(client, block, size)
    client.send(b"\r\n.\r\n")
    return await client.hear()


async def _pour(client: Client, block: bytes, size: int) -> None:
    packet = block * (PIECE // len(block))
    for _ in range(size // len(packet)):
        client.send(packet)
        await client.writer.drain()


@pytest.mark.parametrize(
    "block",
    [b"\r\n", b"x\r\n", b"x" * 76 + b"\r\n", b"x"],
    ids=["empty lines", "short lines", "base64", "one endless line"],
)
async def test_ten_megabytes(block: bytes, open_door: OpenADoor) -> None:
    door = await open_door()
    door.intake.max_size = 20 * MEGABYTE
    door.intake.keep = False
    tracemalloc.start()
    try:
        assert (await _message(door, block, 10 * MEGABYTE)).startswith("250 ")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * MEGABYTE
    assert max(door.intake.pieces) <= PIECE + 2
    assert sum(door.intake.pieces) >= 9 * MEGABYTE


async def test_a_message_without_end_is_cut(open_door: OpenADoor) -> None:
    door = await open_door()
    door.intake.max_size = 100_000
    client = await door.greeted()
    assert (await client.envelope()).startswith("354")
    with pytest.raises(ConnectionError):
        await _pour(client, b"x", 100 * MEGABYTE)
    assert sum(door.intake.pieces) <= 100_000
    assert door.intake.messages == []


async def test_fifty_messages_open_at_once(open_door: OpenADoor) -> None:
    """Each stands in the middle of its second megabyte, and another client is served all the same."""
    door = await open_door()
    door.intake.keep = False
    clients = [await door.greeted() for _ in range(50)]
    tracemalloc.start()
    try:
        for client in clients:
            assert (await client.envelope()).startswith("354")
        await asyncio.gather(*(_pour(client, b"x" * 76 + b"\r\n", MEGABYTE) for client in clients))
        quick = await door.greeted()
        assert (await quick.ask("NOOP")).startswith("250 ")
        current, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert current < 50 * 4 * PIECE
    for client in clients:
        client.send(b"\r\n.\r\n")
    for client in clients:
        assert (await client.hear()).startswith("250 ")
