"""OpenAPI 3.1, made from the route table and the shapes; served as `/openapi.json`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import web
from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from sidecar_api.auth import Access
from sidecar_api.call import Call
from sidecar_api.problems import MEDIA_TYPE, ProblemOut
from sidecar_api.route import JSON, Group, Route

Json = dict[str, Any]
"""JSON is what this module makes: the one place where a dictionary of anything is the fitting type."""

_REF = "#/components/schemas/{model}"
_PART = re.compile(r"\{(\w+)\}")


class Description:
    """The document of an application's routes, made when it is first asked for."""

    def __init__(self, groups: Sequence[Group], version: str) -> None:
        self._groups = groups
        self._version = version

    @cached_property
    def octets(self) -> bytes:
        """As it is served."""
        return orjson.dumps(describe(self._groups, self._version))


DESCRIPTION = web.AppKey("description", Description)


async def show_openapi(call: Call) -> web.Response:
    """GET /openapi.json."""
    return web.Response(body=call.request.app[DESCRIPTION].octets, content_type=JSON)


def describe(groups: Sequence[Group], version: str) -> Json:
    """The whole document."""
    routes = [route for group in groups for route in group.routes]
    shapes, schemas = _schemas(routes)
    paths: dict[str, Json] = {}
    for group in groups:
        for route in group.routes:
            paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, group.tag, shapes)
    used = orjson.dumps([paths, schemas]).decode()  # a reader of ours hides the shape of what it makes
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Stagepost",
            "version": version,
            "description": "Hand in mail, and see what became of it for every recipient. Problems are RFC 9457.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": {name: schema for name, schema in schemas.items() if _REF.format(model=name) in used},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "A tenant's or an admin's token"}
            },
        },
        "tags": [{"name": group.tag, "description": group.description} for group in groups],
    }


def _schemas(routes: Sequence[Route]) -> tuple[Mapping[type, Json], Json]:
    """A reference for every shape, and the components they point to."""
    wanted: dict[type, JsonSchemaMode] = {ProblemOut: "serialization"}
    for route in routes:
        if route.body is not None:
            wanted[route.body] = "validation"
        wanted |= {out: "serialization" for out in route.answers.values() if isinstance(out, type) and out is not dict}
    adapters: list[tuple[type, JsonSchemaMode, TypeAdapter[Any]]] = [
        (shape, mode, TypeAdapter(shape)) for shape, mode in wanted.items()
    ]
    references, definitions = TypeAdapter.json_schemas(adapters, ref_template=_REF)
    return {shape: references[shape, mode] for shape, mode in wanted.items()}, definitions["$defs"]


def _operation(route: Route, tag: str, shapes: Mapping[type, Json]) -> Json:
    operation: Json = {
        "operationId": route.name,
        "summary": route.summary,
        "tags": [tag],
        "parameters": [*_path_parameters(route), *_query_parameters(route.query), *_header_parameters(route)],
        "responses": _responses(route, shapes),
        "x-access": route.access.value,
    }
    match route.access:
        case Access.PUBLIC:
            operation["security"] = []
        case Access.METRICS:
            operation["security"] = [{}, {"token": []}]
        case _:
            operation["security"] = [{"token": []}]
    if route.body is not None or route.media != JSON:
        schema: Json = shapes[route.body] if route.body else {"type": "string", "contentMediaType": route.media}
        operation["requestBody"] = {"required": True, "content": {route.media: {"schema": schema}}}
    return operation


def _path_parameters(route: Route) -> list[Json]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PART.findall(route.path)
    ]


def _query_parameters(query: type[BaseModel]) -> list[Json]:
    schema = query.model_json_schema()
    return [
        {"name": name, "in": "query", "required": name in schema.get("required", []), "schema": _without_null(of)}
        for name, of in schema.get("properties", {}).items()
    ]


def _without_null(schema: Json) -> Json:
    """A parameter that is not given is absent, never null."""
    kinds = [one for one in schema.get("anyOf", []) if one != {"type": "null"}]
    kept = {name: value for name, value in schema.items() if name not in {"anyOf", "title"}}
    if schema.get("default", "") is None:
        del kept["default"]
    return kept | (kinds[0] if len(kinds) == 1 else {"anyOf": kinds} if kinds else {})


def _header_parameters(route: Route) -> list[Json]:
    if not route.idempotent:
        return []
    text = {"type": "string", "minLength": 1, "maxLength": 255}
    detail = "The same key with the same content gives the same answer, with `Idempotent-Replayed: true`"
    return [{"name": "Idempotency-Key", "in": "header", "required": False, "schema": text, "description": detail}]


def _responses(route: Route, shapes: Mapping[type, Json]) -> Json:
    responses: Json = {}
    for status, out in route.answers.items():
        response: Json = {"description": HTTPStatus(status).phrase}
        if isinstance(out, str):
            response["content"] = {out: {"schema": {"type": "string"}}}
        elif out is not None:
            response["content"] = {JSON: {"schema": shapes.get(out, {"type": "object"})}}
        responses[str(status)] = response
    problem = {MEDIA_TYPE: {"schema": shapes[ProblemOut]}}
    for status in sorted(route.problems):
        responses[str(status)] = {"description": HTTPStatus(status).phrase, "content": problem}
    return responses
