"""The role matrix, made from the route table: every route × every kind of caller × {own, foreign, missing}, all as declared,
on a real store; and nothing of one tenant in what another is answered.

A foreign thing is answered as a missing one, octet for octet.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from relay.model.tenant import Scope
from sidecar_api import operations
from sidecar_api.auth import Access
from sidecar_api.dialect import Dialect
from sidecar_api.genro.schemas.queries import GenroTenantQuery
from sidecar_api.route import RFC822, Group, Route
from sidecar_api.routes import GROUPS, ROUTES
from sidecar_api.schemas.examples import example_of
from sidecar_api.schemas.queries import TenantQuery
from tests.sidecar_api.population import (
    CALLERS,
    MISSING,
    OWNERS,
    SCOPES,
    UNKNOWN,
    Answer,
    Population,
    canaries,
    numbered,
    populated,
)
from tests.support import postgres

WHICH = ("own", "foreign", "missing")
RAW = b"From: a@a.example\nTo: b@b.example\n\nx\n"
BODIES: dict[str, Any] = {
    "add_token": {"name": "new", "scopes": ["manage"]},
    "change_tenant": {"name": "New"},
    "genro_put_tenant": {"id": "new"},
    "add_account": {"id": "new", "kind": "capture"},
}
"""Where the example of the reference is not for every caller."""
QUERIES = {"purge_commands": "before=2000-01-01T00:00:00Z", "stream_events": "limit=1"}
"""Where one is required."""
FIRST = {"release_message": "hold", "delete_message": "cancel"}
"""What is to be done with a message so that it may be acted on."""
NAMES = ("{batch}",)
"""Parts of a path that name something within the tenant, whether it is there or not."""


@dataclass(frozen=True)
class Cell:
    """One caller of one route, with a thing of one kind."""

    route: Route
    caller: str
    which: str

    @property
    def tenant(self) -> str | None:
        """The caller's; None is an admin's."""
        return SCOPES[self.caller][0]

    @property
    def kind(self) -> str | None:
        """What the route's path leads to."""
        parent = self.route.path.partition("/{")[0].rpartition("/")[2] if "{" in self.route.path else None
        return {"account": "accounts", "tenant": "tenants"}.get(parent or "", parent)

    @property
    def names_tenant(self) -> str | None:
        """By which parameter of its query one may be named, if it may."""
        if issubclass(self.route.query, TenantQuery):
            return "tenant"
        return "tenant_id" if issubclass(self.route.query, GenroTenantQuery) else None

    @property
    def is_declared(self) -> bool:
        """Whether the table lets the caller in, whatever is asked for."""
        access = self.route.access
        if access in {Access.PUBLIC, Access.METRICS}:  # the tests call from loopback
            return True
        if self.caller in UNKNOWN:
            return False
        return (self.tenant is None or not access.is_admin) and (
            access.scope is None or access.scope in SCOPES[self.caller][1]
        )

    @property
    def is_found(self) -> bool:
        """Whether there is, for this caller, what is asked for."""
        if self.which == "own" or not (self.kind or self.names_tenant):
            return True
        if self.kind == "tenants":
            return self.which == "foreign" and self.tenant is None
        if any(name in self.route.path for name in NAMES):
            return True
        return self.kind is None and self.which == "foreign" and self.tenant is None

    @property
    def wanted(self) -> set[int]:
        """What the answer's status may be."""
        if not self.is_declared:
            return {401} if self.caller in UNKNOWN else {403}
        if self.is_found:
            return {status for status in self.route.answers if status != 304}
        return {404} if self.route.dialect is Dialect.OURS else {400, 401, 404}


def cells_of(group: Group) -> Iterator[Cell]:
    """All of a resource."""
    for route in group.routes:
        for caller in CALLERS:
            yield from (Cell(route, caller, which) for which in WHICH)


async def ask(population: Population, cell: Cell) -> tuple[Answer, str]:
    """The cell's request, and its path."""
    route, owner = cell.route, (SCOPES[cell.caller][0] if cell.caller in SCOPES else None) or "alpha"
    whose = {"own": owner, "foreign": "beta" if owner != "beta" else "alpha", "missing": MISSING}[cell.which]
    path, query = route.path, [QUERIES[route.name]] if route.name in QUERIES else []
    if cell.kind is not None:
        own = population.things[cell.kind, owner]
        thing = f"{own}x" if whose == MISSING else await _thing(population, cell, cell.kind, whose)
        path = re.sub(r"\{\w+\}", thing, path, count=1)
        if cell.names_tenant and cell.caller in SCOPES and cell.tenant is None:
            query.append(f"{cell.names_tenant}={owner}")
    elif cell.names_tenant and (cell.which != "own" or cell.caller in {"admin", "admin reads", "unix"}):
        query.append(f"{cell.names_tenant}={whose}")
    body = None
    if route.body is not None:
        example: Any = BODIES.get(route.name) or example_of(route.body)
        if route.name == "genro_put_account":
            example = {**example, "tenant_id": owner}
        if route.name == "genro_add_messages":
            example = {"messages": [{**one, "tenant_id": owner} for one in example["messages"]]}
        body = numbered(example, population.number())
    elif route.media == RFC822:
        body = RAW
    path += "?" + "&".join(query) if query else ""
    return await population.ask(cell.caller, route.method, path, body=body, media=route.media_types[-1]), path


async def _thing(population: Population, cell: Cell, kind: str, whose: str) -> str:
    """Its id: a new one's, where it is going to be changed."""
    shared = population.things[kind, whose]
    if cell.route.method == "GET" or not cell.is_declared or not cell.is_found:
        return shared
    if kind == "tenants" and (cell.tenant is not None or cell.route.method != "DELETE"):
        return shared
    thing = await population.make(kind, whose)
    if (first := FIRST.get(cell.route.name)) is not None:
        await population.admin.request("POST", f"/v1/messages/{thing}/{first}")
    return thing


def foreign_words(cell: Cell, path: str) -> list[str]:
    """What this caller must not read, but for what it says itself."""
    own = SCOPES[cell.caller][0] if cell.caller in SCOPES else None
    if cell.caller in SCOPES and own is None:
        return []
    return [word for owner in OWNERS if owner != own for word in canaries(owner) if word not in path]


async def faults_of(population: Population, cell: Cell) -> list[str]:
    """What is not as declared."""
    answer, path = await ask(population, cell)
    told = f"{cell.route.method} {path} by {cell.caller!r}: {answer.status} {answer.body[:200]!r}"
    faults = [] if answer.status in cell.wanted else [f"{told}, not {sorted(cell.wanted)}"]
    faults += [f"{told} tells {word!r}" for word in foreign_words(cell, path) if word in answer.text]
    if cell.which == "foreign" and cell.wanted == {404}:
        missing, other = await ask(population, Cell(cell.route, cell.caller, "missing"))
        if _without(answer.body, path) != _without(missing.body, other):
            faults.append(f"{told}, but {missing.body[:200]!r} where there is none")
    return faults


def _without(body: bytes, path: str) -> bytes:
    """An answer without what was asked for."""
    words = re.split(r"[/?=&]", path)[3:]
    return re.sub(b"|".join(re.escape(word.encode()) for word in words if word), b"", body)


async def things_of(population: Population, owner: str) -> list[Any]:
    """What an owner had from the beginning, as it stands, but for what its own callers do to all of its mail."""
    found: list[Any] = []
    for kind in ("messages", "accounts", "credentials"):
        path = f"/v1/{kind}/{population.things[kind, owner]}"
        thing = await population.admin.request("GET", path, query={"tenant": owner})
        found.append({name: value for name, value in thing.items() if name != "suspended"})
    return found


async def batch_of(population: Population, owner: str) -> list[Any]:
    """A batch of an owner's, as it stands."""
    batches = population.admin.pages(operations.LIST_BATCHES, query={"tenant": owner})
    return [one async for one in batches if one["batch"] == population.things["batches", owner]]


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.tag)
async def test_every_caller_as_declared(tmp_path: Path, group: Group) -> None:
    assert not (faults := await faults_in(tmp_path, group)), "\n".join(faults)


@pytest.mark.long
@pytest.mark.postgres
@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.tag)
async def test_every_caller_as_declared_on_postgres(tmp_path: Path, group: Group) -> None:
    url = postgres.new_database()
    try:
        assert not (faults := await faults_in(tmp_path, group, url)), "\n".join(faults)
    finally:
        postgres.drop_database(url)


async def faults_in(directory: Path, group: Group, url: str | None = None) -> list[str]:
    """Of all cells of a resource; what was there from the beginning is as it was."""
    faults: list[str] = []
    async with populated(directory, url) as population:
        before = [await things_of(population, owner) for owner in OWNERS]
        for cell in cells_of(group):
            if cell.caller == "suspended" and cell.kind == "tenants":
                await population.admin.request("POST", "/v1/tenants/gamma/suspend")
            faults += await faults_of(population, cell)
        assert [await things_of(population, owner) for owner in OWNERS] == before
    return faults


async def test_a_batch_is_a_name_within_a_tenant(tmp_path: Path) -> None:
    async with populated(tmp_path) as population:
        before = await batch_of(population, "beta")
        answer = await population.ask("alpha", "POST", f"/v1/batches/{population.things['batches', 'beta']}/resume")
        assert (answer.status, await batch_of(population, "beta")) == (200, before)
        assert before[0]["suspended"]


def test_the_matrix_is_whole() -> None:
    cells = [cell for group in GROUPS for cell in cells_of(group)]
    assert len(cells) == len(ROUTES) * len(CALLERS) * len(WHICH)
    assert {"none", "bad", "expired", "revoked", "alpha", "beta", "alpha reads", "suspended", "admin"} <= set(CALLERS)
    for caller in CALLERS:  # each is let in somewhere and, but for an admin, kept out somewhere
        mine = [cell for cell in cells if cell.caller == caller]
        assert any(cell.is_declared for cell in mine)
        assert caller in {"admin", "unix"} or not all(cell.is_declared for cell in mine)
    for route in ROUTES:
        if "{" in route.path and not any(name in route.path for name in NAMES) and route.dialect is Dialect.OURS:
            assert {404} in [cell.wanted for cell in cells if cell.route is route and cell.which == "foreign"] or (
                route.access.is_admin
            )


async def test_a_route_that_lets_in_too_many_is_found(tmp_path: Path) -> None:
    """The control: one that is served to whoever reads, and declared as an admin's."""
    listing = next(route for route in ROUTES if route.name == "list_messages")
    async with populated(tmp_path) as population:
        wrong = Cell(replace(listing, access=Access.ADMIN), "alpha reads", "own")
        assert await faults_of(population, wrong)
        answer = await population.ask("unix", "GET", "/v1/messages?tenant=beta")
        assert any(word in answer.text for word in foreign_words(Cell(listing, "alpha", "own"), "/v1/messages"))


def test_scopes_are_those_there_are() -> None:
    assert {scope for _, scopes in SCOPES.values() for scope in scopes} == set(Scope)
