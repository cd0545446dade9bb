"""Expiry: when its time comes, wherever it waits; and what waits without a time does not wait without end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from relay.clock import DAY, HOUR, MINUTE, SECOND
from relay.dispatch.breaker import FIRST_PAUSE
from relay.model.control import Controls
from relay.model.message import RecipientState
from relay.model.tenant import OnUnknown, RetrySettings
from tests.dispatch.conftest import EXACT
from tests.support.clock import START, FakeClock
from tests.support.core import ACME, Core, running_core
from tests.support.smtp_server import DROP, OK, SmtpServer

R = RecipientState


def expiring(after: int) -> Controls:
    return Controls(expires_at=START + after)


async def paused(core: Core, server: SmtpServer) -> None:
    """The account has met a fault and asks for an hour."""
    await core.add_account(server.port)
    server.on("connect", "421 4.7.0 try again in 1 hour")
    await core.submit("first@b.example")
    await core.log.wait_for("account_paused")


async def test_behind_a_paused_account_mail_expires_at_its_time(core: Core, server: SmtpServer) -> None:
    await paused(core, server)
    late = await core.submit(controls=expiring(20 * MINUTE))
    soon = await core.submit(controls=expiring(10 * MINUTE))
    never = await core.submit()
    await core.fake.until_slept(START + 10 * MINUTE)
    core.fake.advance(10 * MINUTE)
    [line] = await core.log.wait_for(soon.id, "expired")
    assert "554 5.4.7" not in line
    assert await core.states(soon) == [R.EXPIRED]
    assert str((await core.detail(soon)).recipients[0].reply).startswith("554 5.4.7")
    assert await core.states(late) == [R.QUEUED]
    await core.fake.until_slept(START + 20 * MINUTE)
    core.fake.advance(10 * MINUTE)
    await core.log.wait_for(late.id, "expired")
    assert await core.states(never) == [R.QUEUED]
    assert core.admission.depth == 2
    assert len(server.sessions) == 1, "nobody was asked"


async def test_without_the_timer_it_would_wait_for_its_turn(core: Core, server: SmtpServer) -> None:
    """The control of the test above."""
    await paused(core, server)
    core.dispatcher._on_expiry = lambda _: None
    soon = await core.submit(controls=expiring(10 * MINUTE))
    core.fake.advance(30 * MINUTE)
    assert await core.states(soon) == [R.QUEUED]


async def test_what_was_deferred_once_expires_at_its_time_too(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port)
    server.to("bob@b.example", OK)
    server.on("rcpt", "450 4.2.0 later")
    accepted = await core.submit("a@b.example", controls=expiring(4 * MINUTE))
    await core.log.wait_for(accepted.id, "deferred")
    core.dispatcher.set_active(False)
    await core.fake.until_slept(START + 4 * MINUTE)
    core.fake.advance(4 * MINUTE)
    [line] = await core.log.wait_for(accepted.id, "expired")
    assert "account=acme/main" in line.split()
    reply = (await core.detail(accepted)).recipients[0].reply
    assert str(reply) == "450 4.2.0 later", "the last that was heard of it"


async def test_more_than_fit_into_one_claim_expire_together(core: Core, server: SmtpServer) -> None:
    await paused(core, server)
    for _ in range(120):
        await core.submit(controls=expiring(MINUTE))
    await core.fake.until_slept(START + MINUTE)
    core.fake.advance(MINUTE)
    await core.log.wait_for("expired", count=120)


async def test_what_another_instance_left_is_found(tmp_path: Path) -> None:
    clock = FakeClock()
    async with running_core(tmp_path, clock=clock, active=False) as core:
        await core.add_account(25)
        accepted = await core.submit(controls=expiring(HOUR))
    clock.advance(2 * HOUR)
    async with running_core(tmp_path, clock=clock, active=False) as core:
        await core.log.wait_for(accepted.id, "expired")


async def test_what_waits_for_somebody_s_decision_does_not_expire(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port, on_unknown=OnUnknown.HOLD)
    server.on("dot", DROP)
    accepted = await core.submit(controls=expiring(HOUR))
    await core.log.wait_for(accepted.id, "unknown")
    core.fake.advance(2 * HOUR)
    await core.expiry._expire_late()
    assert await core.states(accepted) == [R.UNKNOWN], "it may have been delivered"


@pytest.fixture
async def patient(tmp_path: Path) -> AsyncIterator[Core]:
    async with running_core(
        tmp_path, clock=FakeClock(), retry=replace(EXACT, max_wait=5 * DAY, hint_max=9 * DAY)
    ) as core:
        yield core


@pytest.mark.parametrize(("settings", "wait"), [(RetrySettings(), 5 * DAY), (RetrySettings(max_age=2 * DAY), 2 * DAY)])
async def test_mail_without_a_time_does_not_wait_without_end_behind_a_paused_account(
    patient: Core, server: SmtpServer, settings: RetrySettings, wait: int
) -> None:
    account = await patient.add_account(server.port, "base")
    await patient.store.directory.add_account(replace(account, id="main", retry=settings), default=True)
    server.on("connect", "554 5.7.1 you are blocked for 8 days")
    await patient.submit("first@b.example")
    await patient.log.wait_for("account_paused")
    waiting = await patient.submit()
    patient.fake.advance(wait - SECOND)
    await patient.expiry.expire_behind(patient.dispatcher.paused)
    assert await patient.states(waiting) == [R.QUEUED]
    patient.fake.advance(SECOND)
    await patient.expiry.expire_behind(patient.dispatcher.paused)
    assert await patient.states(waiting) == [R.EXPIRED]
    [line] = await patient.log.wait_for(waiting.id, "expired")
    assert "waited too long for an account that is out of order: refused in connect: 554 5.7.1" in line


async def test_mail_that_waits_for_another_reason_is_left_alone(patient: Core, server: SmtpServer) -> None:
    await patient.add_account(server.port)
    patient.dispatcher.set_active(False)
    waiting = await patient.submit()
    patient.fake.advance(9 * DAY)
    await patient.expiry.expire_behind(patient.dispatcher.paused)
    assert patient.dispatcher.paused == []
    assert await patient.states(waiting) == [R.QUEUED]


async def test_how_many_accounts_are_paused(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port)
    server.on("connect", "421 4.3.2 not now", "220 receiver.test ESMTP")
    assert core.dispatcher.paused_accounts == 0
    await core.submit()
    await core.log.wait_for("account_paused")
    assert core.dispatcher.paused_accounts == 1
    await core.fake.until_slept(START + FIRST_PAUSE)
    core.fake.advance(FIRST_PAUSE)
    await core.log.wait_for("sent")
    assert core.dispatcher.paused_accounts == 0
    assert ACME in core.log.lines("account_resumed")[0]
