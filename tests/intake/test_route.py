"""Routes: kept while the configuration stands, and not a moment longer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from relay.errors import Refusal, Rejected
from relay.intake.route import Routes
from relay.model.limit import Limits
from tests.support.clock import FakeClock
from tests.support.core import ACME, Core, running_core


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[Core]:
    async with running_core(tmp_path, clock=FakeClock()) as core:
        await core.add_account(25)
        yield core


async def test_a_route_is_found_once(core: Core) -> None:
    routes = Routes(core.store.directory)
    route = await routes.find(ACME, None)
    assert (route.account.id, route.queue_key, route.is_free_for("spring")) == ("main", "acme/main/acme", True)
    assert await routes.find(ACME, None) is route
    assert await routes.renewed(route) is route
    assert await routes.find(ACME, "main") == route


async def test_a_change_is_seen_at_once(core: Core) -> None:
    routes = Routes(core.store.directory)
    route = await routes.find(ACME, None)
    await core.store.directory.change_account(ACME, "main", lambda found: replace(found, enabled=False))
    with pytest.raises(Rejected) as caught:
        await routes.find(ACME, None)
    assert caught.value.refusal is Refusal.ACCOUNT_DISABLED
    assert (await routes.renewed(route)).account is route.account  # what had begun goes on


async def test_limits_and_suspensions_have_a_say(core: Core) -> None:
    routes = Routes(core.store.directory)
    route = await routes.find(ACME, None)
    await core.store.suspensions.suspend(ACME, "spring", core.clock.now())
    suspended = await routes.renewed(route)
    assert [suspended.is_free_for(batch) for batch in ("spring", "summer", None)] == [False, True, True]
    await core.change_tenant(limits=Limits(per_hour=1))
    assert not (await routes.renewed(suspended)).is_free_for("summer")
    assert not (await routes.find(ACME, None)).is_free_for(None)


async def test_a_tenant_that_is_gone_sends_nothing(core: Core) -> None:
    routes = Routes(core.store.directory)
    await core.add_tenant("other")
    await core.add_account(25, "theirs", tenant="other")
    route = await routes.find("other", "theirs")
    await core.store.directory.delete_tenant("other")
    for asked in (routes.find("other", "theirs"), routes.renewed(route)):
        with pytest.raises(Rejected) as caught:
            await asked
        assert caught.value.refusal is Refusal.AUTH_REQUIRED


async def test_where_changes_may_go_unheard_nothing_is_kept(core: Core) -> None:
    routes = Routes(core.store.directory)
    core.store.directory.cache.enabled = False  # type: ignore[attr-defined]  # it is the real one
    route = await routes.find(ACME, None)
    assert await routes.find(ACME, None) is not route
    assert await routes.renewed(route) is not route
