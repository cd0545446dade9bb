"""A store to test, on SQLite and on PostgreSQL: every test that asks for one runs twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from relay.clock import MINUTE, Clock
from relay.model.limit import NO_LIMITS, Limits
from relay.model.tenant import Account, AccountKind, Tenant
from storage import Store, open_store
from storage.database import Peers
from storage.windows import LENGTHS, Lengths
from tests.storage.mail import CLOCK, TENANT
from tests.support import postgres

Open: TypeAlias = Callable[..., Awaitable[Store]]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def url(backend: str, tmp_path: Path) -> Iterator[str]:
    """An empty store's."""
    if backend == "sqlite":
        yield f"sqlite://{tmp_path}/store/stagepost.db"
        return
    database = postgres.new_database()
    yield database
    postgres.drop_database(database)


@pytest.fixture
async def opened(url: str, tmp_path: Path) -> AsyncIterator[Open]:
    """Opens stores on `url` with the same key; they are closed with the test. Each hears the others, and has looked at the
    queues because of that, unless the test is about the time before."""
    stores: list[Store] = []

    async def open_one(
        *,
        holder: str = "one",
        lease: int = MINUTE,
        url: str = url,
        inline_limit: int = 65536,
        clock: Clock = CLOCK,
        lengths: Lengths = LENGTHS,
        former: str | None = None,
        peers: Peers | None = None,
        hears: bool = True,
    ) -> Store:
        store = await open_store(
            url,
            holder=holder,
            lease=lease,
            clock=clock,
            key_file=tmp_path / "key",
            inline_limit=inline_limit,
            lengths=lengths,
            former=former,
            peers=peers,
        )
        stores.append(store)
        if hears:
            await heard(store)
        return store

    yield open_one
    for store in stores:
        await store.close()


@pytest.fixture
async def store(opened: Open) -> Store:
    """A store with the tenant acme and its account main."""
    store = await opened()
    await furnish(store)
    return store


async def furnish(store: Store, limits: Limits = NO_LIMITS) -> None:
    await store.directory.add_tenant(Tenant(TENANT, "Acme", None, CLOCK.now()))
    account = Account(TENANT, "main", AccountKind.SMTP, "smtp.example.com", limits=limits)
    await store.directory.add_account(account, default=True)


async def heard(store: Store) -> None:
    """Until the store listens to other instances, and has told of what was ready before."""
    async with asyncio.timeout(30):
        while not store._directory.cache.enabled:
            await store.ready()
        if store._catching_up is not None:
            await asyncio.wait([store._catching_up])
