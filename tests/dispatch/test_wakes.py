"""Wakes: on PostgreSQL a claim does not see what its own group makes ready, so dispatch has to be told of it. Nothing here
looks unasked, as the janitor does: a wake that was lost would be lost for good."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from relay.model.control import Controls
from relay.model.delivery import Claim
from storage.work import Work
from tests.support import postgres
from tests.support.core import running_core
from tests.support.smtp_script import Action
from tests.support.smtp_server import SmtpServer


@pytest.fixture
def url() -> Iterator[str]:
    database = postgres.new_database()
    yield database
    postgres.drop_database(database)


class Held:
    """Stands before a group commit's database: writes wait while it is closed."""

    def __init__(self, group: Any) -> None:
        self._group = group
        self._database = group._database
        group._database = self
        self.open = asyncio.Event()
        self.open.set()
        self.reached = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    async def write(self, work: Work[Any]) -> Any:
        self.reached.set()
        await self.open.wait()
        return await self._database.write(work)

    async def until_there_wait(self, ahead: int, others: int) -> None:
        async with asyncio.timeout(10):
            while (len(self._group._ahead), len(self._group._waiting)) != (ahead, others):  # noqa: ASYNC110 - nobody is told
                await asyncio.sleep(0)


@pytest.mark.postgres
@pytest.mark.parametrize("late", [False, True], ids=["before it is told", "after"])
async def test_what_comes_in_with_a_claim_goes_next(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    """Whether the claim's answer comes before or after word of it."""
    async with SmtpServer() as server, running_core(tmp_path, url=url) as core:
        claim = core.store.queue.claim

        async def claim_late(queue_key: str, limit: int | Callable[[], int]) -> Claim:
            found = await claim(queue_key, limit)
            await comes_with_it
            return found

        if late:
            monkeypatch.setattr(core.store.queue, "claim", claim_late)
        await core.add_account(server.port, max_connections=1)
        await core.add_account(server.port, "other")
        queue: Any = core.store.queue
        held = Held(queue._group)
        gate = asyncio.Event()
        server.on("dot", Action("250 2.0.0 ok", when=gate), "250 2.0.0 ok")
        await core.submit()
        await core.submit()  # waits for the only connection
        await server.wait_for(1)
        held.open.clear()
        held.reached.clear()
        under_way = asyncio.ensure_future(core.submit(controls=Controls(account="other")))
        await held.reached.wait()
        gate.set()
        await held.until_there_wait(2, 0)  # the first one's settlement, the second one's claim
        comes_with_it = asyncio.ensure_future(core.submit())
        await held.until_there_wait(2, 1)
        held.open.set()
        await server.wait_for(4)
        await asyncio.gather(under_way, comes_with_it)
        await core.log.wait_for("sent", count=4)
