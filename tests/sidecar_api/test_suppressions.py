"""Suppressions at the doors, on the real intake and store: what is put on a list is heeded by both."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from sidecar_api import operations
from sidecar_api.client import ApiError
from sidecar_api.resources import suppression_rows
from sidecar_api.schemas import suppressions as shapes
from tests.sidecar_api.whole import Whole, whole_door
from tests.support import postgres

CSV, LINES = suppression_rows.CSV, suppression_rows.JSON_LINES


BOTH = pytest.mark.parametrize("whole", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True)
"""On both databases; what the door alone decides is tested on one."""


@pytest.fixture
async def whole(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Whole]:
    url = postgres.new_database() if getattr(request, "param", "sqlite") == "postgres" else None
    async with whole_door(tmp_path, url=url) as one:
        yield one
    if url is not None:
        postgres.drop_database(url)


async def send(whole: Whole, *to: str) -> Any:
    body = {"from": "a@a.example", "to": list(to), "text": "x"}
    return await whole.acme.call(operations.SUBMIT, json=body)


@BOTH
async def test_put_shown_heeded_and_taken_off(whole: Whole) -> None:
    before = await send(whole, "Ann@B.example")
    assert before["recipients"] == [{"address": "Ann@B.example", "state": "queued"}]
    made = await whole.acme.exchange(operations.ADD_SUPPRESSION, json={"address": "Ann@B.example", "note": "asked us"})
    assert (made.status, made.headers["Location"]) == (201, "/v1/suppressions/ann@b.example")
    assert (made.body["address"], made.body["reason"], made.body["until"]) == ("ann@b.example", "manual", None)
    assert await whole.acme.call(operations.SHOW_SUPPRESSION, "ANN@b.example") == made.body
    sent = await send(whole, "ann@b.EXAMPLE", "bob@b.example")
    assert [one["state"] for one in sent["recipients"]] == ["suppressed", "queued"]
    assert sent["state"] == "open"
    alone = await send(whole, "ann@b.example")
    assert (alone["state"], alone["recipients"][0]["state"]) == ("failed", "suppressed")
    shown: Any = await whole.acme.call(operations.SHOW_MESSAGE, alone["id"])
    assert (shown["state"], shown["recipients"][0]["state"]) == ("failed", "suppressed")
    assert (await whole.acme.call(operations.EXPLAIN_MESSAGE, alone["id"]))["deliveries"] == []
    events: Any = await whole.acme.call(operations.SHOW_EVENTS, alone["id"])
    assert [(one["kind"], one["facts"].get("reason")) for one in events["items"]] == [
        ("accepted", None),
        ("suppressed", "manual"),
    ]
    feed: Any = await whole.acme.call(operations.LIST_EVENTS, query={"kind": "suppressed"})
    assert len(feed["items"]) == 2
    await whole.acme.call(operations.DELETE_SUPPRESSION, "ann@b.example")
    assert (await send(whole, "ann@b.example"))["state"] == "open"
    with pytest.raises(ApiError) as missing:
        await whole.acme.call(operations.DELETE_SUPPRESSION, "ann@b.example")
    assert missing.value.status == 404


async def test_a_domain_is_an_entry_of_its_own(whole: Whole) -> None:
    await whole.acme.call(operations.ADD_SUPPRESSION, json={"address": "@B.example", "reason": "complaint"})
    assert (await whole.acme.call(operations.SHOW_SUPPRESSION, "@b.example"))["reason"] == "complaint"
    sent = await send(whole, "ann@b.example", "ann@sub.b.example")
    assert [one["state"] for one in sent["recipients"]] == ["suppressed", "queued"]


async def test_put_again_stands_in_place_of_what_was(whole: Whole) -> None:
    body = {"address": "ann@b.example", "reason": "hard_bounce", "until": "+30d"}
    await whole.acme.call(operations.ADD_SUPPRESSION, json=body)
    again = await whole.acme.exchange(
        operations.ADD_SUPPRESSION, json={"address": "ann@b.example", "reason": "unsubscribe"}
    )
    assert (again.status, again.body["reason"], again.body["until"]) == (200, "unsubscribe", None)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"address": "ann"}, "/address"),
        ({"address": "@"}, "/address"),
        ({"address": 5}, "/address"),
        ({}, "/address"),
        ({"address": "a@b.example", "reason": "whim"}, "/reason"),
        ({"address": "a@b.example", "until": "2001-01-01T00:00:00Z"}, "/until"),
        ({"address": "a@b.example", "note": "a\nb"}, "/note"),
        ({"address": "a@b.example", "since": "+1d"}, "/since"),
    ],
)
async def test_what_is_wrong_is_named(whole: Whole, body: Any, path: str) -> None:
    with pytest.raises(ApiError) as refused:
        await whole.acme.call(operations.ADD_SUPPRESSION, json=body)
    assert refused.value.status == 422
    assert [one.path for one in refused.value.violations] == [path]


async def fill(whole: Whole, count: int) -> None:
    items = [{"address": f"u{number:04d}@b.example"} for number in range(count)]
    await whole.acme.call(operations.IMPORT_SUPPRESSIONS, json={"items": items})


@BOTH
async def test_listed_in_pages_by_reason_and_beginning(whole: Whole) -> None:
    await fill(whole, 7)
    await whole.acme.call(operations.ADD_SUPPRESSION, json={"address": "@c.example", "reason": "complaint"})
    pages = [one["address"] async for one in whole.acme.pages(operations.LIST_SUPPRESSIONS, query={"limit": 3})]
    assert pages == ["@c.example", *(f"u{number:04d}@b.example" for number in range(7))]

    async def found(**query: Any) -> list[str]:
        page: Any = await whole.acme.call(operations.LIST_SUPPRESSIONS, query=query)
        return [one["address"] for one in page["items"]]

    assert await found(reason="complaint") == ["@c.example"]
    assert await found(prefix="u0003") == ["u0003@b.example"]
    with pytest.raises(ApiError) as refused:
        await whole.admin.call(operations.LIST_SUPPRESSIONS)
    assert [one.path for one in refused.value.violations] == ["?tenant"]


@BOTH
async def test_an_import_says_what_became_of_each_row(whole: Whole) -> None:
    items: list[Any] = [
        {"address": "a@b.example"},
        {"address": "nobody"},
        {"address": "A@b.example"},
        "c@b.example",
        {"address": "d@b.example", "until": "2001-01-01T00:00:00Z"},
        {"address": "e@b.example", "reason": "unsubscribe", "since": "2026-01-01T00:00:00Z", "message": "m1"},
    ]
    first = await whole.acme.exchange(operations.IMPORT_SUPPRESSIONS, json={"items": items})
    assert first.status == 207
    assert (first.body["added"], first.body["changed"], first.body["invalid"]) == (2, 0, 3)
    assert [(one["row"], one["path"]) for one in first.body["faults"]] == [(2, "/address"), (4, ""), (5, "/until")]
    second = await whole.acme.exchange(operations.IMPORT_SUPPRESSIONS, json={"items": [items[0], items[5]]})
    assert (second.status, second.body["unchanged"]) == (200, 2)
    kept = await whole.acme.call(operations.SHOW_SUPPRESSION, "e@b.example")
    assert (kept["since"], kept["message"]) == ("2026-01-01T00:00:00.000Z", "m1")


@pytest.mark.parametrize(
    ("media", "text", "added", "faults"),
    [
        (CSV, 'address,reason,note\r\na@b.example,unsubscribe,"said ""no"""\r\n\r\nx,,\r\n', 1, [(4, "/address")]),
        (CSV, "\N{ZERO WIDTH NO-BREAK SPACE}Reason,Address\nunsubscribe,a@b.example\n", 1, []),
        (CSV, "a@b.example\nc@b.example,whatever\n", 2, []),
        (CSV, "address\na@b.example,too,many\n", 0, [(2, "")]),
        (CSV, 'address\na@b.example\n"x"y@b.example\nc@b.example\n', 1, [(3, "")]),
        (LINES, '{"address": "a@b.example"}\n\n{"address": "x"}\nnonsense\n', 1, [(3, "/address"), (4, "")]),
    ],
    ids=["csv", "csv with a mark", "bare list", "too many cells", "no csv from a line on", "lines"],
)
async def test_an_import_from_a_file(
    whole: Whole, media: str, text: str, added: int, faults: list[tuple[int, str]]
) -> None:
    found = await whole.acme.call(operations.IMPORT_SUPPRESSIONS, body=text.encode(), media=media)
    assert found["added"] == added
    assert [(one["row"], one["path"]) for one in found["faults"]] == faults


@pytest.mark.parametrize(
    ("media", "octets", "status"),
    [
        (CSV, b"", 422),
        (CSV, b"address,colour\na@b.example,red\n", 422),
        (CSV, b"\xff\xfe", 422),
        (CSV, b'"a"b@b.example\n', 422),
        (LINES, b"\n \n", 422),
        ("text/plain", b"a@b.example\n", 415),
        ("application/json", b"[]", 422),
    ],
)
async def test_an_import_that_is_none_is_refused_whole(whole: Whole, media: str, octets: bytes, status: int) -> None:
    with pytest.raises(ApiError) as refused:
        await whole.acme.call(operations.IMPORT_SUPPRESSIONS, body=octets, media=media)
    assert refused.value.status == status
    assert refused.value.violations


async def test_too_many_rows_are_refused_before_any_is_taken(whole: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes, "MAX_IMPORT", 2)
    with pytest.raises(ApiError, match="not valid"):
        await whole.acme.call(operations.IMPORT_SUPPRESSIONS, body=b"a@b.example\n" * 4, media=CSV)
    page: Any = await whole.acme.call(operations.LIST_SUPPRESSIONS)
    assert page["items"] == []


@BOTH
@pytest.mark.parametrize(("kind", "media"), [("csv", CSV), ("jsonl", LINES)])
async def test_an_export_can_be_imported_again(
    whole: Whole, kind: str, media: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar_api.resources.suppressions.EXPORTED_AT_ONCE", 3)
    await fill(whole, 7)
    body = {"address": "q@b.example", "note": 'said "no", twice', "until": "+30d"}
    await whole.acme.call(operations.ADD_SUPPRESSION, json=body)
    octets = b"".join(
        [piece async for piece in whole.acme.stream(operations.EXPORT_SUPPRESSIONS, query={"format": kind})]
    )
    if kind == "csv":
        rows: list[Any] = list(csv.DictReader(io.StringIO(octets.decode())))
    else:
        rows = [orjson.loads(line) for line in octets.splitlines()]
    assert len(rows) == 8
    assert rows[0]["note"] == 'said "no", twice'
    again = await whole.acme.call(operations.IMPORT_SUPPRESSIONS, body=octets, media=media)
    assert (again["unchanged"], again["invalid"]) == (8, 0)


async def test_a_tenants_settings(whole: Whole) -> None:
    shown = await whole.admin.call(operations.SHOW_TENANT, "acme")
    assert (shown["suppress_on"], shown["suppress_for"]) == ("hard_bounce", "30d")
    changed = await whole.admin.call(
        operations.CHANGE_TENANT, "acme", json={"suppress_on": "never", "suppress_for": None}
    )
    assert (changed["suppress_on"], changed["suppress_for"]) == ("never", None)
    await whole.admin.call(operations.ADD_TENANT, json={"id": "other", "suppress_for": "10d"})
    other = await whole.admin.call(operations.SHOW_TENANT, "other")
    assert (other["suppress_on"], other["suppress_for"]) == ("hard_bounce", "10d")
    await whole.admin.call(operations.ADD_TENANT, json={"id": "third"})
    assert (await whole.admin.call(operations.SHOW_TENANT, "third"))["suppress_for"] == "30d"
