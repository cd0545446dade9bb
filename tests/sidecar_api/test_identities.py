"""Tokens and credentials change by merge patch and are rotated; what was good before stays so as long as was said."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from relay.clock import HOUR, MINUTE
from relay.ingress.authenticator import Authenticator
from sidecar_api.client import ApiError, Client
from tests.sidecar_api.whole import Whole, whole_door
from tests.support.clock import FakeClock


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Whole]:
    async with whole_door(tmp_path, FakeClock()) as whole:
        yield whole


async def status(client: Client, method: str, path: str, **given: Any) -> int:
    """200 where all is well."""
    try:
        await client.request(method, path, **given)
    except ApiError as error:
        return error.status
    return 200


async def answered(door: Whole, token: str) -> int:
    async with Client(door.url, token=token) as client:
        return await status(client, "GET", "/v1/messages")


async def test_a_rotated_token_and_the_one_before(door: Whole) -> None:
    made = await door.admin.request("POST", "/v1/tokens", json={"name": "t", "tenant": "acme"})
    new = await door.admin.request("POST", f"/v1/tokens/{made['id']}/rotate", json={"overlap": "1h"})
    assert new["token"] != made["token"]
    assert [await answered(door, each["token"]) for each in (made, new)] == [200, 200]
    door.core.fake.advance(HOUR)
    assert [await answered(door, each["token"]) for each in (made, new)] == [401, 200]


async def test_a_token_may_be_bound_to_networks_and_says_when_it_was_used(door: Whole) -> None:
    made = await door.admin.request(
        "POST", "/v1/tokens", json={"name": "t", "tenant": "acme", "networks": ["127.0.0.0/8"]}
    )
    url = f"/v1/tokens/{made['id']}"
    assert (await door.admin.request("GET", url))["last_used_at"] is None
    assert await answered(door, made["token"]) == 200
    await door.core.store.note_uses()
    assert (await door.admin.request("GET", url))["last_used_at"] is not None
    changed = await door.admin.request("PATCH", url, json={"networks": ["192.0.2.0/24"]})
    assert (changed["networks"], changed["name"]) == (["192.0.2.0/24"], "t")
    assert await answered(door, made["token"]) == 403
    await door.admin.request("PATCH", url, json={"networks": []})
    assert await answered(door, made["token"]) == 200


async def test_a_token_changes_only_within_the_callers_rights(door: Whole) -> None:
    small = await door.admin.request("POST", "/v1/tokens", json={"name": "m", "tenant": "acme", "scopes": ["manage"]})
    wide = await door.admin.request("POST", "/v1/tokens", json={"name": "w", "tenant": "acme"})
    async with Client(door.url, token=small["token"]) as client:
        assert await status(client, "PATCH", f"/v1/tokens/{small['id']}", json={"scopes": ["send"]}) == 403
        assert await status(client, "POST", f"/v1/tokens/{wide['id']}/rotate", json={}) == 403
        assert await status(client, "PATCH", f"/v1/tokens/{small['id']}", json={"name": "mine"}) == 200
        assert await status(client, "POST", "/v1/tokens/missing/rotate", json={}) == 404
    past = {"expires_at": "2000-01-01T00:00:00Z"}
    assert await status(door.admin, "PATCH", f"/v1/tokens/{small['id']}", json=past) == 422


async def test_a_rotated_credential_and_the_secret_before(door: Whole) -> None:
    clock, directory = door.core.fake, door.core.store.directory
    authenticator = Authenticator(directory, clock, failure_delay=0, failures_per_minute=100)
    made = await door.acme.request("POST", "/v1/credentials", json={"username": "erp"})
    session = await directory.credential("erp")
    assert session is not None
    new = await door.acme.request("POST", "/v1/credentials/erp/rotate", json={"overlap": "1h"})
    for secret in (made["secret"], new["secret"]):
        assert await authenticator._check("erp", secret, None) is not None
    assert await authenticator.current(session) is not None
    clock.advance(HOUR + MINUTE)
    assert await authenticator._check("erp", made["secret"], None) is None
    assert await authenticator._check("erp", new["secret"], None) is not None
    assert await authenticator.current(session) is None
    authenticator.close()


async def test_a_credential_changes_where_it_is_named(door: Whole) -> None:
    await door.acme.request("POST", "/v1/credentials", json={"username": "erp", "batch": "b", "tags": ["x"]})
    changed = await door.acme.request(
        "PATCH", "/v1/credentials/erp", json={"batch": None, "allowed_senders": ["@acme.example"], "priority": "high"}
    )
    assert (changed["batch"], changed["tags"], changed["allowed_senders"], changed["priority"]) == (
        None,
        ["x"],
        ["@acme.example"],
        "high",
    )
    assert await status(door.acme, "PATCH", "/v1/credentials/erp", json={"networks": ["10.0.0.0/8"]}) == 403
    assert await status(door.acme, "PATCH", "/v1/credentials/erp", json={"account": "missing"}) == 422
    assert await status(door.acme, "PATCH", "/v1/credentials/erp", json={"secret": "x"}) == 422
    assert await status(door.acme, "GET", "/v1/credentials/missing") == 404
    network = {"username": "printer", "networks": ["10.0.0.0/8"]}
    await door.admin.request("POST", "/v1/credentials", query={"tenant": "acme"}, json=network)
    assert await status(door.admin, "PATCH", "/v1/credentials/printer", json={"networks": []}) == 422
    assert await status(door.admin, "POST", "/v1/credentials/printer/rotate", json={}) == 409


@pytest.mark.parametrize("path", ["/v1/tokens/{token}/rotate", "/v1/credentials/erp/rotate"])
async def test_a_body_of_which_nothing_is_required_may_be_left_out(door: Whole, path: str) -> None:
    made = await door.acme.request("POST", "/v1/tokens", json={"name": "t"})
    await door.acme.request("POST", "/v1/credentials", json={"username": "erp"})
    path = path.format(token=made["id"])
    assert await status(door.acme, "POST", path) == 200
    assert await status(door.acme, "POST", path, json={}) == 200
    assert await status(door.acme, "POST", path, json=[]) == 422
    assert await status(door.acme, "POST", "/v1/tokens") == 415
    document = await door.acme.request("GET", "/openapi.json")
    required = {
        name: found["post"]["requestBody"]["required"]
        for name, found in document["paths"].items()
        if "requestBody" in found.get("post", {})
    }
    assert (required["/v1/tokens/{id}/rotate"], required["/v1/tokens"]) == (False, True)


async def test_a_tenant_reads_its_own_settings_and_changes_none(door: Whole) -> None:
    await door.admin.request("PATCH", "/v1/tenants/acme", json={"limits": {"per_hour": 5}})
    await door.admin.request("POST", "/v1/tenants", json={"id": "other"})
    assert (await door.acme.request("GET", "/v1/tenants/acme"))["limits"]["per_hour"] == 5
    assert await status(door.acme, "GET", "/v1/tenants/other") == 404
    assert await status(door.acme, "PATCH", "/v1/tenants/acme", json={"limits": {"per_hour": None}}) == 403


async def test_a_token_that_is_used_can_be_changed_as_it_was_read(door: Whole) -> None:
    made = await door.admin.request("POST", "/v1/tokens", json={"name": "t", "tenant": "acme"})
    path, tags, used = f"/v1/tokens/{made['id']}", list[str](), list[str | None]()
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {made['token']}"}) as session:
        for _ in range(2):
            async with session.get(door.url + path) as answer:
                tags.append(answer.headers["ETag"])
                used.append((await answer.json())["last_used_at"])
            await door.core.store.note_uses()
        assert used[0] is None is not used[1]
        for name, wanted in (("new", 200), ("newer", 412)):
            async with session.patch(door.url + path, json={"name": name}, headers={"If-Match": tags[0]}) as answer:
                assert answer.status == wanted
                tags.append(answer.headers["ETag"])
    assert tags[0] == tags[1] != tags[2] == tags[3]
