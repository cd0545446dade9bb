"""Opening: from the URL of a store to a Store that is up to date, has its key, and has taken up what was left."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from relay.clock import Clock
from relay.errors import StoreError
from relay.model.event import Event
from storage.archive import Archive
from storage.cipher import Cipher, open_cipher
from storage.contents import Chunks, Contents, Files
from storage.database import Database, Peers
from storage.directory import Directory
from storage.durability import Durability
from storage.migrate import migrate, read_migrations
from storage.postgres import open_postgres
from storage.pulse import Pulse
from storage.queue import Queue
from storage.spool import Spool
from storage.sqlite import open_sqlite
from storage.store import Store
from storage.suspending import Suspensions
from storage.tidings import Overheard, Tidings
from storage.windows import LENGTHS, Lengths
from storage.work import fetch_one

INLINE_LIMIT = 64 * 1024
"""Content up to this size (octets) is committed with its message."""

log = logging.getLogger(__name__)


async def open_store(
    url: str,
    *,
    holder: str,
    lease: int,
    clock: Clock,
    key_file: Path,
    spool: Path | None = None,
    inline_limit: int = INLINE_LIMIT,
    lengths: Lengths = LENGTHS,
    former: str | None = None,
    peers: Peers | None = None,
    is_parent: bool = False,
) -> Store:
    """Open the store at `sqlite:///path` or `postgresql://…`, bring its schema up to date, take up what was left.

    `holder` names this instance and nobody else, the same after a restart; `lease` in µs. `spool` is where SQLite keeps
    large content (None: beside the database); `lengths` how long a limit's minute, hour and day are. One of several
    processes of an instance has `peers`, whose parent has opened the store before, and takes up the leases of `former` and
    of those named after it (None: `holder`); `is_parent` is that parent, and keeps a SQLite file locked for them until it
    and all of them have ended. Raises StoreError (do something first) or StoreUnavailable (try again).
    """
    scheme, durability = urlsplit(url).scheme, Durability()
    large_in: Spool | None = None
    if scheme == "sqlite":
        path = sqlite_path(url)
        database: Database = await open_sqlite(path, peers, durability, keep_lock=is_parent)
        large_in = Spool(spool or path.with_name(f"{path.name}.spool"), durability)
    elif scheme in {"postgresql", "postgres"}:
        database = await open_postgres(url)
    else:
        raise StoreError("storage.url must be sqlite:///path or postgresql://…")
    try:
        if peers is None:
            await _prepare(database, large_in, clock)
        await database.equip()
        cipher = await open_cipher(database, key_file)
        store = await _assemble(database, large_in, cipher, holder, lease, clock, inline_limit, lengths, peers)
        # The lock of a SQLite file proves to its first process that nobody is there to hold a lease.
        is_alone = scheme == "sqlite" and peers is None
        if released := await store.take_over(None if is_alone else former or holder):
            log.info("%d deliveries were being attempted when %s last ended: ready again", released, former or holder)
        await store.set_clock()
        durability.on_lost(store.tell_lost)
        await database.listen(store)
    except BaseException:
        await database.close()
        raise
    return store


def sqlite_path(url: str) -> Path:
    """The file of `sqlite:///path`, which is always absolute."""
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.netloc or not path.strip("/"):
        raise StoreError("storage.url must name an absolute path: sqlite:///var/lib/stagepost/stagepost.db")
    return Path(f"/{path.lstrip('/')}")


async def _prepare(database: Database, spool: Spool | None, clock: Clock) -> None:
    """What the first process of an instance does for all."""
    await database.write(migrate(read_migrations(database.dialect), clock.now()))
    if spool is not None:
        await asyncio.to_thread(spool.prepare)


async def _assemble(
    opened: Database,
    spool: Spool | None,
    cipher: Cipher,
    holder: str,
    lease: int,
    clock: Clock,
    inline_limit: int,
    lengths: Lengths,
    peers: Peers | None,
) -> Store:
    tidings = Tidings(opened, clock, is_alone=opened.dialect == "sqlite" and peers is None)
    database = Overheard(opened, tidings)
    contents = Contents(database, Files(database, spool) if spool else Chunks(database), inline_limit)
    directory = Directory(database, cipher, contents.remove, peers)
    told: list[Store] = []

    def tell_ready(queue_key: str, due: int) -> None:
        for store in told:
            store.tell_ready(queue_key, due)

    def tell_open(limit_key: str) -> None:
        for store in told:
            store.tell_open(limit_key)

    def tell_held(events: Sequence[Event]) -> None:
        for store in told:
            store.tell_held(events)

    pulse = Pulse(database, clock)
    queue = Queue(
        pulse,
        holder=holder,
        lease=lease,
        clock=clock,
        cache=directory.cache,
        on_ready=tell_ready,
        on_open=tell_open,
        on_held=tell_held,
        on_suppressed=directory.note_suppressing,
        suppresses=directory.suppresses,
        remove_large=contents.remove,
        lengths=lengths,
    )
    is_used = await database.read(fetch_one("is_used"))
    store = Store(
        opened,
        clock,
        pulse,
        queue,
        contents,
        Archive(database, clock, tell_ready, contents.remove),
        directory,
        Suspensions(database, directory, tell_ready),
        tidings,
        cipher,
        is_new=is_used is None,
    )
    told.append(store)
    return store
