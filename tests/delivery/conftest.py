"""What the delivery tests share: a scripted server, accounts that point to it, and a courier with short patience."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from typing import cast

import pytest
import trustme
import uvloop

from relay.clock import SystemClock
from relay.contracts.content import ContentStore
from relay.delivery.connection import Connector
from relay.delivery.courier import Courier
from relay.delivery.pool import Pool
from relay.delivery.timeouts import Timeouts
from tests.delivery.post import Contents
from tests.support.smtp_server import SmtpServer

PATIENCE = Timeouts(connect=5, greeting=5, mail=5, rcpt=5, data=5, body=5, dot=5, reset=5, quit=1)


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Both loops: their transports differ in what they promise to a protocol that takes a connection over."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
async def server() -> AsyncIterator[SmtpServer]:
    async with SmtpServer() as server:
        yield server


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """A client that trusts the test authority."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def timeouts() -> Timeouts:
    return PATIENCE


@pytest.fixture
def contents() -> Contents:
    return Contents()


@pytest.fixture
async def pool(trusting: ssl.SSLContext, timeouts: Timeouts) -> AsyncIterator[Pool]:
    connector = Connector(ehlo_name="relay.test", tls=trusting, timeouts=timeouts)
    pool = Pool(connector, SystemClock())
    yield pool
    await pool.close()


@pytest.fixture
def courier(pool: Pool, contents: Contents) -> Courier:
    return Courier(pool, cast("ContentStore", contents), SystemClock())
