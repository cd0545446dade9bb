"""The REST door on the real intake and store."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client import generate_latest

from relay.clock import Clock
from relay.model.instance import Standing
from relay.model.tenant import AccountKind
from sidecar_api.app import App
from sidecar_api.client import Client
from sidecar_api.services import Services
from sidecar_api.site import Site, start_site
from sidecar_api.streams import StreamTerms
from tests.sidecar_api.conftest import listening
from tests.sidecar_api.memory import Probe
from tests.support.core import ACME, Core, running_core


@dataclass
class Whole:
    """The door, an admin and a tenant before it, the core behind it."""

    core: Core
    admin: Client
    acme: Client
    url: str
    token: str
    """The tenant's."""
    site: Site

    async def captured(self, queue_id: str) -> Any:
        """The message once it is captured."""
        await self.core.log.wait_for("captured", queue_id)
        return await self.acme.request("GET", f"/v1/messages/{queue_id}")


@contextlib.asynccontextmanager
async def whole_door(
    directory: Path, clock: Clock | None = None, *, url: str | None = None, streams: StreamTerms | None = None
) -> AsyncIterator[Whole]:
    """Open; its account keeps what it is given."""

    async def readiness() -> Mapping[str, str]:
        return {}

    async def metrics() -> bytes:
        return generate_latest(core.metrics.registry)

    async with running_core(directory, clock=clock, url=url) as core:
        await core.add_account(25, kind=AccountKind.CAPTURE)
        app = App(
            Services(
                intake=core.intake,
                limits=core.store.limits,
                archive=core.store.archive,
                contents=core.store.contents,
                directory=core.store.directory,
                commands=core.store.commands,
                suspensions=core.store.suspensions,
                suppressions=core.store.suppressions,
                feed=core.store.feed,
                client_sides=core.store.client_sides,
                bounce_mailboxes=core.store.bounce_mailboxes,
                probe=Probe(),
                explainer=core.explainer,
                metrics=metrics,
                readiness=readiness,
                standing=lambda: Standing(core.clock.now(), "sqlite", 1, (), core.dispatcher.active),
                follow=core.switch.follow,
                clock=core.clock,
                version="1",
                hostname="relay.example",
                streams=streams or StreamTerms(),
            )
        )
        path = directory / "s"
        site = await start_site(app, sockets=[listening()], unix_path=path, shutdown_timeout=1)
        async with Client.unix(path) as admin:
            token = (await admin.request("POST", "/v1/tokens", json={"name": "t", "tenant": ACME}))["token"]
            async with Client(f"http://127.0.0.1:{site.ports[0]}", token=token) as acme:
                yield Whole(core, admin, acme, f"http://127.0.0.1:{site.ports[0]}", token, site)
        await site.stop()
