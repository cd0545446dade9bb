"""The command log: every change is in it, with who, from where and how it ended; no secret is."""

from __future__ import annotations

import typing
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import orjson
import pytest
from pydantic import BaseModel

from relay.clock import DAY
from sidecar_api import operations
from sidecar_api.audit import MASK, SECRETS, masked
from sidecar_api.client import ApiError
from sidecar_api.routes import ROUTES
from tests.sidecar_api.whole import Whole, whole_door
from tests.support.clock import FakeClock

CANARY = "canary-7f3a"


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Whole]:
    async with whole_door(tmp_path, FakeClock()) as whole:
        yield whole


async def test_what_was_done_by_whom_and_from_where(door: Whole) -> None:
    account = {"id": "out", "host": "smtp.example.com", "user": "u", "password": CANARY}
    await door.acme.request("POST", "/v1/accounts", json=account)
    with pytest.raises(ApiError):
        await door.acme.request("POST", "/v1/accounts", json=account)
    await door.admin.request("PATCH", "/v1/tenants/acme", json={"name": "Acme"})
    by_admin, conflict, made, *_ = (await door.admin.request("GET", "/v1/commands"))["items"]
    assert (made["operation"], made["status"], made["tenant"], made["peer"]) == (
        "add_account",
        201,
        "acme",
        "127.0.0.1",
    )
    assert made["body"]["password"] == MASK
    assert (conflict["operation"], conflict["status"]) == ("add_account", 409)
    assert (by_admin["actor"], by_admin["tenant"], by_admin["peer"]) == ("local", "acme", None)
    assert CANARY not in str(await door.admin.request("GET", "/v1/commands"))


async def test_a_tenant_sees_its_own(door: Whole) -> None:
    await door.admin.request("POST", "/v1/tenants", json={"id": "other"})
    await door.acme.request("POST", "/v1/credentials", json={"username": "erp"})
    seen = (await door.acme.request("GET", "/v1/commands"))["items"]
    assert {one["tenant"] for one in seen} == {"acme"}
    assert seen[0]["operation"] == "add_credential"


async def test_mail_is_no_command_but_what_is_done_to_it_is(door: Whole) -> None:
    mail = {"from": "a@acme.example", "to": ["b@b.example"], "subject": CANARY, "text": CANARY}
    accepted = await door.acme.request("POST", "/v1/messages", json=mail)
    await door.captured(accepted["id"])
    with pytest.raises(ApiError):
        await door.acme.request("POST", f"/v1/messages/{accepted['id']}/cancel")
    [latest, *_] = (await door.admin.request("GET", "/v1/commands"))["items"]
    assert (latest["operation"], latest["status"]) == ("cancel_message", 409)
    assert accepted["id"] in latest["path"]


async def test_pages_filters_export_and_purge(door: Whole) -> None:
    for number in range(7):
        await door.acme.request("POST", "/v1/credentials", json={"username": f"u{number}"})
    query = {"operation": "add_credential", "limit": "3"}
    first = await door.admin.request("GET", "/v1/commands", query=query)
    second = await door.admin.request("GET", "/v1/commands", query={**query, "cursor": first["next_cursor"]})
    paths = [one["body"]["username"] for one in first["items"] + second["items"]]
    assert paths == ["u6", "u5", "u4", "u3", "u2", "u1"]
    token = first["items"][0]["actor"]
    for actor, count in ((token, 7), ("local", 1), ("nobody", 0)):
        by_actor = await door.admin.request("GET", "/v1/commands", query={"actor": actor})
        assert len(by_actor["items"]) == count
    octets = b"".join([piece async for piece in door.admin.stream(operations.EXPORT_COMMANDS)])
    lines = [orjson.loads(line) for line in octets.splitlines()]
    assert [one["sequence"] for one in lines] == sorted((one["sequence"] for one in lines), reverse=True)
    assert len(lines) == 8  # the token of the tenant was made before
    door.core.fake.advance(DAY)
    purged = await door.admin.request("DELETE", "/v1/commands", query={"before": "+1s"})
    assert purged == {"removed": 8}
    [left] = (await door.admin.request("GET", "/v1/commands"))["items"]
    assert (left["operation"], left["path"]) == ("purge_commands", "/v1/commands?before=%2B1s")


def test_masking_reaches_every_depth() -> None:
    assert masked({"a": [{"Password": "x", "b": 1}], "token": None}) == {
        "a": [{"Password": MASK, "b": 1}],
        "token": None,
    }


def models(shape: object) -> Iterator[type[BaseModel]]:
    if isinstance(shape, type) and issubclass(shape, BaseModel):
        yield shape
        for member in shape.model_fields.values():
            yield from models(member.annotation)
    for inner in typing.get_args(shape):
        yield from models(inner)


def test_every_secret_of_a_body_is_masked() -> None:
    hidden = {
        name
        for route in ROUTES
        for model in models(route.body)
        for name, member in model.model_fields.items()
        if not member.repr
    }
    assert {"password", "secret"} <= hidden <= SECRETS
