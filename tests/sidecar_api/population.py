"""Three tenants on a real store, each with one of everything that can be owned, and callers of every kind."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from relay.clock import SECOND
from relay.model.tenant import Scope, Token
from relay.secrets import token_hash
from sidecar_api.client import Client
from tests.sidecar_api.whole import Whole, whole_door

OWNERS = ("alpha", "beta", "gamma")
"""Tenants; the last is suspended."""
MISSING = "missing"
SCOPES: Mapping[str, tuple[str | None, frozenset[Scope]]] = {
    "alpha": ("alpha", frozenset(Scope)),
    "beta": ("beta", frozenset(Scope)),
    "alpha reads": ("alpha", frozenset({Scope.READ})),
    "alpha sends": ("alpha", frozenset({Scope.SEND})),
    "alpha manages": ("alpha", frozenset({Scope.MANAGE})),
    "suspended": ("gamma", frozenset(Scope)),
    "admin": (None, frozenset(Scope)),
    "admin reads": (None, frozenset({Scope.READ})),
    "unix": (None, frozenset(Scope)),
}
"""Callers that are known: of which tenant (None: of none, an admin), and what they may do."""
UNKNOWN = ("none", "bad", "expired", "revoked")
CALLERS = (*UNKNOWN, *SCOPES)


def canaries(owner: str) -> tuple[str, ...]:
    """Words that stand in what an owner has, and that nobody else may read."""
    return (f"canary-{owner}-", f"{owner}.canary.example", f"user-{owner}", f"password-{owner}")


@dataclass
class Answer:
    """As a client sees it."""

    status: int
    text: str
    """Header fields and body."""
    body: bytes


@dataclass
class Population:
    """The door with all of them behind it."""

    whole: Whole
    session: aiohttp.ClientSession
    local: aiohttp.ClientSession
    secrets: dict[str, str] = field(default_factory=dict)
    """By caller."""
    things: dict[tuple[str, str], str] = field(default_factory=dict)
    """Ids by what it is and whose."""
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def admin(self) -> Client:
        """Over the Unix socket."""
        return self.whole.admin

    def name(self, owner: str) -> str:
        """A new one."""
        return f"canary-{owner}-{self.number()}"

    def number(self) -> int:
        """A new one."""
        return next(self._numbers)

    async def make(self, kind: str, owner: str) -> str:
        """One more thing of an owner; its id."""
        return str(await getattr(self, f"_make_{kind}")(owner))

    async def _make_messages(self, owner: str) -> str:
        body = {
            "from": f"ann@{owner}.canary.example",
            "to": f"bob@{owner}.canary.example",
            "subject": f"canary-{owner}-subject",
            "text": f"canary-{owner}-text",
            "send_at": "+1h",
            "client_id": self.name(owner),
            "batch": f"canary-{owner}-batch",
            "tags": [f"canary-{owner}-tag"],
            "metadata": {"m": f"canary-{owner}-metadata"},
        }
        return str((await self._add("/v1/messages", owner, body))["id"])

    async def _make_accounts(self, owner: str) -> str:
        user = {"user": f"user-{owner}", "password": f"password-{owner}"}
        body = {"id": self.name(owner), "host": f"{owner}.canary.example", "tls": "none", **user}
        return str((await self._add("/v1/accounts", owner, body))["id"])

    async def _make_credentials(self, owner: str) -> str:
        body = {"username": self.name(owner), "allowed_senders": [f"@{owner}.canary.example"]}
        return str((await self._add("/v1/credentials", owner, body))["username"])

    async def _make_tokens(self, owner: str) -> str:
        """That only manages, so that whoever manages may change it."""
        body = {"name": self.name(owner), "scopes": ["manage"]}
        return str((await self._add("/v1/tokens", owner, body))["id"])

    async def _make_batches(self, owner: str) -> str:
        name = self.name(owner)
        await self.admin.request("POST", f"/v1/batches/{name}/suspend", query={"tenant": owner})
        return name

    async def _make_suppressions(self, owner: str) -> str:
        body = {"address": f"{self.name(owner)}@example.com", "note": f"canary-{owner}-note"}
        return str((await self._add("/v1/suppressions", owner, body))["address"])

    async def _make_tenants(self, owner: str) -> str:
        """One like it, without mail."""
        return str((await self.admin.request("POST", "/v1/tenants", json={"id": self.name(owner)}))["id"])

    async def _add(self, path: str, owner: str, body: object) -> Any:
        return await self.admin.request("POST", path, json=body, query={"tenant": owner})

    async def ask(
        self, caller: str, method: str, path: str, *, body: bytes | None = None, media: str = "application/json"
    ) -> Answer:
        """One request as a caller of that kind; of an answer without end only what stands at its head."""
        headers = {"X-Request-ID": "r"}
        if body is not None:
            headers["Content-Type"] = media
        if caller in self.secrets:
            headers |= {"Authorization": f"Bearer {self.secrets[caller]}", "X-API-Token": self.secrets[caller]}
        session, base = (self.local, "http://relay") if caller == "unix" else (self.session, self.whole.url)
        async with session.request(method, base + path, data=body, headers=headers) as response:
            endless = response.content_type == "text/event-stream"
            octets = b"" if endless else await response.read()
            text = "\n".join(f"{name}: {value}" for name, value in response.headers.items())
            return Answer(response.status, f"{text}\n\n{octets.decode('utf-8', 'replace')}", octets)


@contextlib.asynccontextmanager
async def populated(directory: Path, url: str | None = None) -> AsyncIterator[Population]:
    """The door, open, on SQLite or the store at the URL; one thing of each kind for each owner."""
    async with (
        whole_door(directory, url=url) as whole,
        aiohttp.ClientSession() as session,
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(directory / "s"))) as local,
    ):
        population = Population(whole, session, local)
        for account in ("main", "backup"):
            shared = {"id": account, "kind": "capture", "default": account == "main"}
            await whole.admin.request("POST", "/v1/accounts", json=shared, query={"tenant": "*"})
        for owner in OWNERS:
            await whole.admin.request("POST", "/v1/tenants", json={"id": owner, "name": f"canary-{owner}-tenant"})
            population.things["tenants", owner] = owner
            for kind in ("messages", "accounts", "credentials", "tokens", "batches", "suppressions"):
                population.things[kind, owner] = await population.make(kind, owner)
        await whole.admin.request("POST", "/v1/tenants/gamma/suspend")
        await _give_tokens(population)
        yield population


async def _give_tokens(population: Population) -> None:
    """To every kind of caller; the revoked one was good once."""
    directory, clock = population.whole.core.store.directory, population.whole.core.clock
    for caller, (tenant, scopes) in {**SCOPES, "revoked": SCOPES["alpha"]}.items():
        body = {"name": caller, "tenant": tenant, "scopes": [str(scope) for scope in scopes]}
        made = await population.admin.request("POST", "/v1/tokens", json=body)
        population.secrets[caller] = made["token"]
        if caller == "revoked":
            assert (await population.ask(caller, "GET", "/v1/messages")).status == 200
            await population.admin.request("DELETE", f"/v1/tokens/{made['id']}")
    population.secrets |= {"bad": "sp_bad", "expired": "sp_expired"}
    await directory.add_token(
        Token("expired", "expired", "alpha", expires_at=clock.now() - SECOND), token_hash("sp_expired")
    )
    del population.secrets["unix"]


def numbered(example: object, number: int) -> bytes:
    """A body like its example, whose id nothing has yet."""
    if isinstance(example, dict):
        example = {
            name: f"{value}-{number}" if name in {"id", "username", "client_id"} and isinstance(value, str) else value
            for name, value in example.items()
        }
    return orjson.dumps(example)
