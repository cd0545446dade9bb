"""The instance's settings and status, at the door."""

from __future__ import annotations

from pathlib import Path

from tests.sidecar_api.conftest import Door
from tests.sidecar_api.whole import whole_door

PLACE = "/v1/instance"


async def test_settings_change_by_what_is_named_and_keep_to_the_tag(door: Door) -> None:
    first = await door.ask("GET", PLACE, "admin")
    assert (first.json["name"], first.json["dispatch"]) == (None, {"active": True})
    tag = first.headers["ETag"]
    named = await door.ask("PATCH", PLACE, "admin", json={"name": "Shop"}, headers={"If-Match": tag})
    assert (named.status, named.json) == (200, {"name": "Shop", "dispatch": {"active": True}})
    stale = await door.ask("PATCH", PLACE, "admin", json={"dispatch": {"active": False}}, headers={"If-Match": tag})
    assert (stale.status, stale.headers["ETag"]) == (412, named.headers["ETag"])
    stopped = await door.ask(
        "PATCH", PLACE, "admin", json={"dispatch": {"active": False}}, headers={"If-Match": named.headers["ETag"]}
    )
    assert stopped.json == {"name": "Shop", "dispatch": {"active": False}}
    again = await door.ask("GET", PLACE, "admin", headers={"If-None-Match": stopped.headers["ETag"]})
    assert (again.status, again.headers["ETag"]) == (200, stopped.headers["ETag"])  # the status is never the same twice
    cleared = await door.ask("PATCH", PLACE, "admin", json={"name": None})
    assert cleared.json == {"name": None, "dispatch": {"active": False}}


async def test_what_is_put_is_whole(door: Door) -> None:
    for partly in ({"name": "Shop"}, {"dispatch": {"active": True}}, {"name": "Shop", "dispatch": {}}):
        assert (await door.ask("PUT", PLACE, "admin", json=partly)).status == 422
    whole = {"name": "Shop", "dispatch": {"active": False}}
    put = await door.ask("PUT", PLACE, "admin", json=whole)
    assert (put.status, put.json) == (200, whole)
    other = await door.ask("PUT", PLACE, "admin", json=whole, headers={"If-Match": '"other"'})
    assert other.status == 412


async def test_the_status(door: Door) -> None:
    door.ill["disk"] = "full"
    shown = (await door.ask("GET", PLACE, "admin-read")).json
    assert shown["status"] == {
        "version": "1.2.3",
        "since": "2026-01-01T00:00:00.000Z",
        "store": "sqlite",
        "workers": 1,
        "doors": [{"kind": "smtp", "address": "127.0.0.1:2525", "tls": "none"}],
        "dispatching": True,
        "queue": {"ready": 0, "leased": 1, "held": 0},
        "ill": {"disk": "full"},
    }


async def test_a_stop_holds_when_it_is_answered(tmp_path: Path) -> None:
    async with whole_door(tmp_path) as door:
        letter = {"from": "a@example.com", "to": ["b@example.net"], "text": "x"}
        for _ in range(5):
            await door.admin.request("PATCH", PLACE, json={"dispatch": {"active": False}})
            assert not (await door.admin.request("GET", PLACE))["status"]["dispatching"]
            sent = await door.acme.request("POST", "/v1/messages", json=letter)
            why = await door.acme.request("GET", f"/v1/messages/{sent['id']}/explain")
            assert [one["kind"] for one in why["deliveries"][0]["reasons"]] == ["inactive"]
            await door.admin.request("PATCH", PLACE, json={"dispatch": {"active": True}})
            assert (await door.captured(sent["id"]))["state"] == "captured"
        log = await door.admin.request("GET", "/v1/commands", query={"operation": "change_instance"})
        assert len(log["items"]) == 10
