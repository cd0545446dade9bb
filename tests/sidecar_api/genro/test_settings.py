"""Accounts, tenants, the instance and the command log of genro-mail-proxy; secrets go in and never come out."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar_api.client import ApiError, Client
from tests.sidecar_api.genro.conftest import Scene
from tests.sidecar_api.genro.mail import mail

CANARY = "canary-5e1f"
ACCOUNT: dict[str, Any] = {"id": "main", "tenant_id": "shop", "host": "smtp.example.com", "port": 587}


async def account_of(scene: Scene, key: str = "main") -> Any:
    found = await scene.shop.do("GET", "/accounts")
    assert found["ok"] is True
    return next(one for one in found["accounts"] if one["id"] == key)


async def test_an_account_is_made_changed_and_deleted(scene: Scene) -> None:
    login = {"user": "u", "password": CANARY}
    limits = {"limit_per_minute": 5, "limit_per_hour": 0, "limit_behavior": "reject", "batch_size": 500}
    body = {**ACCOUNT, **login, **limits, "use_tls": True, "ttl": 60, "is_pec_account": False}
    assert await scene.admin.do("POST", "/account", body) == {"ok": True}
    made = {
        "id": "main",
        "tenant_id": "shop",
        "host": "smtp.example.com",
        "port": 587,
        "user": "u",
        "use_tls": True,
        "limit_per_minute": 5,
        "limit_per_hour": None,
        "limit_per_day": None,
        "limit_behavior": "reject",
        "batch_size": 100,
        "ttl": None,
        "is_pec_account": False,
        "created_at": scene.time,
    }
    assert await account_of(scene) == made
    account = await scene.whole.core.store.directory.owned_account("shop", "main")
    assert (account.password, account.guarded) == (CANARY, False)
    await scene.admin.do("POST", "/account", {**ACCOUNT, "port": 465, "limit_per_day": 9})  # what is not named stays
    assert await account_of(scene) == {**made, "port": 465, "limit_per_day": 9}
    account = await scene.whole.core.store.directory.owned_account("shop", "main")
    assert (account.tls.value, account.password) == ("implicit", CANARY)
    await scene.admin.do("POST", "/account", {**ACCOUNT, "user": None, "use_tls": None, "limit_per_minute": None})
    changed = await account_of(scene)
    assert (changed["user"], changed["use_tls"], changed["limit_per_minute"]) == (None, False, None)
    assert await scene.shop.do("DELETE", "/account/main") == {"ok": True}
    status, answer = await scene.shop.ask("DELETE", "/account/main")
    assert (status, answer) == (400, {"detail": "no account main"})


@pytest.mark.parametrize(
    ("use_tls", "port", "mode"),
    [
        (None, 465, "implicit"),
        (None, 587, "none"),
        (True, 25, "starttls"),
        (True, 465, "implicit"),
        (False, 465, "none"),
    ],
)
async def test_how_a_connection_is_secured(scene: Scene, use_tls: bool | None, port: int, mode: str) -> None:
    await scene.shop.do("POST", "/account", {**ACCOUNT, "port": port, "use_tls": use_tls})
    account = await scene.whole.core.store.directory.owned_account("shop", "main")
    assert (account.tls.value, account.guarded) == (mode, True)


async def test_an_account_that_cannot_be(scene: Scene) -> None:
    for change, place in (
        ({"host": "not a host"}, "host"),
        ({"user": "u"}, "password"),
        ({"is_pec_account": True}, "is_pec_account"),
        ({"imap_host": "imap.example.com"}, "imap_host"),
        ({"colour": "red"}, "colour"),
        ({"id": None}, "id"),
    ):
        status, answer = await scene.admin.ask("POST", "/account", {**ACCOUNT, **change})
        assert (status, answer["detail"][0]["loc"]) == (422, ["body", place]), answer
    await scene.shop.add(mail("m", deferred_ts=scene.now + 60))
    status, answer = await scene.shop.ask("DELETE", "/account/out")
    assert status == 400
    assert "mail waits for account out" in answer["detail"]
    await scene.shop.do("POST", "/account", {**ACCOUNT, "user": "u", "password": CANARY})
    status, answer = await scene.shop.ask("POST", "/account", {**ACCOUNT, "host": "evil.example.com"})
    assert (status, answer["detail"][0]["loc"]) == (422, ["body", "password"])


async def test_a_tenant_is_made_changed_and_deleted(scene: Scene) -> None:
    body = {
        "id": "acme-2",
        "name": "Acme",
        "client_base_url": "https://app.example.com/mail",
        "client_sync_path": "/sync",
        "client_auth": {"method": "basic", "user": "proxy", "password": CANARY},
        "rate_limits": {"hourly": 100, "daily": 0},
        "large_file_config": {"enabled": False},
        "active": False,
    }
    made = await scene.admin.do("POST", "/tenant", body)
    assert made["ok"] is True
    shown = {
        "id": "acme-2",
        "name": "Acme",
        "client_base_url": "https://app.example.com/mail",
        "client_sync_path": "/sync",
        "client_attachment_path": None,
        "client_auth": {"method": "basic", "user": "proxy"},
        "rate_limits": {"hourly": 100, "daily": None},
        "large_file_config": None,
        "active": False,
        "suspended_batches": None,
        "created_at": scene.time,
    }
    own = scene.admin.with_token(made["api_key"])
    assert await own.do("GET", "/tenant/acme-2") == shown
    assert await scene.admin.do("POST", "/tenant", {"id": "acme-2", "name": None}) == {"ok": True}  # no new key
    assert await own.do("GET", "/tenant/acme-2") == {**shown, "name": "acme-2"}
    side = await scene.whole.core.store.client_sides.client_side("acme-2")
    assert (side.user, side.secret) == ("proxy", CANARY)
    assert (await scene.whole.core.store.directory.tenant("acme-2")).limits.per_hour == 100

    assert await own.do("PUT", "/tenant/acme-2", {"client_auth": None, "active": True}) == {"ok": True}
    changed = await own.do("GET", "/tenant/acme-2")
    assert (changed["client_auth"], changed["active"], changed["client_sync_path"]) == (None, True, "/sync")
    status, answer = await own.ask("PUT", "/tenant/acme-2", {"rate_limits": None})
    assert (status, answer) == (403, {"detail": "rate_limits are an admin's to change"})
    assert await scene.admin.do("PUT", "/tenant/acme-2", {"rate_limits": None}) == {"ok": True}
    assert (await own.do("GET", "/tenant/acme-2"))["rate_limits"] is None

    listed = await scene.admin.do("GET", "/tenants")
    assert [one["id"] for one in listed["tenants"]] == ["acme", "acme-2", "shop"]
    await own.do("PUT", "/tenant/acme-2", {"active": False})
    active = await scene.admin.do("GET", "/tenants", active_only="true")
    assert [one["id"] for one in active["tenants"]] == ["acme", "shop"]
    status, _ = await scene.admin.ask("PUT", "/tenant/nobody", {"name": "x"})
    assert status == 404
    assert await scene.admin.do("DELETE", "/tenant/acme-2") == {"ok": True}
    status, answer = await scene.admin.ask("GET", "/tenant/acme-2")
    assert (status, answer) == (404, {"detail": "no such tenant: acme-2"})
    assert (await own.ask("GET", "/status"))[0] == 401
    await scene.shop.add(mail("m", deferred_ts=scene.now + 60))
    status, answer = await scene.admin.ask("DELETE", "/tenant/shop")
    assert status == 400
    assert "has open mail" in answer["detail"]


async def test_what_a_tenant_cannot_have(scene: Scene) -> None:
    for change, place in (
        ({"client_base_url": "ftp://x.example"}, ["client_base_url"]),
        ({"client_base_url": "https://user:secret@x.example"}, ["client_base_url"]),
        ({"client_sync_path": "sync"}, ["client_sync_path"]),
        ({"client_auth": {"method": "bearer"}}, ["client_auth"]),
        ({"large_file_config": {"enabled": True}}, ["large_file_config", "enabled"]),
        ({"suspended_batches": "*"}, ["suspended_batches"]),
    ):
        status, answer = await scene.admin.ask("POST", "/tenant", {"id": "new", **change})
        assert (status, answer["detail"][0]["loc"]) == (422, ["body", *place]), answer
    auth = {"client_base_url": "https://a.example", "client_auth": {"method": "bearer", "token": CANARY}}
    await scene.shop.do("PUT", "/tenant/shop", auth)
    status, answer = await scene.shop.ask("PUT", "/tenant/shop", {"client_base_url": "https://evil.example"})
    assert (status, answer["detail"][0]["loc"]) == (422, ["body", "client_auth"])


async def test_a_key_is_replaced_and_revoked_and_other_tokens_stay(scene: Scene) -> None:
    query = {"tenant": "shop"}
    other = await scene.whole.admin.request("POST", "/v1/tokens", query=query, json={"name": "other"})
    new = await scene.admin.do("POST", "/tenant/shop/api-key")
    assert new.keys() == {"ok", "api_key"}
    assert (await scene.shop.ask("GET", "/status"))[0] == 401
    own = scene.admin.with_token(new["api_key"])
    assert await own.do("GET", "/status") == {"ok": True, "active": True}
    async with Client(scene.whole.url, token=new["api_key"]) as ours:  # the same token is good for /v1
        assert (await ours.request("GET", "/v1/messages"))["items"] == []
    assert await scene.admin.do("DELETE", "/tenant/shop/api-key") == {"ok": True}
    assert (await own.ask("GET", "/status"))[0] == 401
    assert (await scene.admin.with_token(other["token"]).ask("GET", "/status"))[0] == 200
    assert (await scene.admin.ask("POST", "/tenant/nobody/api-key"))[0] == 404


async def test_sync_status_says_that_nobody_was_called(scene: Scene) -> None:
    await scene.admin.do("PUT", "/tenant/shop", {"client_base_url": "https://app.example.com"})
    answer = await scene.admin.do("GET", "/tenants/sync-status")
    assert (answer["ok"], answer["sync_interval_seconds"]) == (True, 300)
    assert answer["tenants"][1] == {
        "id": "shop",
        "name": "Shop",
        "active": True,
        "client_base_url": "https://app.example.com",
        "last_sync_ts": None,
        "next_sync_due": False,
        "in_dnd": False,
    }


async def test_what_is_wrong_is_said_in_their_shape(scene: Scene) -> None:
    nobody = scene.admin.with_token(None)
    assert await nobody.ask("GET", "/messages") == (401, {"detail": "send X-API-Token and a token"})
    status, answer = await scene.admin.with_token("bad").ask("GET", "/messages")
    assert (status, set(answer)) == (401, {"detail"})
    status, answer = await scene.shop.ask("GET", "/tenants")
    assert (status, answer) == (403, {"detail": "this needs an admin's token"})
    status, answer = await scene.admin.ask("GET", "/messages")
    assert (status, answer) == (
        422,
        {"detail": [{"type": "missing", "loc": ["query", "tenant_id"], "msg": "is required"}]},
    )
    status, answer = await scene.shop.ask("GET", "/messages", query={"active_onyl": "true"})
    assert (status, answer["detail"][0]["loc"]) == (422, ["query", "active_onyl"])
    async with Client(scene.whole.url) as other:  # /v1 goes by its own header field alone
        with pytest.raises(ApiError):
            await other.request("GET", "/v1/messages", headers={"X-API-Token": str(scene.shop.token)})
