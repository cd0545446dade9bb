"""Who is let in, beside the role matrix: listings, challenges, revoked tokens, what a token may give."""

from __future__ import annotations

from relay.model.tenant import Scope
from tests.sidecar_api.conftest import Door

MESSAGE = {"from": "a@a.example", "to": "b@b.example", "text": "x"}


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
