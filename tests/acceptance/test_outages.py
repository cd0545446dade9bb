"""PostgreSQL goes away under load, and an instance freezes: nothing is lost, nobody is told 5yz, all goes on by itself."""

# ruff: noqa: ASYNC110 - what is waited for happens in other processes, which give no sign

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import postgres
from tests.support.gate import Gate
from tests.support.injector import Injector
from tests.support.kill_rounds import received, receiving_server, until_arrived
from tests.support.relay_process import STAGEPOST, RelayProcess, beside, relay_directory
from tests.support.smtp_server import OK, Action, SmtpServer

pytestmark = pytest.mark.postgres

CLIENTS = (5, 3)  # SMTP, REST
RECOVERED_WITHIN = 10.0
CONNECTIONS = 10
LOAD = 100
"""Messages that are taken before something happens."""
HONEST = (STAGEPOST,)


@pytest.fixture
def relay() -> Iterator[RelayProcess]:
    """A relay on PostgreSQL, configured but not started."""
    with relay_directory() as directory, RelayProcess(directory, postgres.new_database()) as process:
        yield process


def add_sink(relay: RelayProcess, port: int) -> str:
    """An account that leads to a server on loopback; an admin's token."""
    where = f"--host 127.0.0.1 --port {port} --tls none --default --max-connections {CONNECTIONS}".split()
    relay.cli("accounts", "add", "sink", "--tenant", "default", *where)
    return str(relay.cli("tokens", "add", "test", "--admin")["token"])


async def until_taken(injector: Injector, within: float, count: int = 1) -> float:
    """Seconds until so many more messages were acknowledged."""
    before, began = len(injector.acknowledged), time.monotonic()
    async with asyncio.timeout(within):
        while len(injector.acknowledged) < before + count:
            await asyncio.sleep(0.01)
    return time.monotonic() - began


async def rounds_of_crashes(relay: RelayProcess, rounds: int) -> list[str]:
    """Load, crash, start again; what was acknowledged and never arrived."""
    # A claim whose commit was made and whose answer was lost waits for its lease: short, so that the test need not.
    relay.options = {"queue": {"lease": "4s"}}
    log = relay.directory / "received"
    slowest = 0.0
    with receiving_server(log) as port:
        relay.write_config()
        token = add_sink(relay, port)
        await asyncio.to_thread(relay.start)
        injector = Injector(relay.smtp_port, relay.api_port, token, "m")
        enough = asyncio.Event()
        load = asyncio.create_task(injector.run(*CLIENTS, until=enough))
        for _ in range(rounds):
            await until_taken(injector, 30, LOAD)
            injector.refused.pop("smtp 451", None)
            await asyncio.to_thread(postgres.crash)
            async with asyncio.timeout(20):
                while "smtp 451" not in injector.refused and relay.command == HONEST:
                    await asyncio.sleep(0.01)
            assert (await asyncio.to_thread(relay.request, "GET", "/health/ready")).status == 503
            assert (await asyncio.to_thread(relay.request, "GET", "/health/live")).status == 200
            await asyncio.to_thread(postgres.start)
            slowest = max(slowest, await until_taken(injector, RECOVERED_WITHIN))
        enough.set()
        await load
        assert relay.process is not None
        assert relay.process.poll() is None
        await until_arrived(log, injector.acknowledged)
        arrived = received(log)
    lost = sorted(set(injector.acknowledged).difference(arrived))
    duplicates = len(arrived) - len(set(arrived))
    print(f"{len(injector.acknowledged)} taken, lost {len(lost)}, duplicates {duplicates}, {dict(injector.refused)}, "
          f"back after {slowest:.1f} s at the most")  # fmt: skip
    assert set(injector.refused) <= {"smtp 451", "rest 503"}
    assert duplicates <= rounds * CONNECTIONS
    return lost


@pytest.mark.timeout(180)
async def test_postgres_crashes_under_load(relay: RelayProcess) -> None:
    assert await rounds_of_crashes(relay, 2) == []


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_postgres_crashes_twenty_times_under_load(relay: RelayProcess) -> None:
    assert await rounds_of_crashes(relay, 20) == []


@pytest.mark.timeout(180)
async def test_a_relay_that_answers_first_is_found_out(relay: RelayProcess) -> None:
    """The negative control."""
    relay.command = (sys.executable, "-m", "tests.support.answer_first")
    assert await rounds_of_crashes(relay, 1)


def backends(relay: RelayProcess) -> list[int]:
    """The processes of PostgreSQL that serve this relay."""
    database = relay.storage_url.rpartition("/")[2]
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                title = (entry / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if title.startswith("postgres:") and f" {database} " in title:
                found.append(int(entry.name))
    return found


@pytest.mark.timeout(120)
async def test_a_frozen_database_is_told_of_at_mail(relay: RelayProcess) -> None:
    """Every backend stops: after some seconds the door says 451 at MAIL; when they go on, so does the mail."""
    log = relay.directory / "received"
    with receiving_server(log) as port:
        relay.write_config()
        token = add_sink(relay, port)
        await asyncio.to_thread(relay.start)
        injector = Injector(relay.smtp_port, relay.api_port, token, "m")
        enough = asyncio.Event()
        load = asyncio.create_task(injector.run(*CLIENTS, until=enough))
        await until_taken(injector, 30, LOAD)
        frozen = backends(relay)
        assert frozen
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        try:
            async with asyncio.timeout(30):
                while await _mail(relay.smtp_port) != "451":
                    await asyncio.sleep(0.1)
        finally:
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)
        took = await until_taken(injector, RECOVERED_WITHIN)
        enough.set()
        await load
        await until_arrived(log, injector.acknowledged)
        arrived = set(received(log))
    print(f"{len(injector.acknowledged)} taken, {dict(injector.refused)}, back after {took:.1f} s")
    assert [name for name in injector.acknowledged if name not in arrived] == []
    assert set(injector.refused) <= {"smtp 451", "rest 503"}


async def _mail(port: int) -> str:
    """What MAIL is answered, within two seconds."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(2):
            await reader.readline()
            writer.write(b"EHLO x\r\n")
            while (await reader.readline())[3:4] == b"-":
                pass
            writer.write(b"MAIL FROM:<a@sender.test>\r\n")
            return (await reader.readline())[:3].decode()
    finally:
        writer.transport.abort()


async def test_an_instance_is_woken_by_the_other(relay: RelayProcess) -> None:
    """One takes mail in and does not send; the other, which looks by itself every few minutes, sends it at once."""
    relay.options = {"dispatch": {"active": "false"}}
    relay.write_config()
    async with SmtpServer() as sink:
        token = add_sink(relay, sink.port)
        with beside(relay) as other:
            await asyncio.to_thread(relay.start)
            await asyncio.to_thread(other.start)
            draft = {"from": "a@sender.test", "to": ["b@receiver.test"], "subject": "x", "text": "x"}
            await asyncio.to_thread(relay.request, "POST", "/v1/messages?tenant=default", token, draft)
            await sink.wait_for(1, seconds=5)


@pytest.mark.timeout(120)
async def test_a_frozen_instance_is_taken_over_and_writes_nothing_later(relay: RelayProcess) -> None:
    """SIGSTOP in the midst of an attempt, beyond the lease: the other instance sends; what the first one comes back with is
    refused by the fence, and no state goes back."""
    relay.options = {"queue": {"lease": "2s"}}
    relay.write_config()
    async with SmtpServer() as sink:
        token = add_sink(relay, sink.port)
        with beside(relay, **relay.options) as other:
            await asyncio.to_thread(relay.start)
            await asyncio.to_thread(other.start)
            gate = Gate()
            sink.on("dot", Action("250 2.0.0 ok", when=gate), OK)
            draft = {"from": "a@sender.test", "to": ["b@receiver.test"], "subject": "x", "text": "x"}
            path = "/v1/messages?tenant=default"
            message = (await asyncio.to_thread(relay.request, "POST", path, token, draft)).body["id"]
            await gate.reached()
            assert relay.process is not None
            relay.process.send_signal(signal.SIGSTOP)
            try:
                gate.set()
                await sink.wait_for(2)
                await until_state(other, message, token, "sent")
            finally:
                relay.process.send_signal(signal.SIGCONT)
            async with asyncio.timeout(20):
                while not await metric(relay, "stagepost_leases_lost_total"):
                    await asyncio.sleep(0.05)
            shown = (
                await asyncio.to_thread(other.request, "GET", f"/v1/messages/{message}?tenant=default", token)
            ).body
            assert [one["state"] for one in shown["recipients"]] == ["sent"]
            assert await metric(other, "stagepost_leases_recovered_total") == 1
            assert len(sink.messages) == 2, "the receiver had it before: that duplicate nobody can avoid"


async def until_state(relay: RelayProcess, message: str, token: str, state: str) -> None:
    path = f"/v1/messages/{message}?tenant=default"
    async with asyncio.timeout(20):
        while (await asyncio.to_thread(relay.request, "GET", path, token)).body["state"] != state:
            await asyncio.sleep(0.05)


async def metric(relay: RelayProcess, name: str) -> float:
    text = (await asyncio.to_thread(relay.request, "GET", "/metrics")).body
    found = re.search(rf"(?m)^{name} (\S+)$", text)
    assert found
    return float(found[1])
