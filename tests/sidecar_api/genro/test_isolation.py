"""Nothing crosses tenants by the paths of genro-mail-proxy either, and they can be switched off."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sidecar_api.dialect import Dialect
from sidecar_api.routes import ROUTES
from tests.sidecar_api.conftest import open_door
from tests.sidecar_api.genro.client import Proxy
from tests.sidecar_api.genro.conftest import Scene
from tests.sidecar_api.genro.mail import mail

CANARY = "canary.example"
THEIRS = [route for route in ROUTES if route.dialect is Dialect.GENRO]


async def other_tenant(scene: Scene) -> Proxy:
    made = await scene.admin.do("POST", "/tenant", {"id": "rival", "client_base_url": f"https://{CANARY}"})
    rival = scene.admin.with_token(made["api_key"])
    await rival.do("POST", "/account", {"id": "theirs", "host": f"smtp.{CANARY}", "port": 25})
    await rival.do("POST", "/commands/suspend")
    await rival.add(mail("secret", account_id="theirs", to=f"x@{CANARY}"))
    return rival


async def test_a_foreign_tenant_is_as_one_that_is_not_there(scene: Scene) -> None:
    await other_tenant(scene)
    asked: list[tuple[str, str, Any]] = [
        ("GET", "/messages?tenant_id=", None),
        ("GET", "/messages?include_history=1&tenant_id=", None),
        ("POST", "/commands/delete-messages?tenant_id=", {"ids": ["secret"]}),
        ("POST", "/commands/cleanup-messages?tenant_id=", {"older_than_seconds": 0}),
        ("POST", "/commands/suspend?tenant_id=", None),
        ("POST", "/commands/activate?tenant_id=", None),
        ("GET", "/accounts?tenant_id=", None),
        ("DELETE", "/account/theirs?tenant_id=", None),
        ("GET", "/tenant/", None),
        ("PUT", "/tenant/", {"name": "mine"}),
    ]
    for method, path, body in asked:
        foreign = await scene.shop.ask(method, f"{path}rival", body)
        missing = await scene.shop.ask(method, f"{path}nobody", body)
        assert foreign == missing == (401, {"detail": "this token is not for that tenant"}), path
    account = {"id": "x", "tenant_id": "rival", "host": "a.example", "port": 25}
    assert (await scene.shop.ask("POST", "/account", account))[0] == 401
    for method, path in (("DELETE", "/tenant/rival"), ("POST", "/tenant/rival/api-key"), ("GET", "/command-log")):
        assert (await scene.shop.ask(method, path))[0] == 403


async def test_things_of_another_tenant_are_as_missing_ones(scene: Scene) -> None:
    rival = await other_tenant(scene)
    pk = (await rival.messages())["secret"]["pk"]
    answer = await scene.shop.do("POST", "/commands/delete-messages", {"ids": ["secret", pk, "missing"]})
    assert (answer["removed"], answer["unauthorized"]) == (0, ["secret", pk, "missing"])
    foreign = await scene.shop.ask("DELETE", "/account/theirs")
    assert foreign == (400, {"detail": "no account theirs"})
    answer = await scene.shop.ask(
        "POST",
        "/commands/add-messages",
        {"messages": [mail("a", account_id="theirs"), mail("b", account_id="missing"), mail("c", tenant_id="rival")]},
    )
    reasons = {one["id"]: one["reason"] for one in answer[1]["detail"]["rejected"]}
    assert reasons == {
        "a": "account not found for tenant",
        "b": "account not found for tenant",
        "c": "this token is not for that tenant",
    }
    assert set(await rival.messages()) == {"secret"}
    for path in ("/messages?include_history=1", "/accounts", "/tenant/shop"):
        assert CANARY not in str(await scene.shop.do("GET", path))


async def test_one_id_in_two_tenants_is_two_messages(scene: Scene) -> None:
    rival = await other_tenant(scene)
    await scene.shop.do("POST", "/commands/suspend")
    await scene.shop.add(mail("secret", subject="mine"))
    assert (await rival.messages())["secret"]["message"]["to"] == [f"x@{CANARY}"]
    await scene.shop.do("POST", "/commands/delete-messages", {"ids": ["secret"]})
    assert set(await rival.messages()) == {"secret"}


async def test_an_admin_names_the_tenant_of_each_message(scene: Scene) -> None:
    await other_tenant(scene)
    await scene.admin.do("POST", "/commands/suspend", tenant_id="shop")
    answer = await scene.admin.add(
        mail("a", tenant_id="shop"),
        mail("b", tenant_id="rival", account_id="theirs"),
        mail("c"),
        mail("d", tenant_id="nobody"),
    )
    assert answer == {
        "ok": True,
        "queued": 2,
        "rejected": [
            {"id": "c", "reason": "missing tenant_id"},
            {"id": "d", "reason": "account not found for tenant"},
        ],
    }
    assert set(await scene.admin.messages(tenant_id="shop")) == {"a"}
    assert set(await scene.admin.messages(tenant_id="rival")) == {"secret", "b"}


@pytest.mark.parametrize("is_on", [True, False])
async def test_the_paths_can_be_switched_off(is_on: bool) -> None:
    async with open_door(lambda services: replace(services, genro_mail_proxy=is_on)) as door:
        for route in THEIRS:
            answer = await door.ask(route.method, route.path.replace("{id}", "missing"), None)
            assert (answer.status == 404) == (not is_on), route.path
            if not is_on:
                assert answer.json["code"] == "no_such_route"
        described = (await door.ask("GET", "/openapi.json", None)).json
        assert {route.path for route in THEIRS} & set(described["paths"]) == (
            {route.path for route in THEIRS} if is_on else set()
        )
        assert ("api_token" in described["components"]["securitySchemes"]) == is_on
        assert "Genro" not in str(described) or is_on
        assert (await door.ask("GET", "/health/live", None)).status == 200
