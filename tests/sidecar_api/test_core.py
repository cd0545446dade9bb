"""The REST door on the real intake and store: what was handed in is shown as it stands, until it is sent or captured."""

from __future__ import annotations

import base64
import email
import email.policy
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from relay.model.tenant import AccountKind
from sidecar_api import operations
from sidecar_api.client import ApiError, Client
from sidecar_api.schemas import views
from sidecar_api.schemas.attempts import AttemptsOut
from sidecar_api.schemas.events import EventsOut
from tests.sidecar_api.whole import Whole, whole_door
from tests.support.core import ACME

MESSAGE: dict[str, Any] = {
    "from": "Ann <ann@acme.example>",
    "to": ["bob@b.example"],
    "subject": "Hi",
    "text": "Größe\n",
}


@pytest.fixture
async def whole(tmp_path: Path) -> AsyncIterator[Whole]:
    async with whole_door(tmp_path) as whole:
        yield whole


async def test_from_202_to_the_captured_content(whole: Whole) -> None:
    file = base64.b64encode(bytes(range(256)) * 1000).decode()
    body = {
        **MESSAGE,
        "bcc": "carl@c.example",
        "client_id": "order-7",
        "metadata": {"order": 7},
        "attachments": [{"filename": "März.bin", "content": file}],
    }
    made = await whole.acme.request("POST", "/v1/messages", json=body)
    shown = await whole.captured(made["id"])
    TypeAdapter(views.MessageOut).validate_python(shown)
    assert (shown["state"], shown["client_id"], shown["metadata"]) == ("captured", "order-7", {"order": 7})
    assert [one["address"] for one in shown["recipients"]] == ["bob@b.example", "carl@c.example"]
    content = b"".join([piece async for piece in whole.acme.stream(operations.SHOW_CONTENT, made["id"])])
    assert len(content) == shown["size"]
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert message["Message-ID"] == shown["message_id"]
    assert message["X-Stagepost-ID"] == made["id"]
    assert "with HTTP" in message["Received"]
    assert "carl" not in str(message)
    (attachment,) = list(message.iter_attachments())
    assert attachment.get_content() == bytes(range(256)) * 1000
    events = await whole.acme.request("GET", f"/v1/messages/{made['id']}/events")
    TypeAdapter(EventsOut).validate_python(events)
    assert events["items"][0]["kind"] == "accepted"
    attempts = await whole.acme.request("GET", f"/v1/messages/{made['id']}/attempts")
    TypeAdapter(AttemptsOut).validate_python(attempts)


async def test_a_batch_and_its_listing(whole: Whole) -> None:
    messages = [{**MESSAGE, "subject": str(number)} for number in range(250)]
    body = {"messages": messages, "defaults": {"batch": "spring", "send_at": "+1h"}}
    answer = await whole.acme.request("POST", "/v1/messages/batch", json=body)
    assert answer["accepted"] == 250
    ids = {item["id"] for item in answer["items"]}
    listed = [one async for one in whole.acme.pages(operations.LIST_MESSAGES, query={"batch": "spring", "limit": 60})]
    assert {one["id"] for one in listed} == ids
    assert len(listed) == 250
    assert [one["id"] for one in listed] == sorted(ids, reverse=True)
    one = listed[0]["id"]
    assert (await whole.acme.request("POST", f"/v1/messages/{one}/cancel"))["state"] == "cancelled"
    with pytest.raises(ApiError) as caught:
        await whole.acme.request("POST", f"/v1/messages/{one}/cancel")
    assert caught.value.status == 409
    retried = listed[1]["id"]
    await whole.acme.request("POST", f"/v1/messages/{retried}/retry")
    assert (await whole.captured(retried))["state"] == "captured"
    queue = await whole.admin.request("GET", "/v1/queue")
    assert queue["totals"]["ready"] == 248


async def test_a_raw_message_names_itself_by_its_control_fields(whole: Whole) -> None:
    raw = b"From: ann@acme.example\nTo: b@b.example\nX-Stagepost-Client-Id: raw-1\nX-Stagepost-Tags: a, b\n\nx\n"
    made = await whole.acme.request("POST", "/v1/messages/raw", body=raw)
    assert made["client_id"] == "raw-1"
    shown = await whole.captured(made["id"])
    assert shown["tags"] == ["a", "b"]
    with pytest.raises(ApiError) as caught:
        await whole.acme.request("POST", "/v1/messages/raw", body=raw.replace(b"Tags", b"Priority"))
    assert caught.value.violations[0].path == "X-Stagepost-Priority"


async def test_a_large_raw_message_comes_back_octet_for_octet(whole: Whole) -> None:
    raw = b"From: ann@acme.example\r\nTo: b@b.example\r\n\r\n" + b"0123456789abcdef" * 4 * 100_000 + b"\r\n"
    made = await whole.acme.request("POST", "/v1/messages/raw", body=raw)
    await whole.captured(made["id"])
    content = b"".join([piece async for piece in whole.acme.stream(operations.SHOW_CONTENT, made["id"])])
    assert content.endswith(raw.partition(b"\r\n\r\n")[2])


async def test_other_tenants_see_nothing(whole: Whole) -> None:
    made = await whole.acme.request("POST", "/v1/messages", json=MESSAGE)
    secret = (await whole.admin.request("POST", "/v1/tenants", json={"id": "other"}))["token"]
    async with Client(whole.acme._base, token=secret) as other:
        assert (await other.request("GET", "/v1/messages"))["items"] == []
        for path in ("", "/events", "/attempts", "/content"):
            with pytest.raises(ApiError) as caught:
                await other.request("GET", f"/v1/messages/{made['id']}{path}")
            assert caught.value.status == 404
        for path in ("cancel", "retry"):
            with pytest.raises(ApiError) as caught:
                await other.request("POST", f"/v1/messages/{made['id']}/{path}")
            assert caught.value.status == 404


async def test_the_directory_is_kept(whole: Whole) -> None:
    admin = whole.admin
    body = {"id": "out", "host": "mx.example", "user": "u", "password": "p", "limits": {"per_hour": 10}}
    made = await admin.request("POST", "/v1/accounts", query={"tenant": ACME}, json=body)
    shown = await admin.request("GET", "/v1/accounts/out", query={"tenant": ACME})
    assert shown == {**made, "created_at": shown["created_at"]}
    assert shown["limits"]["per_hour"] == 10
    issued = await whole.acme.request("POST", "/v1/credentials", json={"username": "erp", "account": "out"})
    assert issued["secret"]
    assert [one["username"] for one in (await whole.acme.request("GET", "/v1/credentials"))["items"]] == ["erp"]
    await whole.acme.request("DELETE", "/v1/credentials/erp")
    await whole.acme.request("DELETE", "/v1/accounts/out")
    with pytest.raises(ApiError) as caught:
        await whole.acme.request("DELETE", "/v1/accounts/out")
    assert caught.value.status == 404


async def test_acts_on_one_and_on_all(whole: Whole) -> None:
    ask = whole.acme.request
    await whole.core.add_account(25, "spare", kind=AccountKind.CAPTURE)
    body = {"messages": [{**MESSAGE, "tags": ["t"]}] * 5, "defaults": {"batch": "spring", "send_at": "+1h"}}
    ids = [item["id"] for item in (await ask("POST", "/v1/messages/batch", json=body))["items"]]
    held = await ask("POST", f"/v1/messages/{ids[0]}/hold")
    TypeAdapter(views.ActedOut).validate_python(held)
    assert (held["state"], held["concerned"], held["under_way"]) == ("held", 1, 0)
    with pytest.raises(ApiError) as caught:
        await ask("DELETE", f"/v1/messages/{ids[0]}")
    assert caught.value.status == 409
    assert (await ask("POST", f"/v1/messages/{ids[0]}/release"))["state"] == "open"
    routed = await ask("POST", f"/v1/messages/{ids[0]}/reroute", json={"account": "spare"})
    assert routed["account"] == "spare"
    with pytest.raises(ApiError) as caught:
        await ask("POST", f"/v1/messages/{ids[0]}/reroute", json={"account": "nothing"})
    assert (caught.value.status, caught.value.violations[0].path) == (422, "/account")
    bulk = {"action": "cancel", "filter": {"batch": "spring", "state": ["open"], "tags": ["t"]}, "limit": 3}
    first = await ask("POST", "/v1/messages/bulk", json={**bulk, "dry_run": True})
    assert first == {"matched": 3, "changed": 3, "skipped": {}, "next_cursor": ids[2]}
    assert await ask("POST", "/v1/messages/bulk", json=bulk) == first
    rest = await ask("POST", "/v1/messages/bulk", json={**bulk, "cursor": ids[2]})
    assert (rest["changed"], rest["next_cursor"]) == (2, None)
    await ask("DELETE", f"/v1/messages/{ids[0]}")
    assert [one["id"] async for one in whole.acme.pages(operations.LIST_MESSAGES, query={"tag": "t"})] == ids[:0:-1]
    for wrong in ({"action": "hold", "filter": {}}, {"action": "hold", "filter": {"state": ["open"]}, "account": "x"}):
        with pytest.raises(ApiError) as caught:
            await ask("POST", "/v1/messages/bulk", json=wrong)
        assert caught.value.status == 422


async def test_a_suspended_campaign(whole: Whole) -> None:
    ask = whole.acme.request
    stopped = await ask("POST", "/v1/batches/spring/suspend")
    assert stopped == {"tenant": ACME, "batch": "spring", "suspended": True, "pending": 0}
    waits = await ask("POST", "/v1/messages", json={**MESSAGE, "batch": "spring"})
    goes = await ask("POST", "/v1/messages", json=MESSAGE)
    await whole.captured(goes["id"])
    assert (await ask("GET", f"/v1/messages/{waits['id']}"))["suspended"]
    assert [one["id"] async for one in whole.acme.pages(operations.LIST_MESSAGES, query={"suspended": "true"})] == [
        waits["id"]
    ]
    explained = await ask("GET", f"/v1/messages/{waits['id']}/explain")
    assert explained["deliveries"][0]["reasons"][0]["kind"] == "suspended"
    assert (await ask("POST", f"/v1/tenants/{ACME}/suspend"))["pending"] == 1
    assert (await ask("GET", "/v1/batches"))["items"] == [
        {"tenant": ACME, "batch": "spring", "suspended": True, "messages": {"open": 1}}
    ]
    assert not (await ask("POST", "/v1/batches/spring/resume"))["suspended"]
    assert not (await whole.captured(waits["id"]))["suspended"]
    assert not (await ask("POST", f"/v1/tenants/{ACME}/resume?all=true"))["suspended"]
