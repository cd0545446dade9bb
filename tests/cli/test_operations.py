"""Every route has its operation in the client, with the shape that it answers, and every operation its verb."""

from __future__ import annotations

import importlib
import pkgutil
import re
import typing
from pathlib import Path

import sidecar_api.schemas
from relay import cli
from sidecar_api import operations
from sidecar_api.dialect import Dialect
from sidecar_api.operations import Listing, Operation, Stream
from sidecar_api.route import EVENT_STREAM, Route
from sidecar_api.routes import ROUTES

FOR_BROWSERS = {"/docs", "/docs/reference.css", "/docs/reference.js"}
"""Routes that no program calls."""
CALLED = [route for route in ROUTES if route.path not in FOR_BROWSERS and route.dialect is Dialect.OURS]
"""Those of genro-mail-proxy are for the programs that were written for it."""
WITHOUT_VERB: set[str] = set()
"""Operations that no command calls."""

ADVICE = "a new route has a line in sidecar_api/operations.py, and a verb in relay/cli that calls it"


def named() -> dict[str, Operation[typing.Any]]:
    return {name: value for name, value in vars(operations).items() if isinstance(value, Operation)}


def answer_of(route: Route) -> object:
    shape = next(shape for status, shape in route.answers.items() if 200 <= status <= 299)
    return bytes if isinstance(shape, str | tuple) else type(None) if shape is None else shape


def test_every_route_has_an_operation() -> None:
    routes = {(route.method, route.path) for route in CALLED}
    assert {(one.method, one.path) for one in named().values()} == routes, ADVICE
    assert len(named()) == len(routes)
    by_place = {(one.method, one.path): name for name, one in named().items()}
    assert {by_place[route.method, route.path] for route in CALLED} == {route.name.upper() for route in CALLED}, (
        "an operation is called as the API's description calls it"
    )


def test_every_operation_answers_what_its_route_does() -> None:
    shapes = {
        one.name: importlib.import_module(f"sidecar_api.schemas.{one.name}")
        for one in pkgutil.iter_modules(sidecar_api.schemas.__path__)
    }
    hints = typing.get_type_hints(operations, localns=shapes)
    routes = {(route.method, route.path): route for route in ROUTES}
    for name, operation in named().items():
        shape, *item = typing.get_args(hints[name])
        if isinstance(operation, Stream):
            assert routes[operation.method, operation.path].answers == {200: EVENT_STREAM}
            continue
        expected = answer_of(routes[operation.method, operation.path])
        assert typing.get_origin(shape) or shape == expected, name
        if isinstance(operation, Listing):
            assert typing.get_type_hints(shape)["items"] == list[item[0]], name  # type: ignore[valid-type]
            assert "next_cursor" in typing.get_type_hints(shape), name


def test_every_operation_has_a_verb() -> None:
    sources = "".join(file.read_text() for file in Path(cli.__path__[0]).glob("*.py"))
    called = set(re.findall(r"operations\.([A-Z_]+)", sources))
    assert set(named()) - called == WITHOUT_VERB, ADVICE


def test_an_id_is_one_segment_whatever_is_in_it() -> None:
    assert operations.SHOW_MESSAGE.url("../x?y#z") == "/v1/messages/..%2Fx%3Fy%23z"
    assert operations.CANCEL_MESSAGE.url("a") == "/v1/messages/a/cancel"
