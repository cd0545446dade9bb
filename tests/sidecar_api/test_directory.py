"""Tenants, accounts, credentials, tokens: made, shown, deleted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import TypeAdapter

from relay.clock import DAY, HOUR, SECOND
from relay.model.limit import Limits
from relay.model.tenant import AccountKind, OnUnknown, RetrySettings, TlsMode
from relay.secrets import verify
from sidecar_api.schemas import accounts, credentials, tenants, tokens
from sidecar_api.schemas.instance import ProbeOut
from tests.sidecar_api.conftest import Door


def check(shape: type, value: Any) -> None:
    TypeAdapter(shape).validate_python(value)


async def test_a_tenant_and_its_first_token(door: Door) -> None:
    made = await door.ask(
        "POST", "/v1/tenants", "admin", json={"id": "acme", "name": "Acme & Söhne", "retry": {"max_attempts": 3}}
    )
    assert made.status == 201
    check(tokens.IssuedTokenOut, made.json)
    assert (await door.ask("GET", "/v1/messages", made.json["token"])).status == 200
    shown = await door.ask("GET", "/v1/tenants/acme", "admin")
    check(tenants.TenantOut, shown.json)
    assert shown.json["retry"] == {"schedule": None, "jitter": None, "max_age": None, "max_attempts": 3}
    check(tenants.TenantsOut, (await door.ask("GET", "/v1/tenants", "admin")).json)
    assert (await door.ask("POST", "/v1/tenants", "admin", json={"id": "acme"})).status == 409
    assert (await door.ask("DELETE", "/v1/tenants/acme", "admin")).status == 204
    assert (await door.ask("GET", "/v1/tenants/acme", "admin")).status == 404


@pytest.mark.parametrize("tenant", ["*", "", "a b", "-a", "x" * 65, "a\n"])
async def test_ids_of_tenants(door: Door, tenant: str) -> None:
    answer = await door.ask("POST", "/v1/tenants", "admin", json={"id": tenant})
    assert answer.status == 422


async def test_an_account_is_stored_as_said(door: Door) -> None:
    body = {
        "id": "main2",
        "host": "SMTP.example.com.",
        "port": 465,
        "tls": "implicit",
        "user": "u",
        "password": "p",
        "limits": {"per_minute": 10, "per_day": 5000},
        "max_connections": 3,
        "on_unknown": "hold",
        "retry": {"schedule": ["30s", "1h"], "jitter": 0, "max_age": "2d", "max_attempts": 7},
        "default": True,
    }
    made = await door.ask("POST", "/v1/accounts", json=body)
    assert made.status == 201
    check(accounts.AccountOut, made.json)
    account = door.directory.by_account["a", "main2"]
    assert (account.kind, account.host, account.port, account.tls) == (
        AccountKind.SMTP,
        "smtp.example.com",
        465,
        TlsMode.IMPLICIT,
    )
    assert account.limits == Limits(10, None, 5000)
    assert account.on_unknown is OnUnknown.HOLD
    assert account.retry == RetrySettings((30 * SECOND, HOUR), 0, 2 * DAY, 7)
    shown = (await door.ask("GET", "/v1/accounts/main2")).json
    assert shown["retry"] == {"schedule": ["30s", "1h"], "jitter": 0, "max_age": "2d", "max_attempts": 7}
    assert account.password == "p"
    assert account.guarded
    assert door.directory.by_tenant["a"].default_account == "main2"
    by_admin = await door.ask("POST", "/v1/accounts?tenant=a", "admin", json={**body, "id": "x", "host": "10.0.0.1"})
    assert by_admin.status == 201
    assert not door.directory.by_account["a", "x"].guarded
    probe = await door.ask("POST", "/v1/accounts/main2/test")
    check(ProbeOut, probe.json)
    assert door.directory.mended == 1
    door.directory.by_account["a", "main2"] = replace(account, host="bad.example")
    assert not (await door.ask("POST", "/v1/accounts/main2/test")).json["ok"]
    assert door.directory.mended == 1, "mail that waits is tried at once where the account works, and only there"
    assert (await door.ask("DELETE", "/v1/accounts/main2")).status == 204


@pytest.mark.parametrize(
    ("change", "paths"),
    [
        ({"host": None}, {"/host"}),
        ({"host": "a b"}, {"/host"}),
        ({"host": "1.2.3"}, {"/host"}),
        ({"host": "h\r\nx"}, {"/host"}),
        ({"port": 0}, {"/port"}),
        ({"port": "25"}, {"/port"}),
        ({"tls": "ssl"}, {"/tls"}),
        ({"user": "u"}, {"/password"}),
        ({"password": "p"}, {"/password"}),
        ({"limits": {"per_hour": 0, "per_week": 1}}, {"/limits/per_hour", "/limits/per_week"}),
        ({"kind": "mx"}, {"/kind"}),
        ({"on_unknown": "maybe"}, {"/on_unknown"}),
        ({"retry": {"schedule": []}}, {"/retry/schedule"}),
        ({"retry": {"schedule": ["1m", "soon"]}}, {"/retry/schedule/1"}),
        ({"retry": {"schedule": ["10ms"], "jitter": 0.6}}, {"/retry/schedule/0", "/retry/jitter"}),
        ({"retry": {"max_age": 5, "max_attempts": 0}}, {"/retry/max_age", "/retry/max_attempts"}),
    ],
)
async def test_an_account_that_is_none(door: Door, change: dict[str, Any], paths: set[str]) -> None:
    answer = await door.ask("POST", "/v1/accounts", json={"id": "n", "host": "h.example", **change})
    assert (answer.status, answer.paths) == (422, paths)


async def test_a_credential_with_a_generated_and_with_a_chosen_secret(door: Door) -> None:
    made = await door.ask("POST", "/v1/credentials", json={"username": "erp@a", "allowed_senders": ["@A.example"]})
    check(credentials.IssuedCredentialOut, made.json)
    stored = door.directory.by_username["erp@a"]
    assert stored.secret_hash is not None
    assert verify(made.json["secret"], stored.secret_hash)
    assert (stored.tenant, stored.allowed_senders) == ("a", ("@a.example",))
    chosen = {"username": "printer", "secret": "chosen", "priority": "low", "batch": "scans", "account": "main"}
    assert (await door.ask("POST", "/v1/credentials", json=chosen)).json["secret"] is None
    stored = door.directory.by_username["printer"]
    assert stored.secret_hash is not None
    assert verify("chosen", stored.secret_hash)
    check(credentials.CredentialsOut, (await door.ask("GET", "/v1/credentials")).json)
    assert (await door.ask("POST", "/v1/credentials", json=chosen)).status == 409
    missing = await door.ask("POST", "/v1/credentials", json={"username": "z", "account": "gone"})
    assert missing.paths == {"/account"}
    assert (await door.ask("DELETE", "/v1/credentials/erp@a")).status == 204


async def test_networks_are_an_admins_to_let_in(door: Door) -> None:
    body = {"username": "lan", "networks": ["192.0.2.0/24", "2001:db8::/64"]}
    assert (await door.ask("POST", "/v1/credentials", json=body)).status == 403
    made = await door.ask("POST", "/v1/credentials?tenant=a", "admin", json=body)
    assert made.json == {"username": "lan", "secret": None}
    assert door.directory.by_username["lan"].secret_hash is None
    bad = await door.ask("POST", "/v1/credentials?tenant=a", "admin", json={**body, "networks": ["192.0.2.1/24"]})
    assert bad.paths == {"/networks/0"}


async def test_tokens(door: Door) -> None:
    made = await door.ask("POST", "/v1/tokens", json={"name": "ci", "scopes": ["send"], "expires_at": "+1d"})
    check(tokens.IssuedTokenOut, made.json)
    listed = (await door.ask("GET", "/v1/tokens")).json
    check(tokens.TokensOut, listed)
    ours = next(item for item in listed["items"] if item["id"] == made.json["id"])
    assert (ours["scopes"], ours["expires_at"]) == (["send"], "2026-01-02T00:00:00.000Z")
    past = await door.ask("POST", "/v1/tokens", json={"name": "ci", "expires_at": "2020-01-01T00:00:00Z"})
    assert past.paths == {"/expires_at"}
    admin = await door.ask("POST", "/v1/tokens", "admin", json={"name": "ops"})
    assert (await door.ask("GET", "/v1/tenants", admin.json["token"])).status == 200
    assert (await door.ask("DELETE", f"/v1/tokens/{made.json['id']}")).status == 204
