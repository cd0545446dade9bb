"""Contents: round trips around every threshold, durability's order of events, orphans."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from relay.clock import HOUR
from relay.errors import NotFound, StoreUnavailable
from relay.model.act import Act
from relay.model.delivery import StoredContent
from relay.model.message import QueueId
from storage import Store
from storage.contents import CHUNK, ORPHAN_AGE
from storage.durability import Durability
from storage.spool import PIECE, Spool
from storage.work import script
from tests.storage.conftest import Open
from tests.storage.mail import IDS, TENANT, mail

INLINE = 65536
SIZES = sorted(
    {0, 1, 1024, *(t + d for t in (INLINE, PIECE, CHUNK, 2 * CHUNK, 1 << 20) for d in (-1, 0, 1)), 3_000_000}
)


async def put(store: Store, content: bytes, piece: int) -> QueueId:
    """Write a content in pieces and accept its message."""
    key = IDS.next()
    writer = store.contents.writer(key)
    for at in range(0, len(content), piece):
        await writer.write(content[at : at + piece])
    await store.queue.accept(replace(mail(content=await writer.finish(), id=key)))
    return key


async def joined(pieces: AsyncIterator[bytes]) -> bytes:
    found = [piece async for piece in pieces]
    assert all(0 < len(piece) <= 1 << 20 for piece in found)
    return b"".join(found)


@pytest.mark.parametrize("piece", [7919, 1 << 20], ids=["small pieces", "large pieces"])
async def test_round_trip(store: Store, piece: int) -> None:
    source = os.urandom(max(SIZES))
    for size in SIZES:
        key = await put(store, source[:size], piece)
        assert await joined(store.contents.read(key)) == source[:size], size


@pytest.mark.parametrize("limit", [100, INLINE, 2 * CHUNK])
@pytest.mark.parametrize("piece", [70, 1 << 20], ids=["small pieces", "large pieces"])
async def test_small_content_comes_back_and_large_is_stored(opened: Open, limit: int, piece: int) -> None:
    store = await opened(inline_limit=limit)
    for size in (limit, limit + 1):
        writer = store.contents.writer(IDS.next())
        for at in range(0, size, piece):
            await writer.write(b"x" * min(piece, size - at))
        assert await writer.finish() == (b"x" * size if size == limit else StoredContent(size))


async def test_content_of_nobody_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound):
        await joined(store.contents.read(IDS.next()))


async def test_discarded_content_is_gone(store: Store, url: str) -> None:
    for finished in (False, True):
        writer = store.contents.writer(IDS.next())
        await writer.write(b"x" * 2_000_000)
        if finished:
            await writer.finish()
        await writer.discard()
        await writer.discard()
    assert await stored(store, url) == 0
    small = store.contents.writer(IDS.next())
    await small.discard()


async def stored(store: Store, url: str) -> int:
    """How many large contents there are, finished or not."""
    if url.startswith("sqlite"):
        return sum(path.is_file() for path in spool_of(url).root.rglob("*"))
    async with store._database._connections.use() as connection:  # type: ignore[attr-defined]
        return len(await connection.fetch("SELECT DISTINCT message_id FROM content_chunks"))


def spool_of(url: str) -> Spool:
    return Spool(Path(f"{url.removeprefix('sqlite://')}.spool"), Durability())


async def test_orphans_are_swept_and_others_kept(store: Store, url: str) -> None:
    kept = await put(store, b"k" * 300_000, 1 << 20)
    orphan = IDS.next()
    writer = store.contents.writer(orphan)
    await writer.write(b"o" * 300_000)
    await writer.finish()
    assert await store.sweep() == 0  # young: its message may be on its way
    await age(store, url)
    assert await store.sweep() > 0
    assert await store.sweep() == 0
    assert await stored(store, url) == 1
    assert await joined(store.contents.read(kept)) == b"k" * 300_000


async def age(store: Store, url: str) -> None:
    """Make everything that is stored old."""
    if url.startswith("sqlite"):
        for path in spool_of(url).root.rglob("*"):
            os.utime(path, (0, 0))
    else:
        await store._database.write(script(f"UPDATE content_chunks SET written_at = written_at - {ORPHAN_AGE + HOUR}"))


async def test_lost_content_is_said(store: Store, url: str) -> None:
    key = await put(store, b"x" * 600_000, 1 << 20)
    if url.startswith("sqlite"):
        with spool_of(url).path(key).open("r+b") as file:
            file.truncate(500_000)
    else:
        await store._database.write(script("DELETE FROM content_chunks WHERE n = 2"))
    with pytest.raises(StoreUnavailable, match="of 600000 octets"):
        await joined(store.contents.read(key))


async def test_deleting_a_tenant_deletes_its_contents(store: Store, url: str) -> None:
    keys = [await put(store, b"x" * 300_000, 1 << 20) for _ in range(3)]
    for key in keys:
        await store.archive.act(TENANT, key, Act.CANCEL, 1)
    await store.directory.delete_tenant(TENANT)
    assert await stored(store, url) == 0
    with pytest.raises(NotFound):
        await store.archive.message(None, keys[0])


def test_a_message_cannot_name_a_file_elsewhere(tmp_path: Path) -> None:
    for name in ("../x", ".x", "a/b"):
        with pytest.raises(ValueError, match="cannot name a file"):
            Spool(tmp_path, Durability()).writer(name)
