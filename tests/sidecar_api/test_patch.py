"""Merge patches: what is not named stays, null clears, nothing resets silently; and never over what was not read."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import orjson
import pytest
from pydantic import ValidationError

from sidecar_api.etags import etag_of
from sidecar_api.routes import ROUTES
from sidecar_api.schemas.patch import MERGE_PATCH, Patch
from tests.sidecar_api.conftest import Door

TENANT = "/v1/tenants/a"


@dataclass(frozen=True)
class Inner:
    low: int | None = 1
    high: int | None = 2


@dataclass(frozen=True)
class Thing:
    name: str = "n"
    note: str | None = "old"
    tags: tuple[str, ...] = ("x",)
    inner: Inner = Inner()


class InnerPatch(Patch):
    low: int | None = None
    high: int | None = None


class ThingPatch(Patch):
    name: str = ""
    note: str | None = None
    tags: tuple[str, ...] = ()
    inner: InnerPatch = InnerPatch()


@pytest.mark.parametrize(
    ("patch", "changed"),
    [
        ("{}", Thing()),
        ('{"name": "new"}', Thing(name="new")),
        ('{"note": null}', Thing(note=None)),
        ('{"tags": []}', Thing(tags=())),
        ('{"tags": ["a", "b"]}', Thing(tags=("a", "b"))),
        ('{"inner": {"high": 9}}', Thing(inner=Inner(1, 9))),
        ('{"inner": {"low": null}}', Thing(inner=Inner(None, 2))),
        ('{"inner": {}}', Thing()),
        ('{"note": "same", "inner": {"low": 5}}', Thing(note="same", inner=Inner(5, 2))),
    ],
)
def test_what_is_named_changes(patch: str, changed: Thing) -> None:
    assert ThingPatch.model_validate_json(patch).apply_to(Thing()) == changed


@pytest.mark.parametrize("patch", ['{"name": null}', '{"tags": null}', '{"inner": null}', '{"inner": {"low": "1"}}'])
def test_what_has_to_be_there_cannot_be_cleared(patch: str) -> None:
    with pytest.raises(ValidationError):
        ThingPatch.model_validate_json(patch)


@pytest.mark.parametrize("media_type", [MERGE_PATCH, "application/json"])
async def test_a_tenant_changes_by_what_is_named(door: Door, media_type: str) -> None:
    headers = {"Content-Type": media_type}
    before = (await door.ask("GET", TENANT, "admin")).json
    named = await door.ask("PATCH", TENANT, "admin", json={"name": "Anew"}, headers=headers)
    assert (named.status, named.json) == (200, {**before, "name": "Anew"})
    cleared = await door.ask("PATCH", TENANT, "admin", json={"default_account": None}, headers=headers)
    assert cleared.json == {**before, "name": "Anew", "default_account": None}
    assert (await door.ask("GET", TENANT, "admin")).json == cleared.json


async def test_faults_of_a_patch(door: Door) -> None:
    for body, path in (({"name": None}, "/name"), ({"nam": "x"}, "/nam"), ({"id": "x"}, "/id")):
        answer = await door.ask("PATCH", TENANT, "admin", json=body)
        assert (answer.status, answer.paths) == (422, {path})
    assert (await door.ask("PATCH", TENANT, "admin", json={}, headers={"Content-Type": "text/plain"})).status == 415
    assert (await door.ask("PATCH", "/v1/tenants/none", "admin", json={})).status == 404


async def test_a_setting_is_read_with_a_tag_and_changed_as_it_was_read(door: Door) -> None:
    read = await door.ask("GET", TENANT, "admin")
    tag = read.headers["ETag"]
    assert tag == etag_of(read.body)
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = await door.ask("GET", TENANT, "admin", headers={"If-None-Match": known})
        assert (again.status, again.body, again.headers["ETag"]) == (304, b"", tag)
        assert "Content-Type" not in again.headers
    changed = await door.ask("PATCH", TENANT, "admin", json={"name": "One"}, headers={"If-Match": f'"x", {tag}'})
    assert (changed.status, changed.headers["ETag"]) == (200, etag_of(changed.body))
    for stale in (tag, '"x"', f"W/{changed.headers['ETag']}", "nonsense"):
        late = await door.ask("PATCH", TENANT, "admin", json={"name": "Two"}, headers={"If-Match": stale})
        assert (late.status, late.json["code"]) == (412, "changed_meanwhile")
        assert late.headers["ETag"] == changed.headers["ETag"]
    assert (await door.ask("GET", TENANT, "admin", headers={"If-None-Match": tag})).json["name"] == "One"
    assert (await door.ask("DELETE", TENANT, "admin", headers={"If-Match": tag})).status == 412
    assert (await door.ask("DELETE", TENANT, "admin", headers={"If-Match": "*"})).status == 204


def test_whatever_can_be_changed_can_be_read_with_a_tag() -> None:
    shown = {route.path for route in ROUTES if route.method == "GET" and (route.tagged or route.tagged_in_part)}
    changed = {route.path for route in ROUTES if route.method == "PATCH"}
    assert changed <= shown
    assert {route.path for route in ROUTES if route.tagged} <= shown
    assert all(route.tagged and issubclass(route.body or object, Patch) for route in ROUTES if route.method == "PATCH")


async def test_of_many_with_one_tag_one_succeeds(door: Door) -> None:
    tag = (await door.ask("GET", TENANT, "admin")).headers["ETag"]
    answers = await asyncio.gather(
        *(
            door.ask("PATCH", TENANT, "admin", json={"name": str(number)}, headers={"If-Match": tag})
            for number in range(20)
        )
    )
    assert sorted(answer.status for answer in answers) == [200] + [412] * 19
    assert orjson.loads((await door.ask("GET", TENANT, "admin")).body)["name"] in {str(number) for number in range(20)}


async def test_the_retries_of_a_tenant_change_one_by_one(door: Door) -> None:
    for change, expected in (
        ({"schedule": ["1m", "2h"], "max_attempts": 4}, {"schedule": ["1m", "2h"], "max_attempts": 4}),
        ({"max_age": "2d", "max_attempts": None}, {"schedule": ["1m", "2h"], "max_age": "2d"}),
    ):
        answer = await door.ask(
            "PATCH", TENANT, "admin", data=orjson.dumps({"retry": change}), headers={"Content-Type": MERGE_PATCH}
        )
        assert answer.status == 200, answer.json
        assert {name: value for name, value in answer.json["retry"].items() if value is not None} == expected
