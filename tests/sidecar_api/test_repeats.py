"""The REST door on the real core, with both stores: repeats, corrections, and listing while mail flows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sidecar_api import operations
from sidecar_api.client import ApiError, Client
from tests.sidecar_api.whole import Whole, whole_door
from tests.support import postgres

MESSAGE: dict[str, Any] = {"from": "ann@acme.example", "to": ["bob@b.example"], "subject": "Hi", "text": "hello\n"}
KEY = {"Idempotency-Key": "k"}
STORES = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]


@pytest.fixture(params=STORES)
async def whole(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Whole]:
    url = postgres.new_database() if request.param == "postgres" else None
    try:
        async with whole_door(tmp_path, url=url) as whole:
            yield whole
    finally:
        if url:
            postgres.drop_database(url)


async def refused(client: Client, body: object, **headers: str) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await client.request("POST", "/v1/messages", json=body, headers=headers)
    return caught.value


async def test_fifty_at_once_are_one_message(whole: Whole) -> None:
    answers = await asyncio.gather(
        *(whole.acme.request("POST", "/v1/messages", json=MESSAGE, headers=KEY) for _ in range(50)),
        return_exceptions=True,
    )
    taken = [one for one in answers if not isinstance(one, BaseException)]
    others = [one for one in answers if isinstance(one, BaseException)]
    assert taken
    assert {one["id"] for one in taken} == {taken[0]["id"]}
    assert {(one.status, one.code) for one in others if isinstance(one, ApiError)} <= {(409, "idempotency_in_flight")}
    assert all(isinstance(one, ApiError) for one in others)
    assert [one["id"] async for one in whole.acme.pages(operations.LIST_MESSAGES)] == [taken[0]["id"]]
    again = await whole.acme.request("POST", "/v1/messages", json=MESSAGE, headers=KEY)
    assert again["id"] == taken[0]["id"]
    other = await refused(whole.acme, {**MESSAGE, "text": "x"}, **KEY)
    assert (other.status, other.code) == (422, "idempotency_mismatch")
    assert [one.path for one in other.violations] == ["Idempotency-Key"]


async def test_suspend_correct_resume(whole: Whole) -> None:
    ask = whole.acme.request
    await ask("POST", "/v1/batches/spring/suspend")
    body = {**MESSAGE, "batch": "spring", "client_id": "c"}
    wrong = await ask("POST", "/v1/messages", json=body)
    right = await ask("POST", "/v1/messages", json={**body, "to": ["cyd@c.example"], "subject": "Better"})
    assert right["replaces"] == wrong["id"]
    assert (await ask("GET", "/v1/batches"))["items"][0]["messages"] == {"open": 1}
    resumed = await ask("POST", "/v1/batches/spring/resume")
    assert not resumed["suspended"]
    shown = await whole.captured(right["id"])
    assert (shown["client_id"], [one["address"] for one in shown["recipients"]]) == ("c", ["cyd@c.example"])
    assert (await refused(whole.acme, body)).status == 409
    with pytest.raises(ApiError) as caught:
        await ask("GET", f"/v1/messages/{wrong['id']}")
    assert caught.value.status == 404


async def test_a_cancelled_message_is_sent_again_under_its_client_id(whole: Whole) -> None:
    body = {**MESSAGE, "client_id": "c", "send_at": "+1h"}
    first = await whole.acme.request("POST", "/v1/messages", json=body)
    await whole.acme.request("POST", f"/v1/messages/{first['id']}/cancel")
    second = await whole.acme.request("POST", "/v1/messages", json=body)
    assert "replaces" not in second
    found = [one async for one in whole.acme.pages(operations.LIST_MESSAGES, query={"client_id": "c"})]
    assert [one["id"] for one in found] == [second["id"]]
    assert (await whole.acme.request("GET", f"/v1/messages/{first['id']}"))["client_id"] is None


async def test_a_duplicates_window(whole: Whole) -> None:
    raw = b"From: ann@acme.example\nTo: b@b.example\nMessage-ID: <a@b.example>\n\nx\n"
    changed = await whole.admin.request("PATCH", "/v1/tenants/acme", json={"duplicates_window": "10m"})
    assert changed["duplicates_window"] == "10m"
    first = await whole.acme.request("POST", "/v1/messages/raw", body=raw)
    assert (await whole.acme.request("POST", "/v1/messages/raw", body=raw))["id"] == first["id"]
    await whole.admin.request("PATCH", "/v1/tenants/acme", json={"duplicates_window": None})
    assert (await whole.acme.request("POST", "/v1/messages/raw", body=raw))["id"] != first["id"]


async def test_ten_thousand_are_listed_in_pages_while_mail_flows(whole: Whole) -> None:
    ask, stop = whole.acme.request, asyncio.Event()
    many = {"messages": [MESSAGE] * 1000, "defaults": {"send_at": "+1h"}}
    there = set()
    for _ in range(10):
        there |= {item["id"] for item in (await ask("POST", "/v1/messages/batch", json=many))["items"]}
    assert len(there) == 10_000

    async def keep_coming() -> int:
        count = 0
        while not stop.is_set():
            await ask("POST", "/v1/messages/batch", json={"messages": [MESSAGE] * 10})
            count += 10
        return count

    async def keep_changing() -> None:
        for queue_id in sorted(there)[::100]:
            await ask("POST", f"/v1/messages/{queue_id}/hold")

    flow, changes = asyncio.create_task(keep_coming()), asyncio.create_task(keep_changing())
    listed = [one["id"] async for one in whole.acme.pages(operations.LIST_MESSAGES, query={"limit": 100})]
    stop.set()
    came, _ = await asyncio.gather(flow, changes)
    assert came > 0
    assert len(listed) == len(set(listed))
    assert there <= set(listed)
    assert listed == sorted(listed, reverse=True)
