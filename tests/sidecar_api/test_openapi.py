"""The description and what is served are the same; every answer of the door is one that is described."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from sidecar_api import routes
from sidecar_api.app import App
from sidecar_api.auth import Access
from sidecar_api.openapi import describe
from sidecar_api.routes import GROUPS, OURS, ROUTES
from tests.sidecar_api.conftest import Door, filled_directory, services_of
from tests.sidecar_api.memory import Archive, RecordingIntake


def served() -> set[tuple[str, str]]:
    archive = Archive()
    app = App(services_of(RecordingIntake(archive), archive, filled_directory(), {}, 1000))
    return {(route.method, route.resource.canonical) for route in app.router.routes() if route.resource is not None}


def test_no_group_is_left_out() -> None:
    modules = [import_module(f"{routes.__name__}.{found.name}") for found in iter_modules(routes.__path__)]
    assert {group.tag for group in OURS} == {module.GROUP.tag for module in modules}


async def test_the_router_serves_exactly_the_table() -> None:
    heads = {("HEAD", route.path) for route in ROUTES if route.has_head}
    assert served() == {(route.method, route.path) for route in ROUTES} | heads


@pytest.mark.parametrize(
    "path", ["/health/live", "/metrics", "/v1/messages", "/v1/accounts/main", "/docs", "/v1/commands/export"]
)
async def test_head_answers_as_get_does_without_the_body(door: Door, path: str) -> None:
    get, head = await door.ask("GET", path), await door.ask("HEAD", path)
    apart = {"Date", "X-Request-ID", "Content-Length", "Transfer-Encoding"}
    assert (head.status, head.body) == (200, b"")
    assert get.status == 200
    assert {n: v for n, v in head.headers.items() if n not in apart} == {
        n: v for n, v in get.headers.items() if n not in apart
    }
    assert (await door.ask("HEAD", "/v1/messages", "bad")).status == 401
    assert (await door.ask("HEAD", "/v1/tokens/x/rotate")).status == 405


async def test_the_description_holds_exactly_the_table(door: Door) -> None:
    document = (await door.ask("GET", "/openapi.json", None)).json
    described = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert described == {(method, path) for method, path in served() if method != "HEAD"}
    assert document["openapi"] == "3.1.0"
    assert document["info"]["version"] == "1.2.3"


def test_every_reference_is_defined_and_every_operation_complete() -> None:
    document = describe(GROUPS, "1")
    text = str(document)
    for name in document["components"]["schemas"]:
        assert f"#/components/schemas/{name}" in text, f"{name} is described and never used"
    ids = set()
    for route in ROUTES:
        operation = document["paths"][route.path][route.method.lower()]
        ids.add(operation["operationId"])
        assert (operation["security"] == []) == (route.access is Access.PUBLIC)
        assert set(operation["responses"]) >= {str(status) for status in route.answers}
        if route.body is not None:
            assert "$ref" in operation["requestBody"]["content"]["application/json"]["schema"]
    assert len(ids) == len(ROUTES)
    assert _dangling(document, document) == []


def _dangling(node: object, document: object) -> list[str]:
    if isinstance(node, dict):
        reference = node.get("$ref")
        if isinstance(reference, str):
            target = document
            for part in reference.removeprefix("#/").split("/"):
                target = target.get(part) if isinstance(target, dict) else None
            return [] if target is not None else [reference]
        return [one for value in node.values() for one in _dangling(value, document)]
    return [one for value in node for one in _dangling(value, document)] if isinstance(node, list) else []


def test_the_document_is_valid_openapi_3_1() -> None:
    OpenAPIV31SpecValidator(describe(GROUPS, "1")).validate()


def _shared(document: Any, response: Any) -> Any:
    name = response.get("$ref", "").rpartition("/")[2]
    return document["components"]["responses"][name] if name else response


def test_every_convention_is_described() -> None:
    document = describe(GROUPS, "1")
    tags = {tag["name"] for tag in document["tags"] if tag["description"]}
    for route in ROUTES:
        operation = document["paths"][route.path][route.method.lower()]
        assert set(operation["tags"]) <= tags
        given = {one.get("$ref", "").rpartition("/")[2] for one in operation["parameters"]}
        assert "RequestId" in given
        assert ("IdempotencyKey" in given) == route.idempotent
        assert bool({"IfMatch", "IfNoneMatch"} & given) == route.tagged
        assert (412 in route.problems) == (route.tagged and route.method != "GET")
        assert (429 in route.problems) or route.access in {Access.PUBLIC, Access.METRICS}
        assert ({413, 415} <= route.problems) == route.takes_body
        for response in operation["responses"].values():
            found = _shared(document, response)
            assert "X-Request-ID" in found["headers"]
            for content in found.get("content", {}).values():
                assert "example" in content or content["schema"] in ({"type": "string"}, {"type": "object"})
        for content in operation.get("requestBody", {"content": {}})["content"].values():
            assert content["example"]


def test_docstrings_of_members_are_their_descriptions() -> None:
    schemas = describe(GROUPS, "1")["components"]["schemas"]
    assert schemas["ProblemOut"]["properties"]["code"]["description"].startswith("A stable word")
    assert "title" not in schemas["ProblemOut"]["properties"]["code"]


def test_the_query_of_a_listing_is_described() -> None:
    operation = describe(GROUPS, "1")["paths"]["/v1/messages"]["get"]
    parameters = {one["name"]: one["schema"] for one in operation["parameters"] if one.get("in") == "query"}
    assert set(parameters) == {
        *("tenant", "state", "batch", "client_id", "account", "recipient", "since", "until", "cursor", "limit"),
        *("tag", "priority", "suspended"),
    }
    assert parameters["limit"] == {"type": "integer", "minimum": 1, "maximum": 100, "default": 50}
