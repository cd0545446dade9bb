"""Accounts change by merge patch: what is not named stays, null clears, and a password goes nowhere it was not meant for."""

from __future__ import annotations

from typing import Any

import pytest

from relay.model.limit import Limits, LimitUnit, OnLimit
from relay.model.tenant import TlsMode
from tests.sidecar_api.conftest import Door

BODY: dict[str, Any] = {
    "id": "out",
    "host": "smtp.example.com",
    "user": "u",
    "password": "p",
    "limits": {"per_minute": 10, "per_day": 5000},
    "batch_size": 5,
}


@pytest.fixture
async def made(door: Door) -> Door:
    assert (await door.ask("POST", "/v1/accounts", json=BODY)).status == 201
    return door


async def test_only_what_is_named_changes(made: Door) -> None:
    before = made.directory.by_account["a", "out"]
    answer = await made.ask(
        "PATCH", "/v1/accounts/out", json={"limits": {"per_day": None, "unit": "recipients", "on_limit": "reject"}}
    )
    assert answer.status == 200
    account = made.directory.by_account["a", "out"]
    assert account.limits == Limits(10, None, None, LimitUnit.RECIPIENTS, OnLimit.REJECT)
    assert answer.json["limits"] == {
        "per_minute": 10,
        "per_hour": None,
        "per_day": None,
        "unit": "recipients",
        "on_limit": "reject",
    }
    assert (account.password, account.host, account.batch_size) == (before.password, before.host, 5)
    assert (await made.ask("PATCH", "/v1/accounts/out", json={"batch_size": None})).json["batch_size"] is None


async def test_a_login_is_taken_away_with_its_password(made: Door) -> None:
    assert (await made.ask("PATCH", "/v1/accounts/out", json={"user": None})).json["has_password"] is False
    assert made.directory.by_account["a", "out"].password is None
    assert (await made.ask("PATCH", "/v1/accounts/out", json={"password": "x"})).status == 422
    both = await made.ask("PATCH", "/v1/accounts/out", json={"user": "u2", "password": "s3cret"})
    assert (both.status, both.json["user"]) == (200, "u2")
    assert "s3cret" not in str(both.json)


@pytest.mark.parametrize("change", [{"host": "evil.example"}, {"port": 26}, {"tls": "none"}])
async def test_a_tenant_sends_a_password_elsewhere_only_by_giving_it_again(made: Door, change: dict[str, Any]) -> None:
    refused = await made.ask("PATCH", "/v1/accounts/out", json=change)
    assert refused.status == 422
    assert refused.json["violations"][0]["path"] == "/password"
    assert made.directory.by_account["a", "out"].tls is TlsMode.STARTTLS
    assert (await made.ask("PATCH", "/v1/accounts/out", json={**change, "password": "again"})).status == 200
    assert made.directory.by_account["a", "out"].guarded


async def test_an_admin_may_move_it_as_it_is(made: Door) -> None:
    moved = await made.ask("PATCH", "/v1/accounts/out?tenant=a", "admin", json={"host": "10.0.0.9"})
    assert (moved.status, moved.json["has_password"]) == (200, True)


async def test_enabling_and_disabling(made: Door) -> None:
    assert (await made.ask("POST", "/v1/accounts/out/disable")).json["enabled"] is False
    assert not made.directory.by_account["a", "out"].enabled
    assert (await made.ask("POST", "/v1/accounts/out/enable")).json["enabled"] is True


async def test_it_is_changed_only_as_it_was_read(made: Door) -> None:
    shown = await made.ask("GET", "/v1/accounts/out")
    tag = shown.headers["ETag"]
    changed = await made.ask(
        "PATCH", "/v1/accounts/out", json={"port": 587, "batch_size": 6}, headers={"If-Match": tag}
    )
    assert changed.status == 200
    late = await made.ask("PATCH", "/v1/accounts/out", json={"batch_size": 7}, headers={"If-Match": tag})
    assert late.status == 412
    assert (await made.ask("DELETE", "/v1/accounts/out", headers={"If-Match": tag})).status == 412


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"host": None}, "/host"),
        ({"kind": "capture"}, "/kind"),
        ({"id": "x"}, "/id"),
        ({"port": 0}, "/port"),
        ({"limits": {"unit": "octets"}}, "/limits/unit"),
        ({"limits": None}, "/limits"),
        ({"enabled": "yes"}, "/enabled"),
    ],
)
async def test_what_cannot_be_changed_so(made: Door, change: dict[str, Any], path: str) -> None:
    answer = await made.ask("PATCH", "/v1/accounts/out", json=change)
    assert answer.status == 422
    assert path in {violation["path"] for violation in answer.json["violations"]}


async def test_limits_of_a_tenant_and_of_its_domains(door: Door) -> None:
    url = "/v1/tenants/a"
    set_ = await door.ask(
        "PATCH",
        url,
        "admin",
        json={
            "limits": {"per_hour": 100},
            "domain_limits": {"Slow.Example": {"per_minute": 5}, "b.example": {"per_day": 1}},
        },
    )
    assert set_.status == 200
    assert set(set_.json["domain_limits"]) == {"slow.example", "b.example"}
    lifted = await door.ask("PATCH", url, "admin", json={"domain_limits": {"b.example": None}})
    assert door.directory.by_tenant["a"].domain_limits == {"slow.example": Limits(per_minute=5)}
    assert lifted.json["limits"]["per_hour"] == 100
    wrong = await door.ask("PATCH", url, "admin", json={"domain_limits": {"a b": {"per_day": 1}}})
    assert wrong.status == 422
