"""The feed of events on the real core."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sidecar_api.client import Client
from tests.sidecar_api.whole import Whole, whole_door

MAILS = 20
LETTER = {"from": "a@example.com", "to": ["b@example.net"], "subject": "hi", "text": "hello"}


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Whole]:
    async with whole_door(tmp_path) as one:
        yield one


async def pages(client: Client, after: str, **query: str) -> tuple[list[Any], str]:
    """All behind the cursor, and where it stands then."""
    found: list[Any] = []
    while True:
        asked = {"after": after, "limit": "7", **query}
        page = await client.request("GET", "/v1/events", query=asked)
        found += page["items"]
        after = page["next_cursor"]
        if not page["more"]:
            return found, after


async def test_the_feed_while_mail_flows(door: Whole) -> None:
    async def send() -> None:
        answers = await asyncio.gather(*(door.acme.request("POST", "/v1/messages", json=LETTER) for _ in range(MAILS)))
        for one in answers:
            await door.captured(one["id"])

    found: list[Any] = []
    cursor = "0"
    sending = asyncio.create_task(send())
    while True:
        last = sending.done()
        some, cursor = await pages(door.acme, cursor)
        found += some
        if last:
            break
    await sending
    sequences = [one["sequence"] for one in found]
    assert sequences == sorted(set(sequences))
    kinds = [one["kind"] for one in found]
    assert (kinds.count("accepted"), kinds.count("captured")) == (MAILS, MAILS)
    captured, _ = await pages(door.acme, "0", kind="captured")
    assert captured == [one for one in found if one["kind"] == "captured"]
    of_one, _ = await pages(door.acme, "0", message=found[0]["message"])
    assert of_one == [one for one in found if one["message"] == found[0]["message"]]


async def test_a_tenant_sees_its_own(door: Whole) -> None:
    made = await door.admin.request("POST", "/v1/tenants", json={"id": "other"})
    sent = await door.acme.request("POST", "/v1/messages", json=LETTER)
    await door.captured(sent["id"])
    async with Client(door.url, token=made["token"]) as other:
        assert (await pages(other, "0"))[0] == []
        assert (await pages(other, "0", message=sent["id"]))[0] == []
    of_all, _ = await pages(door.admin, "0")
    assert {one["message"] for one in of_all} == {sent["id"]}
    assert (await pages(door.admin, "0", tenant="other"))[0] == []
