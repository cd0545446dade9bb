"""The role matrix, made from the route table: every route × every kind of caller, all as declared."""

from __future__ import annotations

from typing import Any

import pytest

from relay.model.tenant import Scope
from sidecar_api.auth import Access
from sidecar_api.dialect import Dialect
from sidecar_api.genro.schemas.queries import GenroTenantQuery
from sidecar_api.route import RFC822, Route
from sidecar_api.routes import ROUTES
from sidecar_api.schemas.examples import example_of
from sidecar_api.schemas.queries import TenantQuery
from tests.sidecar_api.conftest import TOKENS, Door

MESSAGE = {"from": "a@a.example", "to": "b@b.example", "text": "x"}
BODIES: dict[str, Any] = {"add_token": {"name": "new", "scopes": ["manage"]}}
"""Where the example of the reference is not for every caller."""
CALLERS = ["", "bad", "expired", "a-all", "b-all", "a-read", "a-send", "a-manage", "admin", "admin-read", "unix"]
ADMINS = {"admin", "admin-read", "unix"}
CANARIES = (b"b.canary.example", b"user-b", b"pass-", b"tok-b", b"secret-")


async def call(door: Door, route: Route, caller: str, *, path: str | None = None) -> tuple[int, bytes]:
    body: Any = None if route.body is None else BODIES.get(route.name, example_of(route.body))
    if caller in ADMINS and route.name == "genro_put_account":
        body = {**body, "tenant_id": "a"}
    if caller in ADMINS and route.name == "genro_add_messages":
        body = {"messages": [{**one, "tenant_id": "a"} for one in body["messages"]]}
    raw = b"From: a@a.example\nTo: b@b.example\n\nx\n" if route.media == RFC822 else None
    answer = await door.ask(
        route.method,
        path or await address(door, route, caller),
        caller or None,
        json=body,
        data=raw,
        headers={"Content-Type": RFC822} if raw else None,
        unix=caller == "unix",
    )
    return answer.status, answer.body


async def address(door: Door, route: Route, caller: str, *, owner: str = "a") -> str:
    """The route's path to a thing of `owner`, which is made first where it must exist."""
    query = f"?tenant={owner}" if route.access.is_admin is False and caller in ADMINS else ""
    if issubclass(route.query, GenroTenantQuery):
        query = query.replace("tenant", "tenant_id")
    elif not issubclass(route.query, TenantQuery):
        query = ""
    if route.name == "purge_commands":
        query = "?before=%2B1s"
    if route.name == "stream_events":  # which would not end
        query += "&limit=1" if query else "?limit=1"
    path = route.path
    if "{address}" in path:
        await door.ask("POST", f"/v1/suppressions?tenant={owner}", "admin", json={"address": "gone@a.example"})
    if path.startswith("/v1/messages/{id}"):
        made = await door.ask("POST", f"/v1/messages?tenant={owner}", "admin", json=MESSAGE)
        path = path.replace("{id}", made.json["id"])
    names = {"/v1/tenants/": owner, "/v1/accounts/": "main", "/v1/tokens/": "tok-new"}
    names |= {"/tenant/": owner, "/account/": "main"}
    for prefix, name in names.items():
        if path.startswith(prefix):
            path = path.replace("{id}", name)
    path = path.replace("{username}", f"user-{owner}").replace("{batch}", "spring")
    return path.replace("{address}", "gone@a.example") + query


def expected(route: Route, caller: str) -> int | None:
    """401 or 403 as the table declares; None: let through."""
    if route.access is Access.PUBLIC or caller == "unix":
        return None
    if route.access is Access.METRICS:  # the tests call from loopback
        return None
    if caller in {"", "bad", "expired"}:
        return 401
    token = TOKENS[caller]
    if route.access.is_admin and not token.is_admin:
        return 403
    if route.access.scope not in token.scopes:
        return 403
    return None


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_every_caller_as_declared(door: Door, route: Route) -> None:
    for caller in CALLERS:
        if caller == "b-all":
            continue
        status, body = await call(door, route, caller)
        wanted = expected(route, caller)
        if wanted is not None:
            assert status == wanted, (caller, body)
        elif route.method == "DELETE" or (route.name.startswith("add_") and status == 409):
            assert status in {*route.answers, 400, 404, 409}, (caller, body)  # an earlier caller has done it
        elif route.name in {"change_token", "rotate_token"} and caller == "a-manage":
            assert status == 403, (caller, body)  # the token has scopes that the caller lacks
        else:
            assert status in route.answers, (caller, body)
        if caller.startswith("a-"):
            assert not any(canary in body for canary in CANARIES), (caller, body)


@pytest.mark.parametrize(
    "route",
    [r for r in ROUTES if "{" in r.path and "{batch}" not in r.path and not r.access.is_admin],
    ids=lambda r: f"{r.method} {r.path}",
)
async def test_a_foreign_thing_is_as_one_that_is_missing(door: Door, route: Route) -> None:
    theirs = await address(door, route, "b-all", owner="a")
    if route.path.startswith(("/v1/accounts", "/account/")):
        door.directory.by_account.pop(("b", "main"))
    foreign = await call(door, route, "b-all", path=theirs)
    missing = await call(
        door,
        route,
        "b-all",
        path=route.path.replace("{id}", "missing").replace("{username}", "nobody").replace("{address}", "no@a.example"),
    )
    assert foreign[0] == missing[0]
    if route.dialect is Dialect.GENRO:
        assert foreign[1] == missing[1].replace(b"missing", b"main")
        assert foreign[0] in {400, 401}
        return
    assert foreign[0] == 404
    if issubclass(route.query, TenantQuery):
        by_name = await call(door, route, "b-all", path=f"{theirs}?tenant=a")
        assert by_name[0] == 404


@pytest.mark.parametrize("route", [r for r in ROUTES if "{batch}" in r.path], ids=lambda r: f"{r.method} {r.path}")
async def test_a_batch_is_a_name_within_a_tenant(door: Door, route: Route) -> None:
    assert (await call(door, route, "b-all"))[0] == 200
    assert "spring" not in door.directory.by_tenant["a"].suspensions
    assert (await call(door, route, "b-all", path=route.path.replace("{batch}", "spring") + "?tenant=a"))[0] == 404


async def test_listings_hold_the_callers_own(door: Door) -> None:
    for tenant in ("a", "b"):
        await door.ask("POST", f"/v1/messages?tenant={tenant}", "admin", json=MESSAGE)
    for path in ("/v1/messages", "/v1/accounts", "/v1/credentials", "/v1/tokens"):
        items = (await door.ask("GET", path, "a-all")).json["items"]
        assert {item["tenant"] for item in items} == {"a"}, path
        everything = (await door.ask("GET", path, "admin")).json["items"]
        assert {"a", "b"} <= {item["tenant"] for item in everything}
        named = (await door.ask("GET", f"{path}?tenant=b", "admin")).json["items"]
        assert {item["tenant"] for item in named} == {"b"}


async def test_a_401_challenges_and_tells_no_bad_token_from_another(door: Door) -> None:
    none = await door.ask("GET", "/v1/messages", None)
    assert none.headers["WWW-Authenticate"] == 'Bearer realm="stagepost"'
    bodies = set()
    for header in ("Bearer bad", "Bearer expired", "Basic YTpi", "Bearer", "Bearer " + "x" * 5000, "bearer  bad"):
        answer = await door.ask("GET", "/v1/messages", None, headers={"Authorization": header, "X-Request-ID": "r"})
        assert answer.status == 401
        bodies.add(answer.body)
    assert len(bodies) == 1


async def test_a_revoked_token_is_refused_at_once(door: Door) -> None:
    assert (await door.ask("GET", "/v1/messages", "fresh")).status == 200
    assert (await door.ask("DELETE", "/v1/tokens/tok-new", "a-all")).status == 204
    assert (await door.ask("GET", "/v1/messages", "fresh")).status == 401


async def test_a_token_never_gives_more_than_it_has(door: Door) -> None:
    wider = await door.ask("POST", "/v1/tokens", "a-manage", json={"name": "n", "scopes": ["send"]})
    assert (wider.status, wider.json["code"]) == (403, "missing_scope")
    foreign = await door.ask("POST", "/v1/tokens", "a-manage", json={"name": "n", "tenant": "b"})
    assert foreign.status == 404
    own = await door.ask("POST", "/v1/tokens", "a-manage", json={"name": "n"})
    assert own.status == 201
    made = next(t for t in door.directory.by_hash.values() if t.id == own.json["id"])
    assert (made.tenant, made.scopes) == ("a", frozenset({Scope.MANAGE}))


async def test_only_an_admin_acts_for_the_instance(door: Door) -> None:
    body = {"id": "all", "kind": "capture", "default": True}
    assert (await door.ask("POST", "/v1/accounts?tenant=*", "a-all", json=body)).status == 404
    assert (await door.ask("POST", "/v1/accounts?tenant=*", "admin", json=body)).status == 201
    unnamed = await door.ask("POST", "/v1/accounts", "admin", json={**body, "id": "other"})
    assert unnamed.paths == {"?tenant"}
