"""The scheduler is stopped and started for all: the workers of an instance, the instances of a store, the next start."""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.postgres import new_database
from tests.support.relay_process import RelayProcess, relay_directory
from tests.support.smtp_server import SmtpServer

MAILS = 12


def send(relay: RelayProcess, count: int = MAILS) -> None:
    """By one connection each, so that any worker takes them."""
    for _ in range(count):
        with smtplib.SMTP("127.0.0.1", relay.smtp_port, timeout=20) as client:
            client.sendmail("ann@example.com", ["bob@example.com"], b"Subject: Hi\r\n\r\nHello.\r\n")


def add_account(relay: RelayProcess, sink: SmtpServer) -> None:
    relay.cli("accounts", "add", "sink", "--tenant", "default", "--host", "127.0.0.1", "--port", str(sink.port),
              "--tls", "none", "--default", "--max-connections", "6")  # fmt: skip


def status(relay: RelayProcess) -> Any:
    return relay.cli("instance", "show")["status"]


async def test_workers_stop_and_start_as_one_and_a_stop_outlives_a_restart(relay: RelayProcess) -> None:
    relay.options = {"server": {"workers": "3"}}
    await asyncio.to_thread(relay.start)
    async with SmtpServer() as sink:
        await asyncio.to_thread(add_account, relay, sink)
        await asyncio.to_thread(relay.cli, "dispatch", "stop")
        await asyncio.to_thread(send, relay)
        stopped = await asyncio.to_thread(status, relay)
        assert (stopped["workers"], stopped["dispatching"], stopped["queue"]["ready"]) == (3, False, MAILS)
        assert {door["kind"] for door in stopped["doors"]} == {"smtp", "api"}
        assert await asyncio.to_thread(relay.stop) == 0
        await asyncio.to_thread(relay.cli, "instance", "change", "--name", "Shop")  # works on the store
        await asyncio.to_thread(relay.start)
        await asyncio.to_thread(send, relay)
        shown = await asyncio.to_thread(relay.cli, "instance", "show")
        assert (shown["name"], shown["dispatch"], shown["status"]["queue"]["ready"]) == (
            "Shop",
            {"active": False},
            2 * MAILS,
        )
        assert sink.messages == []
        started = await asyncio.to_thread(relay.cli, "dispatch", "start")
        assert started == {"name": "Shop", "dispatch": {"active": True}}
        await sink.wait_for(2 * MAILS, 30)
        assert await asyncio.to_thread(relay.stop) == 0


@pytest.fixture
def pair() -> Iterator[tuple[RelayProcess, RelayProcess]]:
    """Two instances on one PostgreSQL."""
    url = new_database()
    with relay_directory() as here, relay_directory() as there:
        key = {"security": {"key_file": str(here / "key")}}
        with RelayProcess(here, url, key) as one, RelayProcess(there, url, key) as two:
            yield one, two


@pytest.mark.postgres
async def test_a_stop_is_heard_by_the_other_instances(pair: tuple[RelayProcess, RelayProcess]) -> None:
    one, two = pair
    for relay in pair:
        await asyncio.to_thread(relay.start)
    async with SmtpServer() as sink:
        await asyncio.to_thread(add_account, one, sink)
        await asyncio.to_thread(one.cli, "dispatch", "stop")
        async with asyncio.timeout(10):
            while (await asyncio.to_thread(status, two))["dispatching"]:
                pass
        await asyncio.to_thread(send, two)
        assert (await asyncio.to_thread(status, one))["queue"]["ready"] == MAILS
        assert sink.messages == []
        await asyncio.to_thread(one.cli, "dispatch", "start")
        await sink.wait_for(MAILS, 30)
        async with asyncio.timeout(10):
            while not (await asyncio.to_thread(status, two))["dispatching"]:
                pass
