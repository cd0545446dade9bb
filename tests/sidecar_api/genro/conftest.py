"""The door on the real intake and store, on both databases, a client of genro-mail-proxy before it and a server behind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from relay.clock import SECOND, SystemClock, rfc3339
from tests.sidecar_api.genro.client import Proxy
from tests.sidecar_api.whole import Whole, whole_door
from tests.support import postgres
from tests.support.clock import FakeClock
from tests.support.smtp_server import SmtpServer

STORES = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]


@dataclass
class Scene:
    """An admin and a new tenant `shop`, made as the clients do it, whose account `out` leads to the server."""

    whole: Whole
    server: SmtpServer
    admin: Proxy
    shop: Proxy

    @property
    def clock(self) -> FakeClock:
        """It stands still."""
        return self.whole.core.fake

    @property
    def now(self) -> int:
        """Seconds since 1970."""
        return self.clock.now() // SECOND

    @property
    def time(self) -> str:
        """The same in RFC 3339."""
        return rfc3339(self.clock.now())

    async def ended(self, event: str, count: int = 1) -> None:
        """Once the log has so many events of the kind."""
        await self.whole.core.log.wait_for(event, count=count)


def clock_start() -> int:
    """A whole second near that of a database which keeps a clock of its own."""
    return SystemClock().now() // SECOND * SECOND


@pytest.fixture
async def server() -> AsyncIterator[SmtpServer]:
    async with SmtpServer() as one:
        yield one


@pytest.fixture(params=STORES)
async def scene(request: pytest.FixtureRequest, tmp_path: Path, server: SmtpServer) -> AsyncIterator[Scene]:
    url = postgres.new_database() if request.param == "postgres" else None
    try:
        async with whole_door(tmp_path, FakeClock(clock_start()), url=url) as whole, aiohttp.ClientSession() as session:
            secret = (await whole.admin.request("POST", "/v1/tokens", json={"name": "admin"}))["token"]
            admin = Proxy(session, whole.url, secret)
            made = await admin.do("POST", "/tenant", {"id": "shop", "name": "Shop"})
            assert set(made) == {"ok", "api_key"}
            account = {"id": "out", "tenant_id": "shop", "host": "127.0.0.1", "port": server.port}
            assert await admin.do("POST", "/account", account) == {"ok": True}
            yield Scene(whole, server, admin, admin.with_token(made["api_key"]))
    finally:
        if url:
            postgres.drop_database(url)
