"""Limits as they stand: each that is set is shown, with the windows it has; nobody sees another tenant's."""

from __future__ import annotations

from pydantic import TypeAdapter

from relay.clock import rfc3339
from sidecar_api.schemas.limits import LimitsStandingOut
from tests.sidecar_api.conftest import Door
from tests.sidecar_api.memory import NOW


async def test_those_that_are_set_are_shown(door: Door) -> None:
    assert (await door.ask("GET", "/v1/limits")).json["items"] == []
    await door.ask("PATCH", "/v1/accounts/main", json={"limits": {"per_minute": 3, "unit": "recipients"}})
    change = {"limits": {"per_minute": 1}, "domain_limits": {"b.example": {"per_minute": 5, "on_limit": "reject"}}}
    assert (await door.ask("PATCH", "/v1/tenants/a", "admin", json=change)).status == 200
    shown = await door.ask("GET", "/v1/limits")
    TypeAdapter(LimitsStandingOut).validate_python(shown.json)
    account, tenant, domain = shown.json["items"]
    assert account == {
        "kind": "account",
        "name": "main",
        "tenant": "a",
        "unit": "recipients",
        "on_limit": "defer",
        "windows": [{"length": "minute", "most": 3, "used": 1, "left": 2}],
        "under_way": 1,
        "next_slot_at": None,
    }
    assert (tenant["kind"], tenant["name"], tenant["next_slot_at"]) == ("tenant", "a", rfc3339(NOW))
    assert tenant["windows"][0]["left"] == 0
    assert (domain["kind"], domain["name"], domain["on_limit"]) == ("domain", "b.example", "reject")


async def test_of_whom(door: Door) -> None:
    await door.ask("PATCH", "/v1/accounts/main?tenant=b", "admin", json={"limits": {"per_minute": 3}})
    await door.ask("PATCH", "/v1/accounts/capture?tenant=*", "admin", json={"limits": {"per_minute": 2}})
    assert (await door.ask("GET", "/v1/limits")).json["items"] == []
    assert (await door.ask("GET", "/v1/limits?tenant=b")).status == 404
    assert (await door.ask("GET", "/v1/limits?tenant=*")).status == 404
    assert (await door.ask("GET", "/v1/limits", "admin")).paths == {"?tenant"}
    of_b = (await door.ask("GET", "/v1/limits?tenant=b", "admin")).json["items"]
    assert [(one["tenant"], one["name"]) for one in of_b] == [("b", "main")]
    shared = (await door.ask("GET", "/v1/limits?tenant=*", "admin")).json["items"]
    assert [(one["tenant"], one["name"]) for one in shared] == [("*", "capture")]
