"""What is SQLite's own: the lock, the file's permissions, its settings, and its errors."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from relay.errors import StoreError, StoreUnavailable
from storage.opening import sqlite_path
from storage.sqlite import open_sqlite
from storage.sqlite_writer import split_script
from storage.work import Work, fetch, script
from tests.storage.conftest import Open, furnish
from tests.storage.mail import IDS, mail
from tests.storage.raw import run


@pytest.fixture
def backend() -> str:
    return "sqlite"


async def test_one_process_at_a_time(opened: Open) -> None:
    store = await opened()
    with pytest.raises(StoreError, match="in use by another process"):
        await opened()
    await store.close()
    await opened()


async def test_files_are_their_owners_alone(opened: Open, tmp_path: Path) -> None:
    store = await opened()
    await furnish(store)
    folder = tmp_path / "store"
    assert folder.stat().st_mode & 0o777 == 0o700
    for path in folder.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    assert {"stagepost.db", "stagepost.db.lock", "stagepost.db.spool"} <= {path.name for path in folder.iterdir()}


async def test_every_commit_is_on_disk(opened: Open) -> None:
    store = await opened()
    names = ("journal_mode", "synchronous", "foreign_keys")
    assert await run(store, *(f"PRAGMA {name}" for name in names)) == [[("wal",)], [(2,)], [(1,)]]


async def test_the_reader_sees_a_snapshot_and_cannot_write(opened: Open) -> None:
    store = await opened()
    await furnish(store)
    with pytest.raises(StoreUnavailable):
        await store._database.read(_write())
    assert await store._database.read(fetch("tenants"))


def _write() -> Work[None]:
    yield from script("DELETE FROM tenants;\n")


async def test_a_caller_that_leaves_undoes_nothing(opened: Open) -> None:
    store = await opened()
    await furnish(store)
    news = [mail() for _ in range(20)]
    for new in news:
        task = asyncio.ensure_future(store.queue.accept(new))
        for _ in range(3):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await store.queue.accept(mail())
    assert await store.queue.open_deliveries() == len(news) + 1


async def test_after_closing_it_is_unavailable(opened: Open) -> None:
    store = await opened()
    await store.close()
    await store.close()
    for call in (store.ready(), store.queue.heads(), store.queue.accept(mail()), store.directory.tenants()):
        with pytest.raises(StoreUnavailable):
            await call


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear Sir or Madam, " * 1000)
    with pytest.raises(StoreError, match="is not a SQLite database"):
        await open_sqlite(path)


async def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"check storage\.url"):
        await open_sqlite(tmp_path / "file" / "stagepost.db")


async def test_a_full_disk_is_said_and_passes(opened: Open) -> None:
    store = await opened()
    await furnish(store)
    await run(store, "PRAGMA max_page_count = 1")
    with pytest.raises(StoreUnavailable, match="the disk is full"):
        await asyncio.gather(*(store.queue.accept(mail(content=b"x" * 60_000)) for _ in range(20)))
    before = await store.queue.open_deliveries()
    await run(store, "PRAGMA max_page_count = 1073741824")
    await store.queue.accept(mail())
    assert await store.queue.open_deliveries() == before + 1


async def test_what_a_former_life_left_unfinished_is_removed(opened: Open, tmp_path: Path) -> None:
    def files() -> int:
        return sum(path.is_file() for path in (tmp_path / "store" / "stagepost.db.spool").rglob("*"))

    store = await opened()
    writer = store.contents.writer(IDS.next())
    await writer.write(b"x" * 1_000_000)
    await store.close()
    assert files() == 1
    await opened()
    assert files() == 0
    await writer.discard()


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///var/lib/x.db", "/var/lib/x.db"),
        ("sqlite:////var/lib/x.db", "/var/lib/x.db"),
        ("sqlite:///with%20blank/x.db", "/with blank/x.db"),
    ],
)
def test_urls(url: str, path: str) -> None:
    assert sqlite_path(url) == Path(path)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite://host/x.db"])
def test_urls_that_name_no_file(url: str) -> None:
    with pytest.raises(StoreError, match="must name an absolute path"):
        sqlite_path(url)


def test_a_script_is_cut_at_its_statements() -> None:
    text = "-- a; b\nCREATE TABLE x (\n  y TEXT -- ;\n);\nINSERT INTO x VALUES (';');\n"
    assert [statement.count(";") for statement in split_script(text)] == [3, 2]
