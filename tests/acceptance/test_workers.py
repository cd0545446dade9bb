"""Several processes are one instance: its limits, its figures, its configuration, its stop; on both stores."""

from __future__ import annotations

import asyncio
import smtplib
from collections import Counter

import pytest

from tests.support.family import ask, figure, is_alive, workers_of
from tests.support.injector import Injector
from tests.support.relay_process import RelayProcess
from tests.support.smtp_server import SmtpServer

WORKERS = 3


@pytest.fixture
def crew(relay: RelayProcess) -> RelayProcess:
    """A relay of three processes, not started."""
    relay.options = {"server": {"workers": str(WORKERS)}}
    return relay


class Clients:
    """SMTP clients that connect, read the greeting, and stay."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.writers: list[asyncio.StreamWriter] = []

    async def greeting(self, source: str = "127.0.0.1") -> str:
        """The code that one more is told first."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, local_addr=(source, 0))
        self.writers.append(writer)
        return (await asyncio.wait_for(reader.readline(), 10))[:3].decode()

    async def greetings(self, count: int, source: str = "127.0.0.1") -> Counter[str]:
        """Of many at once."""
        return Counter(await asyncio.gather(*(self.greeting(source) for _ in range(count))))

    async def leave(self) -> None:
        """All of them."""
        for writer in self.writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in self.writers), return_exceptions=True)
        self.writers.clear()


async def metrics(relay: RelayProcess) -> str:
    return str((await asyncio.to_thread(relay.request, "GET", "/metrics")).body)


def send(relay: RelayProcess, count: int, recipient: str = "bob@example.com") -> None:
    """By one connection each, so that any worker takes them."""
    for _ in range(count):
        with smtplib.SMTP("127.0.0.1", relay.smtp_port, timeout=20) as client:
            client.sendmail("ann@example.com", [recipient], b"Subject: Hi\r\n\r\nHello.\r\n")


def add_account(relay: RelayProcess, sink: SmtpServer, connections: int) -> None:
    relay.cli("accounts", "add", "sink", "--tenant", "default", "--host", "127.0.0.1", "--port", str(sink.port),
              "--tls", "none", "--default", "--max-connections", str(connections))  # fmt: skip


async def test_each_takes_connections_and_the_figures_are_of_all(crew: RelayProcess) -> None:
    await asyncio.to_thread(crew.start)
    idle = set(range(WORKERS))
    for _ in range(20):  # a worker that the system gives no time meanwhile takes none
        clients = Clients(crew.smtp_port)
        assert await clients.greetings(60) == {"220": 60}
        shown = await metrics(crew)
        each = [figure(await ask(crew, number, "figures"), "stagepost_smtp_connections") for number in range(WORKERS)]
        await clients.leave()
        assert sum(each) == figure(shown, "stagepost_smtp_connections") == 60
        assert figure(shown, "stagepost_workers") == WORKERS
        idle -= {number for number, count in enumerate(each) if count > 0}
        if not idle:
            break
        async with asyncio.timeout(10):  # the server notices in its own time
            while figure(await metrics(crew), "stagepost_smtp_connections"):
                pass
    assert not idle


async def test_connection_limits_are_the_instances(crew: RelayProcess) -> None:
    crew.options = {**crew.options, "smtp": {"max_connections": "10", "max_connections_per_client": "4"}}
    await asyncio.to_thread(crew.start)
    clients = Clients(crew.smtp_port)
    for source in ("127.0.0.1", "127.0.0.2"):
        assert await clients.greetings(12, source) == {"220": 4, "421": 8}
    assert await clients.greetings(8, "127.0.0.3") == {"220": 2, "421": 6}
    await clients.leave()
    async with asyncio.timeout(10):  # the server notices in its own time
        while figure(await metrics(crew), "stagepost_smtp_connections"):
            pass
    assert await clients.greetings(3, "127.0.0.3") == {"220": 3}
    await clients.leave()


async def test_an_account_has_no_more_connections_than_it_may(crew: RelayProcess) -> None:
    await asyncio.to_thread(crew.start)
    async with SmtpServer() as sink:
        await asyncio.to_thread(add_account, crew, sink, 2)  # fewer than there are workers
        await asyncio.to_thread(send, crew, 40)
        await sink.wait_for(40, 30)
        assert await asyncio.to_thread(crew.stop) == 0
        for session in sink.sessions:
            await session.ended.wait()
        assert 1 <= len(sink.sessions) <= 2


async def send_side_by_side(relay: RelayProcess, count: int) -> None:
    """Five from each of `count` clients, so that every worker has some."""
    await asyncio.gather(*(asyncio.to_thread(send, relay, 5) for _ in range(count)))


async def send_by_all(relay: RelayProcess, sink: SmtpServer) -> int:
    """How many messages it took until every worker had sent some; TimeoutError."""
    sent = 0
    async with asyncio.timeout(60):
        while True:
            await send_side_by_side(relay, 8)
            sent += 40
            await sink.wait_for(sent, 30)
            if all([figure(await ask(relay, n, "figures"), "stagepost_attempts_total") for n in range(WORKERS)]):
                return sent


async def paused_at_all(relay: RelayProcess) -> None:
    """Return once every worker has heard; TimeoutError."""
    async with asyncio.timeout(20):
        for number in range(WORKERS):
            while figure(await ask(relay, number, "figures"), "stagepost_accounts_paused") < 1:
                pass


async def pauses(relay: RelayProcess) -> int:
    """How many there have been."""
    return len((await asyncio.to_thread(relay.cli, "events", "list", "--kind", "account_paused"))["items"])


async def test_an_account_that_is_out_of_order_is_so_for_all_of_them(crew: RelayProcess) -> None:
    """One tries it and not each; and found in order by one, its mail is sent by all."""
    await asyncio.to_thread(crew.start)
    async with SmtpServer() as sink:
        await asyncio.to_thread(add_account, crew, sink, 9)
        sent = await send_by_all(crew, sink)
        sink.on("connect", "421 4.7.0 too many connections, try again in 10 minutes")
        sink.drop_connections()
        for session in sink.sessions:
            await session.ended.wait()
        before = len(sink.sessions)
        await asyncio.to_thread(send, crew, 1)
        await paused_at_all(crew)
        await send_side_by_side(crew, 8)
        assert len(sink.sessions) - before == 1
        assert figure(await metrics(crew), "stagepost_accounts_paused") == 1
        sink.on("connect")
        assert (await asyncio.to_thread(crew.cli, "accounts", "test", "sink"))["ok"]
        await sink.wait_for(sent + 41, 30)
        assert await pauses(crew) == 1


async def test_a_change_holds_at_all_of_them_at_once(crew: RelayProcess) -> None:
    await asyncio.to_thread(crew.start)
    connections = [await asyncio.open_connection("127.0.0.1", crew.api_port) for _ in range(30)]
    for turn in range(3):
        made = await asyncio.to_thread(crew.cli, "tokens", "add", f"t{turn}", "--admin")
        request = f"GET /v1/queue HTTP/1.1\r\nHost: relay\r\nAuthorization: Bearer {made['token']}\r\n\r\n".encode()

        async def status(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes = request) -> bytes:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
            await reader.readexactly(int(length.partition(b":")[2]))
            return head.split(b" ")[1]

        for expected in (b"200", b"401"):
            assert set(await asyncio.gather(*(status(*one) for one in connections))) == {expected}
            if expected == b"200":
                await asyncio.to_thread(crew.cli, "tokens", "revoke", made["id"])
    for _, writer in connections:
        writer.close()


async def test_figures_and_health_of_a_relay_that_has_lost_a_worker(crew: RelayProcess) -> None:
    await asyncio.to_thread(crew.start)
    await asyncio.to_thread(send, crew, 30)
    before = await metrics(crew)
    assert figure(before, "stagepost_messages_accepted_total") == 30
    victim = workers_of(crew)[1]
    await asyncio.to_thread(crew.kill_one, victim)
    after = await metrics(crew)
    assert figure(after, "stagepost_messages_accepted_total") == 30
    async with asyncio.timeout(20):
        while (await asyncio.to_thread(crew.request, "GET", "/health/ready")).status != 200:
            pass
    again = await metrics(crew)
    assert figure(again, "stagepost_messages_accepted_total") == 30
    assert (figure(again, "stagepost_workers"), figure(again, "stagepost_workers_silent")) == (WORKERS, 0)
    assert victim not in workers_of(crew)


async def test_a_stop_under_load_keeps_what_was_promised(crew: RelayProcess) -> None:
    await asyncio.to_thread(crew.start)
    async with SmtpServer() as sink:
        await asyncio.to_thread(add_account, crew, sink, 6)
        token = (await asyncio.to_thread(crew.cli, "tokens", "add", "load", "--admin"))["token"]
        injector, enough = Injector(crew.smtp_port, crew.api_port, token, "s"), asyncio.Event()
        load = asyncio.create_task(injector.run(6, 3, until=enough))
        await sink.wait_for(200, 30)
        workers = workers_of(crew)
        assert await asyncio.to_thread(crew.stop) == 0
        enough.set()
        await load
        assert not any(map(is_alive, workers))
        await asyncio.to_thread(crew.start)  # what was not sent by then is sent now, and nothing twice
        await sink.wait_for(len(injector.acknowledged), 30)
        names = Counter(message.recipients[0].partition("@")[0] for message in sink.messages)
    assert set(injector.acknowledged) <= names.keys()
    assert set(names.values()) == {1}
