"""Stopping and starting the scheduler: what is under way goes on, the rest waits and says why, and then goes at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from relay.dispatch.explain import reasons_of
from relay.model.explanation import LaneStanding, ReasonKind
from relay.model.instance import DispatchSettings
from relay.model.message import RecipientState
from tests.dispatch.test_explain import ACCOUNT, NOW, standing
from tests.support.clock import FakeClock
from tests.support.core import ACME, Core, running_core
from tests.support.gate import Gate
from tests.support.smtp_server import Action, SmtpServer


async def switch(core: Core, *, active: bool) -> None:
    """As the API does."""
    dispatch = DispatchSettings(active)
    await core.store.directory.change_instance(lambda instance: replace(instance, dispatch=dispatch))
    await core.switch.follow()


async def test_a_stop_and_a_start(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port)
    gate = Gate()
    server.on("dot", Action("250 2.0.0 ok", when=gate))
    under_way = await core.submit()
    await gate.reached()
    await switch(core, active=False)
    assert not core.dispatcher.active
    waiting = await core.submit()
    gate.set()
    await core.log.wait_for(under_way.id, "sent")
    assert await core.states(waiting) == [RecipientState.QUEUED]
    [explained] = await core.explainer.explain(ACME, waiting.id)
    [reason] = explained.reasons
    assert (reason.kind, explained.next_attempt_at) == (ReasonKind.INACTIVE, None)
    assert "the scheduler is stopped" in reason.detail
    await switch(core, active=True)
    await core.log.wait_for(waiting.id, "sent")


async def test_a_stop_outlives_a_restart(tmp_path: Path, server: SmtpServer) -> None:
    async with running_core(tmp_path, clock=FakeClock()) as core:
        await core.add_account(server.port)
        await switch(core, active=False)
        waiting = await core.submit()
    async with running_core(tmp_path, clock=FakeClock()) as core:
        assert not core.dispatcher.active
        assert await core.states(waiting) == [RecipientState.QUEUED]
        await switch(core, active=True)
        await core.log.wait_for(waiting.id, "sent")


async def test_an_instance_that_is_not_to_send_does_not_for_a_start(tmp_path: Path) -> None:
    async with running_core(tmp_path, clock=FakeClock(), active=False) as core:
        await switch(core, active=True)
        assert not core.dispatcher.active


@pytest.mark.parametrize(
    ("active", "stopped", "says"),
    [
        (False, True, "the scheduler is stopped"),
        (True, True, "the scheduler is stopped"),  # here its word has not come yet
        (False, False, "does not send"),
        (True, False, "waits for its turn"),
    ],
)
def test_why_nothing_is_attempted(active: bool, stopped: bool, says: str) -> None:
    lane = LaneStanding(active, 1, 1, 0, "", 0)
    [reason] = reasons_of(standing(), False, [], lane, ACCOUNT, NOW, stopped=stopped)
    assert says in reason.detail
