"""Retries on the way of a message: what a reply asks for, whose policy holds, and what an account's fault leaves behind."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from relay.clock import DAY, HOUR, MINUTE, SECOND
from relay.dispatch.breaker import FIRST_PAUSE
from relay.model.message import RecipientState
from relay.model.tenant import RetrySettings, Tenant
from tests.dispatch.conftest import EXACT
from tests.support.clock import START, FakeClock
from tests.support.core import ACME, Core, running_core
from tests.support.smtp_server import OK, SmtpServer

R = RecipientState


def account_events(directory: Path) -> list[tuple[str, str, str, dict[str, str]]]:
    """Tenant, message, kind and facts of the events that are an account's, in the order of all events."""
    with contextlib.closing(sqlite3.connect(directory / "relay.db")) as database:
        rows = database.execute(
            "SELECT tenant_id, message_id, kind, facts FROM events WHERE kind LIKE 'account%' ORDER BY sequence"
        )
        return [(tenant, message, kind, json.loads(facts)) for tenant, message, kind, facts in rows]


async def test_the_delay_that_a_reply_asks_for_is_kept(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port)
    server.to("bob@b.example", "451 4.7.1 Greylisted, please try again in 300 seconds", OK)
    accepted = await core.submit()
    [line] = await core.log.wait_for(accepted.id, "deferred")
    assert "next_attempt_by=reply" in line.split()
    await core.fake.until_slept(START + 300 * SECOND)
    core.fake.advance(300 * SECOND - 1)
    assert core.log.lines("sent") == []
    core.fake.advance(1)
    await core.log.wait_for(accepted.id, "sent")


@pytest.fixture
async def patient(tmp_path: Path) -> AsyncIterator[Core]:
    """Two tenants: acme tries as the instance does, other tries every hour."""
    async with running_core(tmp_path, clock=FakeClock(), retry=EXACT) as core:
        hourly = RetrySettings(schedule=(HOUR,), max_attempts=3)
        await core.store.directory.add_tenant(Tenant("other", "Other", None, START, retry=hourly))
        yield core


@pytest.mark.parametrize(
    ("tenant", "account_retry", "delays"),
    [
        (ACME, RetrySettings(), [1 * MINUTE, 5 * MINUTE, 15 * MINUTE, 1 * HOUR, 2 * HOUR]),
        (ACME, RetrySettings(max_attempts=3), [1 * MINUTE, 5 * MINUTE]),
        (ACME, RetrySettings((2 * MINUTE,), max_age=6 * MINUTE), [2 * MINUTE] * 3),
        ("other", RetrySettings(), [1 * HOUR, 1 * HOUR]),
        ("other", RetrySettings((9 * SECOND, 8 * SECOND)), [9 * SECOND, 8 * SECOND]),
        ("other", RetrySettings(max_attempts=1), []),
    ],
)
async def test_the_nearest_policy_holds(
    patient: Core, server: SmtpServer, tenant: str, account_retry: RetrySettings, delays: list[int]
) -> None:
    account = await patient.add_account(server.port, "base", tenant=tenant)
    await patient.store.directory.add_account(replace(account, id="main", retry=account_retry), default=True)
    server.on("rcpt", "450 4.2.0 later")
    accepted = await patient.submit(tenant=tenant)
    at = START
    for count, delay in enumerate(delays, 1):
        await patient.log.wait_for(accepted.id, "deferred", count=count)
        at += delay
        await patient.fake.until_slept(at)
        patient.fake.advance(delay)
    [failed] = await patient.log.wait_for(accepted.id, "failed")
    assert f'reason="given up after {len(delays) + 1} attempts"' in failed


async def test_queued_mail_follows_the_policy_as_it_is_now(core: Core, server: SmtpServer) -> None:
    account = await core.add_account(server.port, "base")
    await core.store.directory.add_account(replace(account, id="main", retry=RetrySettings((HOUR,))), default=True)
    server.on("rcpt", "450 4.2.0 later")
    accepted = await core.submit()
    await core.log.wait_for(accepted.id, "deferred")
    await core.store.directory.change_tenant(ACME, lambda tenant: replace(tenant, retry=RetrySettings(max_attempts=2)))
    await core.fake.until_slept(START + HOUR)
    core.fake.advance(HOUR)
    await core.log.wait_for(accepted.id, "failed")


async def test_an_account_that_pauses_and_resumes_says_so_once(core: Core, server: SmtpServer, tmp_path: Path) -> None:
    await core.add_account(server.port, tenant="*")
    server.on("connect", "554 5.7.1 go away", "554 5.7.1 go away", "220 receiver.test ESMTP")
    accepted = await core.submit()
    for pause in (FIRST_PAUSE, 2 * FIRST_PAUSE):
        await core.fake.until_slept(core.fake.now() + pause)
        core.fake.advance(pause)
    await core.log.wait_for(accepted.id, "sent")
    paused, resumed = account_events(tmp_path)
    assert paused[:3] == ("*", "", "account_paused")
    assert paused[3]["account"] == "*/main"
    assert "554 5.7.1 go away" in paused[3]["reason"]
    assert resumed == ("*", "", "account_resumed", {"account": "*/main"})
    assert len(core.log.lines("account_paused")) == len(core.log.lines("account_resumed")) == 1
    kinds = [event.kind for event in await core.store.archive.events(ACME, accepted.id)]
    assert kinds == ["accepted", "deferred", "deferred", "sent"], "the account's are not the message's"
    assert core.metrics.registry.get_sample_value("stagepost_events_total", {"kind": "account_paused"}) == 1


async def test_a_pause_is_as_long_as_the_server_asks(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port)
    server.on("connect", "421 4.7.0 too many connections, try again in 10 minutes", "220 receiver.test ESMTP")
    accepted = await core.submit()
    await core.fake.until_slept(START + 10 * MINUTE)
    core.fake.advance(10 * MINUTE)
    await core.log.wait_for(accepted.id, "sent")


async def test_mail_of_an_account_that_stays_out_of_order_expires(tmp_path: Path, server: SmtpServer) -> None:
    async with running_core(tmp_path, clock=FakeClock(), retry=replace(EXACT, max_wait=DAY, hint_max=2 * DAY)) as core:
        await core.add_account(server.port)
        server.on("connect", "421 4.7.0 try again in 25 hours")
        accepted = await core.submit()
        await core.fake.until_slept(START + 25 * HOUR)
        core.fake.advance(25 * HOUR)
        [line] = await core.log.wait_for(accepted.id, "expired")
        assert "waited too long for an account that is out of order: refused in connect: 421 4.7.0" in line
        assert await core.states(accepted) == [R.EXPIRED]
