"""The stream of events over the whole relay: by every worker, by other instances, over a worker's death and a restart."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from sidecar_api import operations
from sidecar_api.client import Client
from storage.tidings import SAID_EVERY
from tests.acceptance.test_instance import pair, send
from tests.support.family import workers_of
from tests.support.relay_process import RelayProcess

__all__ = ["pair"]  # a fixture
MAILS = 12
SOON = SAID_EVERY / 1_000_000 / 2
"""Seconds: long before anybody looks without having been told."""


class Follower:
    """Follows the events of all from one relay, over whatever happens to it."""

    def __init__(self, relay: RelayProcess, token: str) -> None:
        self._client = Client(f"http://127.0.0.1:{relay.api_port}", token=token)
        self.events: list[Any] = []
        self._came = asyncio.Event()
        self._task = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        async with self._client as client:
            async for event in client.follow(operations.STREAM_EVENTS):
                self.events.append(event)
                self._came.set()

    async def until(self, count: int, seconds: float = 30) -> None:
        async with asyncio.timeout(seconds):
            while len(self.events) < count:
                if self._task.done():
                    self._task.result()
                    raise AssertionError("the stream has ended")
                self._came.clear()
                await self._came.wait()

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


def prepare(relay: RelayProcess) -> str:
    """An account that keeps what it is given; an admin's token."""
    relay.cli("accounts", "add", "keep", "--tenant", "default", "--kind", "capture", "--default")
    return str(relay.cli("tokens", "add", "watch", "--admin")["token"])


def all_events(relay: RelayProcess) -> Any:
    return relay.cli("events", "list", "--all")["items"]


async def until_ready(relay: RelayProcess) -> None:
    async with asyncio.timeout(30):
        while (await asyncio.to_thread(relay.request, "GET", "/health/ready")).status != 200:
            pass


async def test_workers_a_death_and_a_restart(relay: RelayProcess) -> None:
    relay.options = {"server": {"workers": "3"}}
    await asyncio.to_thread(relay.start)
    token = await asyncio.to_thread(prepare, relay)
    followers = [Follower(relay, token) for _ in range(8)]  # so that each worker has some
    async with contextlib.AsyncExitStack() as ends:
        for one in followers:
            ends.push_async_callback(one.stop)
        await asyncio.to_thread(send, relay, 1)
        for one in followers:
            await one.until(2)
        await asyncio.to_thread(send, relay, MAILS)
        for one in followers:
            await one.until(2 + 2 * MAILS, SOON)
        await asyncio.to_thread(send, relay, MAILS)
        await asyncio.to_thread(relay.kill_one, workers_of(relay)[1])
        await asyncio.to_thread(send, relay, MAILS)
        for one in followers:
            await one.until(2 + 6 * MAILS)
        await until_ready(relay)  # a stop would meet the new worker at its start
        assert await asyncio.to_thread(relay.stop, 15) == 0, relay.log
        await asyncio.to_thread(relay.start)
        await asyncio.to_thread(send, relay, MAILS)
        for one in followers:
            await one.until(2 + 8 * MAILS)
        known = await asyncio.to_thread(all_events, relay)
        for one in followers:
            assert one.events == known
    assert await asyncio.to_thread(relay.stop) == 0


@pytest.mark.postgres
async def test_what_another_instance_writes(pair: tuple[RelayProcess, RelayProcess]) -> None:
    one, two = pair
    for relay in pair:
        await asyncio.to_thread(relay.start)
    token = await asyncio.to_thread(prepare, one)
    follower = Follower(one, token)
    try:
        await asyncio.to_thread(send, one, 1)
        await follower.until(2)
        for turn in range(3):
            await asyncio.to_thread(send, two, MAILS)
            await follower.until(2 + 2 * MAILS * (turn + 1), SOON)
        assert follower.events == await asyncio.to_thread(all_events, one)
    finally:
        await follower.stop()
