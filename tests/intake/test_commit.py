"""The commit and its fate: cancelled in the middle, or a store that goes away: the message is absent, or goes out once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from relay.contracts.archive import MessageFilter
from relay.contracts.queue import Accepted
from relay.errors import StoreUnavailable
from relay.model.delivery import NewMessage
from relay.model.message import MessageState
from tests.support import postgres
from tests.support.core import Core, running_core
from tests.support.gate import Gate
from tests.support.smtp_server import Action, SmtpServer


@pytest.fixture
async def server() -> AsyncIterator[SmtpServer]:
    async with SmtpServer() as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    if request.param == "sqlite":
        yield None
        return
    url = postgres.new_database()
    yield url
    postgres.drop_database(url)


@pytest.fixture
async def core(tmp_path: Path, server: SmtpServer, url: str | None) -> AsyncIterator[Core]:
    async with running_core(tmp_path, url=url) as core:
        await core.add_account(server.port)
        yield core


@pytest.fixture
def committing(core: Core, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Set as soon as a message is on its way into the store."""
    begun = asyncio.Event()
    accept = core.store.queue.accept

    def watched(new: NewMessage) -> asyncio.Future[Accepted]:
        begun.set()
        return accept(new)

    monkeypatch.setattr(core.store.queue, "accept", watched)
    return begun


@pytest.mark.parametrize("handed_over", [True, False])
async def test_a_commit_whose_client_is_gone_is_delivered_once(
    core: Core, server: SmtpServer, committing: asyncio.Event, handed_over: bool
) -> None:
    core.dispatcher.set_active(handed_over)
    task = asyncio.create_task(core.submit())
    await committing.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    core.dispatcher.set_active(True)
    await core.dispatcher.refresh()  # as the janitor does: in PostgreSQL the wake may come before the commit
    await core.log.wait_for("sent")
    [detail] = await core.store.archive.list_messages(MessageFilter())
    assert detail.message.state is MessageState.SENT
    assert len(server.messages) == 1


async def test_cancelled_anywhere_a_message_is_absent_or_delivered_once(core: Core, server: SmtpServer) -> None:
    async def cancelled_after(turns: int) -> None:
        task = asyncio.create_task(core.submit(content=f"Subject: {turns}\r\n\r\nx\r\n".encode()))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    await asyncio.gather(*(cancelled_after(turns % 40) for turns in range(200)))
    last = await core.submit()
    await core.log.wait_for(last.id, "sent")
    await core.dispatcher.refresh()
    page = await core.store.archive.list_messages(MessageFilter(limit=500))
    await core.log.wait_for("sent", count=len(page))
    received = [message.content.split(b"X-Stagepost-ID: ")[1][:16].decode() for message in server.messages]
    assert sorted(received) == sorted(detail.message.id for detail in page)
    await core.dispatcher.stop(10)
    assert core.dispatcher.in_flight == 0


async def test_what_cannot_be_written_keeps_no_place(core: Core, server: SmtpServer) -> None:
    with pytest.raises(TypeError, match="surrogates"):
        await core.submit(sender="\ud800@acme.example")
    assert core.dispatcher.in_flight == 0
    await core.log.wait_for((await core.submit()).id, "sent")


@pytest.mark.postgres
async def test_an_outage_of_the_store_loses_neither_mail_nor_outcome(tmp_path: Path, server: SmtpServer) -> None:
    url = postgres.new_database()
    async with running_core(tmp_path, url=url) as core:
        await core.add_account(server.port)
        gate = Gate()
        server.on("dot", Action("250 2.0.0 ok", when=gate))
        under_way = await core.submit()
        await server.wait_for(1)
        await asyncio.to_thread(postgres.crash)
        await asyncio.to_thread(postgres.start)
        gate.set()
        await core.log.wait_for(under_way.id, "sent")
        for _ in range(20):  # connections made before the crash are found to be dead one by one
            try:
                accepted = await core.submit()
                break
            except StoreUnavailable:
                continue
        await core.log.wait_for(accepted.id, "sent")
        assert len(server.messages) == 2
        assert core.metrics.registry.get_sample_value("stagepost_leases_lost_total") == 0
    postgres.drop_database(url)
