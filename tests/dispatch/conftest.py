"""What the dispatch tests share: a scripted server, and a core whose time stands still."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relay.dispatch.retry import RetryPolicy
from tests.support.clock import FakeClock
from tests.support.core import Core, running_core
from tests.support.smtp_server import SmtpServer

EXACT = RetryPolicy(jitter=0)


@pytest.fixture
async def server() -> AsyncIterator[SmtpServer]:
    async with SmtpServer() as server:
        yield server


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[Core]:
    async with running_core(tmp_path, clock=FakeClock(), retry=EXACT) as core:
        yield core
