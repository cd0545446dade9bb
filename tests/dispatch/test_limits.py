"""Limits at work in dispatch: mail waits for the instant at which a slot opens, and holds up nobody else."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay.clock import HOUR, MINUTE, SECOND
from relay.model.control import Controls
from relay.model.delivery import Claim
from relay.model.limit import Limits
from relay.model.message import MessageState
from relay.model.tenant import SuppressOn
from storage.work import script
from tests.support.clock import START, FakeClock
from tests.support.core import Core, running_core
from tests.support.smtp_server import OK, SmtpServer

TWO = Limits(per_minute=2)


async def test_mail_waits_for_the_instant_at_which_a_slot_opens(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port, max_connections=1, limits=TWO)
    core.fake.advance(17 * SECOND)  # no boundary of the clock
    first = await core.submit()
    await core.log.wait_for(first.id, "sent")
    core.fake.advance(10 * SECOND)
    rest = [await core.submit() for _ in range(3)]
    await core.log.wait_for("sent", count=2)
    await core.fake.until_slept(START + 77 * SECOND)
    core.fake.advance(50 * SECOND - 1)
    assert len(server.messages) == 2
    core.fake.advance(1)
    await core.log.wait_for("sent", count=3)
    await core.fake.until_slept(START + 87 * SECOND)
    core.fake.advance(10 * SECOND)
    await core.log.wait_for("sent", count=4)
    assert (await core.detail(rest[-1])).message.state is MessageState.SENT


async def test_a_limited_account_holds_up_nobody_else(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port, limits=Limits(per_hour=1))
    await core.add_account(server.port, "free")
    for _ in range(5):
        await core.submit()
    await core.log.wait_for("sent")
    for _ in range(5):
        await core.submit(controls=Controls(account="free"))
    await core.log.wait_for("sent", count=6)
    assert core.dispatcher.in_flight == 0


async def test_new_mail_asks_nothing_of_the_store_while_its_account_is_blocked(
    core: Core, server: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await core.add_account(server.port, limits=TWO)
    for _ in range(3):
        await core.submit()
    await core.log.wait_for("sent", count=2)
    await core.fake.until_slept(START + MINUTE)
    calls: list[str] = []
    claim = core.store.queue.claim

    async def watched(queue_key: str, limit: int) -> Claim:
        calls.append(queue_key)
        return await claim(queue_key, limit)

    monkeypatch.setattr(core.store.queue, "claim", watched)
    for _ in range(5):
        await core.submit()
        core.fake.advance(SECOND)
    assert calls == []


async def test_a_refusal_before_the_content_lets_the_next_one_go(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port, max_connections=1, limits=Limits(per_day=1))
    server.to("no@b.example", "550 5.1.1 no such mailbox")
    await core.change_tenant(suppress_on=SuppressOn.NEVER)
    refused = [await core.submit("no@b.example") for _ in range(3)]
    for one in refused:
        await core.log.wait_for(one.id, "failed")
    sent = await core.submit()
    await core.log.wait_for(sent.id, "sent")
    assert len(server.messages) == 1


async def test_a_restart_keeps_counting(tmp_path: Path, server: SmtpServer) -> None:
    clock = FakeClock()
    async with running_core(tmp_path, clock=clock) as core:
        await core.add_account(server.port, limits=TWO)
        for _ in range(4):
            await core.submit()
        await core.log.wait_for("sent", count=2)
    clock.advance(MINUTE - 1)
    async with running_core(tmp_path, clock=clock) as core:
        await core.fake.until_slept(START + MINUTE)
        assert len(server.messages) == 2
        core.fake.advance(1)
        await core.log.wait_for("sent", count=2)


async def test_a_raised_limit_is_used_at_once(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port, limits=Limits(per_hour=1))
    for _ in range(3):
        await core.submit()
    await core.log.wait_for("sent")
    await core.fake.until_slept(START + HOUR)
    await core.store._database.write(script("UPDATE accounts SET per_hour = 3;"))
    core.store._directory.cache.forget()
    await core.log.wait_for("sent", count=3)


async def test_a_deferral_by_the_receiver_waits_for_both(core: Core, server: SmtpServer) -> None:
    """Its retry is due after a minute, the slot it used opens after an hour."""
    await core.add_account(server.port, limits=Limits(per_hour=1))
    server.on("dot", "450 4.2.0 later", OK)
    accepted = await core.submit()
    await core.log.wait_for(accepted.id, "deferred")
    await core.fake.until_slept(START + MINUTE)
    core.fake.advance(MINUTE)
    await core.fake.until_slept(START + HOUR)
    core.fake.advance(HOUR - MINUTE)
    await core.log.wait_for(accepted.id, "sent")
