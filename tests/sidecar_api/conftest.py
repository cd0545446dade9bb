"""The REST door on real sockets, TCP and Unix, with parts behind it that keep everything in memory."""

from __future__ import annotations

import contextlib
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from json import dumps
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest

from relay.clock import DAY, SystemClock
from relay.model.instance import Door as Listening
from relay.model.instance import Standing
from relay.model.tenant import Account, AccountKind, Credential, Scope, Tenant, Token
from relay.secrets import hash_generated, token_hash
from sidecar_api.app import App
from sidecar_api.services import Services
from sidecar_api.site import Site, start_site
from tests.sidecar_api.memory import (
    NOW,
    Archive,
    MemoryBounceMailboxes,
    MemoryClientSides,
    MemoryCommands,
    MemoryDirectory,
    MemoryFeed,
    MemoryLimits,
    MemorySuppressions,
    Probe,
    RecordingIntake,
    Suspensions,
)


class FixedClock(SystemClock):
    """Stands at NOW."""

    def now(self) -> int:
        """Always the same."""
        return NOW


@dataclass
class Answer:
    """An answer as a client sees it."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Parsed."""
        return orjson.loads(self.body)

    @property
    def paths(self) -> set[str]:
        """Where the violations are."""
        return {one["path"] for one in self.json["violations"]}


@dataclass
class Door:
    """What a test may reach."""

    intake: RecordingIntake
    archive: Archive
    directory: MemoryDirectory
    port: int
    socket_path: Path
    session: aiohttp.ClientSession
    local: aiohttp.ClientSession
    ill: dict[str, str] = field(default_factory=dict)

    async def ask(
        self,
        method: str,
        path: str,
        token: str | None = "a-all",
        *,
        json: object = None,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
        unix: bool = False,
    ) -> Answer:
        """One request; `json` may be bytes as they go to the wire."""
        sent = dict(headers or {})
        if token is not None and not unix:
            sent.setdefault("Authorization", f"Bearer {token}")
            sent.setdefault("X-API-Token", token)
        if json is not None:
            data = json if isinstance(json, bytes) else dumps(json).encode()
            sent.setdefault("Content-Type", "application/json")
        session, base = (self.local, "http://relay") if unix else (self.session, f"http://127.0.0.1:{self.port}")
        if isinstance(data, bytes):
            data = BytesIO(data)
        async with session.request(method, base + path, data=data, headers=sent) as response:
            return Answer(response.status, response.headers, await response.read())


TOKENS = {
    "a-all": Token("tok-a", "a", "a"),
    "b-all": Token("tok-b", "b", "b"),
    "a-read": Token("tok-a-read", "reads", "a", frozenset({Scope.READ})),
    "a-send": Token("tok-a-send", "sends", "a", frozenset({Scope.SEND})),
    "a-manage": Token("tok-a-manage", "manages", "a", frozenset({Scope.MANAGE})),
    "expired": Token("tok-old", "old", "a", expires_at=NOW),
    "fresh": Token("tok-new", "new", "a", expires_at=NOW + DAY),
    "admin": Token("tok-admin", "admin", None),
    "admin-read": Token("tok-admin-read", "watches", None, frozenset({Scope.READ})),
}


def filled_directory() -> MemoryDirectory:
    """Tenants a, b and default, each with an account and a credential, and the tokens above."""
    directory = MemoryDirectory()
    for tenant in ("a", "b", "default"):
        directory.by_tenant[tenant] = Tenant(tenant, f"Tenant {tenant}", "main", NOW)
        account = Account(
            tenant, "main", AccountKind.SMTP, f"{tenant}.canary.example", user=tenant, password=f"pass-{tenant}"
        )
        directory.by_account[tenant, "main"] = account
        username = f"user-{tenant}"
        directory.by_username[username] = Credential(username, tenant, hash_generated(f"secret-{tenant}"))
    directory.by_account["*", "capture"] = Account("*", "capture", AccountKind.CAPTURE)
    directory.by_hash = {token_hash(secret): token for secret, token in TOKENS.items()}
    return directory


def listening() -> socket.socket:
    """A bound loopback socket."""
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    return bound


def services_of(
    intake: RecordingIntake, archive: Archive, directory: MemoryDirectory, ill: Mapping[str, str], max_body: int
) -> Services:
    """What the door is given."""

    async def readiness() -> Mapping[str, str]:
        return ill

    async def metrics() -> bytes:
        return generate_latest(registry)

    async def follow() -> None:
        """There is no dispatch."""

    registry = CollectorRegistry()
    Counter("stagepost_test", "A counter", registry=registry).inc()
    return Services(
        intake=intake,
        limits=MemoryLimits(),
        archive=archive,
        contents=archive,
        directory=directory,
        commands=MemoryCommands(),
        suspensions=Suspensions(directory),
        suppressions=MemorySuppressions(directory),
        feed=MemoryFeed(),
        client_sides=MemoryClientSides(directory),
        bounce_mailboxes=MemoryBounceMailboxes(),
        probe=Probe(),
        explainer=archive,
        metrics=metrics,
        readiness=readiness,
        standing=lambda: Standing(NOW, "sqlite", 1, (Listening("smtp", "127.0.0.1:2525", "none"),), True),
        follow=follow,
        clock=FixedClock(),
        version="1.2.3",
        hostname="relay.example",
        max_body=max_body,
        body_memory=2 * max_body,
    )


@contextlib.asynccontextmanager
async def open_door(adapt: Callable[[Services], Services] = lambda services: services) -> AsyncIterator[Door]:
    """A door that is given what `adapt` makes of the services."""
    archive, directory, ill = Archive(), filled_directory(), dict[str, str]()
    intake = RecordingIntake(archive)
    app = App(adapt(services_of(intake, archive, directory, ill, max_body=2_000_000)))
    with tempfile.TemporaryDirectory() as folder:  # a socket's path must be short
        path = Path(folder) / "api.sock"
        site: Site = await start_site(app, sockets=[listening()], unix_path=path, shutdown_timeout=1)
        async with (
            aiohttp.ClientSession() as session,
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as local,
        ):
            yield Door(intake, archive, directory, site.ports[0], path, session, local, ill)
        await site.stop()


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    """The door, open."""
    async with open_door() as one:
        yield one
