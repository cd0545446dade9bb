"""OpenAPI 3.1, made from the route table and the shapes; served as `/openapi.json`, and read by `/docs`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property

import orjson
from aiohttp import web
from pydantic import BaseModel

from sidecar_api.auth import Access
from sidecar_api.call import Call
from sidecar_api.described import (
    HEADERS,
    INTRODUCTION,
    PARAMETERS,
    faults,
    headers,
    parameter,
    path_parameter,
    problem,
    problems,
)
from sidecar_api.dialect import Dialect
from sidecar_api.genro.faults import GenroFaultOut
from sidecar_api.phrase import phrase
from sidecar_api.problems import ProblemOut
from sidecar_api.reference.page import render
from sidecar_api.route import EVENT_STREAM, JSON, Group, Route
from sidecar_api.schemas.examples import example_of
from sidecar_api.shapes import REFERENCE, Json, complete, schemas_of, texts_of

_SCHEMES = {Dialect.OURS: "token", Dialect.GENRO: "api_token"}
_SECURITY: dict[Dialect, Json] = {
    Dialect.OURS: {"type": "http", "scheme": "bearer", "description": "A tenant's or an admin's token"},
    Dialect.GENRO: {
        "type": "apiKey",
        "in": "header",
        "name": Dialect.GENRO.header,
        "description": "The same token, as clients of genro-mail-proxy show it",
    },
}
_PART = re.compile(r"\{(\w+)\}")
_RAW_EXAMPLE = "From: billing@example.com\r\nTo: ann@example.net\r\nSubject: Your invoice\r\n\r\nDear Ann, …\r\n"


class Description:
    """The document of an application's routes, made when it is first asked for."""

    def __init__(self, groups: Sequence[Group], version: str) -> None:
        self._groups = groups
        self._version = version

    @cached_property
    def document(self) -> Json:
        """The document."""
        return describe(self._groups, self._version)

    @cached_property
    def octets(self) -> bytes:
        """As it is served."""
        return orjson.dumps(self.document)

    @cached_property
    def page(self) -> bytes:
        """As people read it."""
        return render(self.document).encode()


async def show_openapi(call: Call) -> web.Response:
    """GET /openapi.json."""
    return web.Response(body=call.shared.description.octets, content_type=JSON)


def describe(groups: Sequence[Group], version: str) -> Json:
    """The whole document."""
    routes = [route for group in groups for route in group.routes]
    answers = {out for route in routes for out in route.answers.values() if isinstance(out, type) and out is not dict}
    dialects = {route.dialect for route in routes}
    wrong = [ProblemOut, *([GenroFaultOut] if Dialect.GENRO in dialects else [])]
    shapes, schemas = schemas_of(
        [route.body for route in routes if route.body is not None],
        [*wrong, *sorted(answers, key=lambda shape: shape.__name__)],
    )
    paths: dict[str, Json] = {}
    for group in groups:
        for route in group.routes:
            paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, group.tag, shapes)
    used = orjson.dumps(
        [paths, schemas, [shapes[one] for one in wrong]]
    ).decode()  # a reader of ours hides the shape of what it makes
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Stagepost",
            "version": version,
            "description": INTRODUCTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "This instance"}],
        "tags": [{"name": group.tag, "description": group.description} for group in groups],
        "paths": paths,
        "components": {
            "schemas": {name: schema for name, schema in schemas.items() if REFERENCE.format(model=name) in used},
            "parameters": PARAMETERS,
            "headers": HEADERS,
            "responses": problems(shapes[ProblemOut])
            | (faults(shapes[GenroFaultOut]) if Dialect.GENRO in dialects else {}),
            "securitySchemes": {_SCHEMES[one]: _SECURITY[one] for one in Dialect if one in dialects},
        },
    }


def _operation(route: Route, tag: str, shapes: Mapping[type, Json]) -> Json:
    operation: Json = {
        "operationId": route.name,
        "summary": route.summary,
        "tags": [tag],
        "security": _security(route),
        "x-access": route.access.word,
        "parameters": [
            *(path_parameter(name) for name in _PART.findall(route.path)),
            *_query_parameters(route.query),
            *_header_parameters(route),
        ],
    }
    if route.description:
        operation["description"] = route.description
    if route.takes_body:
        operation["requestBody"] = _request_body(route, shapes)
    operation["responses"] = _responses(route, shapes)
    return operation


def _security(route: Route) -> list[Json]:
    """What the caller must show; the scopes stand as roles."""
    access, scheme = route.access, _SCHEMES[route.dialect]
    match access:
        case Access.PUBLIC:
            return []
        case Access.METRICS:
            return [{}, {scheme: []}]
    scopes = [] if access.scope is None else [access.scope.value]
    return [{scheme: [*(["admin"] if access.is_admin else []), *scopes]}]


def _request_body(route: Route, shapes: Mapping[type, Json]) -> Json:
    if route.body is None:
        content: Json = {"schema": {"type": "string", "contentMediaType": route.media}, "example": _RAW_EXAMPLE}
    else:
        content = {"schema": shapes[route.body], "example": example_of(route.body)}
    also = {media: {"schema": {"type": "string"}, "example": text} for media, text in route.also.items()}
    return {"required": not route.body_may_be_absent, "content": dict.fromkeys(route.media_types, content) | also}


def _query_parameters(query: type[BaseModel]) -> list[Json]:
    schema = query.model_json_schema()
    complete(schema, texts_of(query))
    return [
        _query_parameter(name, name in schema.get("required", []), _without_null(member))
        for name, member in schema.get("properties", {}).items()
    ]


def _query_parameter(name: str, required: bool, schema: Json) -> Json:
    found: Json = {"name": name, "in": "query", "required": required, "schema": schema}
    if "description" in schema:
        found["description"] = schema.pop("description")
    return found


def _without_null(schema: Json) -> Json:
    """A parameter that is not given is absent, never null."""
    kinds = [one for one in schema.get("anyOf", []) if one != {"type": "null"}]
    kept = {name: value for name, value in schema.items() if name != "anyOf"}
    if schema.get("default", "") is None:
        del kept["default"]
    return (kinds[0] if len(kinds) == 1 else {"anyOf": kinds} if kinds else {}) | kept


def _header_parameters(route: Route) -> list[Json]:
    names = ["RequestId"]
    if route.idempotent:
        names.append("IdempotencyKey")
    if EVENT_STREAM in route.answers.values():
        names.append("LastEventId")
    if route.tagged:
        names.append("IfNoneMatch" if route.method == "GET" else "IfMatch")
    return [parameter(name) for name in names]


def _responses(route: Route, shapes: Mapping[type, Json]) -> Json:
    responses: Json = {}
    for status, out in sorted(route.answers.items()):
        response: Json = {"description": phrase(status), "headers": headers(*_header_names(route, status))}
        if isinstance(out, str | tuple):
            kinds = (out,) if isinstance(out, str) else out
            response["content"] = {kind: {"schema": {"type": "string"}} for kind in kinds}
        elif out is dict:
            response["content"] = {JSON: {"schema": {"type": "object"}}}
        elif out is not None:
            response["content"] = {JSON: {"schema": shapes[out], "example": example_of(out)}}
        responses[str(status)] = response
    return responses | {str(status): problem(status, route.dialect) for status in sorted(route.problems)}


def _header_names(route: Route, status: int) -> list[str]:
    names = []
    if (route.tagged and status != 204) or route.tagged_in_part:
        names.append("ETag")
    if status in {201, 202}:
        names.append("Location")
    if route.idempotent:
        names.append("IdempotentReplayed")
    if route.access not in {Access.PUBLIC, Access.METRICS}:
        names += ["RateLimit", "RateLimitPolicy"]
    return names
