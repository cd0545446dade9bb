"""Fairness: what waits for one account goes tenant by tenant, most urgent first, and none starves."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from relay.clock import HOUR, MINUTE
from relay.contracts.queue import Accepted
from relay.model.control import Controls
from relay.model.message import Priority
from relay.model.tenant import INSTANCE
from storage.leasing import AGEING
from storage.work import Work, script
from tests.support.clock import START
from tests.support.core import ACME, Core, running_core
from tests.support.gate import Gate
from tests.support.smtp_server import OK, Action, SmtpServer

LATER = START + HOUR


async def titled(core: Core, title: str, tenant: str = ACME, **controls: object) -> Accepted:
    return await core.submit(
        content=f"Subject: {title}\r\n\r\nbody\r\n".encode(),
        tenant=tenant,
        controls=Controls(**controls),  # type: ignore[arg-type]
    )


def titles(server: SmtpServer) -> list[str]:
    return [
        line[9:].decode()
        for message in server.messages
        for line in message.content.split(b"\r\n")
        if line.startswith(b"Subject: ")
    ]


async def shared(core: Core, server: SmtpServer, tenants: tuple[str, ...], connections: int = 1) -> None:
    """One account for all, and tenants that use it."""
    await core.add_account(server.port, tenant=INSTANCE, max_connections=connections)
    for tenant in tenants:
        await core.add_tenant(tenant)


async def test_a_few_messages_beside_a_long_backlog_go_almost_at_once(core: Core, server: SmtpServer) -> None:
    await shared(core, server, ("many", "few"))
    gate = Gate()
    server.on("dot", Action("250 2.0.0 ok", when=gate), OK)
    for number in range(40):
        await titled(core, f"many {number}", "many")
    await gate.reached()
    for number in range(4):
        await titled(core, f"few {number}", "few")
    gate.set()
    await core.log.wait_for("sent", count=44)
    places = [place for place, title in enumerate(titles(server)) if title.startswith("few")]
    assert places[-1] <= 10, titles(server)  # turn by turn, and one round ahead
    assert [title for title in titles(server) if title.startswith("many")] == [f"many {n}" for n in range(40)]


async def test_tenants_share_an_account_evenly_whatever_they_queue(core: Core, server: SmtpServer) -> None:
    await shared(core, server, ("a", "b", "c"), connections=2)
    for tenant, count in (("a", 60), ("b", 30), ("c", 30)):
        for _ in range(count):
            await titled(core, tenant, tenant, not_before=LATER)
    await core.fake.until_slept(LATER)
    core.fake.advance(HOUR)
    await core.log.wait_for("sent", count=120)
    shares = Counter(titles(server)[:60])
    assert max(shares.values()) - min(shares.values()) <= 6, shares


@pytest.mark.parametrize("connections", [1, 3])
async def test_a_tenant_that_cannot_go_holds_up_nobody(core: Core, server: SmtpServer, connections: int) -> None:
    await shared(core, server, ("held", "free"), connections)
    await core.store._database.write(_suspend("held"))
    core.store._directory.cache.forget()
    for _ in range(20):
        await titled(core, "held", "held")
    for _ in range(5):
        await titled(core, "free", "free")
    await core.log.wait_for("sent", count=5)
    assert titles(server) == ["free"] * 5


async def test_the_most_urgent_goes_first_and_what_has_waited_long_before_it(core: Core, server: SmtpServer) -> None:
    await core.add_account(server.port, max_connections=1)
    core.dispatcher.set_active(False)
    await titled(core, "old low", priority=Priority.LOW)
    core.fake.advance(2 * AGEING + MINUTE)
    await titled(core, "low", priority=Priority.LOW)
    await titled(core, "medium", priority=Priority.MEDIUM)
    await titled(core, "high", priority=Priority.HIGH)
    await titled(core, "immediate", priority=Priority.IMMEDIATE)
    core.dispatcher.set_active(True)
    await core.log.wait_for("sent", count=5)
    assert titles(server) == ["immediate", "old low", "high", "medium", "low"]


async def test_immediate_mail_of_another_account_does_not_wait_for_slow_ones(
    tmp_path: Path, server: SmtpServer
) -> None:
    """They may use all but a part of what the instance does at once: that is kept for who has nothing under way."""
    async with SmtpServer() as slow, running_core(tmp_path, max_concurrent=10) as core:
        gate = Gate()
        slow.on("dot", Action("250 2.0.0 ok", when=gate))
        await core.add_account(slow.port, "slow", max_connections=20)
        await core.add_account(server.port)
        for _ in range(30):
            await core.submit(controls=Controls(account="slow"))
        await slow.wait_for_sessions(9)
        urgent = await core.submit(controls=Controls(priority=Priority.IMMEDIATE))
        await core.log.wait_for(urgent.id, "sent")
        assert len(slow.messages) == 0 or len(core.log.lines("sent")) == 1
        gate.set()
        await core.log.wait_for("sent", count=31)


def _suspend(tenant: str) -> Work[None]:
    return script(
        f"INSERT INTO suspensions (tenant_id, batch, suspended, swept, since) VALUES ('{tenant}', '', 1, 1, 0);"
    )
