"""Problems and request ids: every answer that is not a success says what, where, and under which id."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import TypeAdapter

from relay.errors import Refusal, Rejected
from sidecar_api.problems import MEDIA_TYPE, ProblemOut
from tests.sidecar_api.conftest import Answer, Door

MESSAGE = {"from": "a@a.example", "to": "b@b.example", "text": "x"}
HELD: dict[str, Any] = {"json": b"{"}


def _is_problem(answer: Answer, status: int, code: str) -> None:
    assert (answer.status, answer.json["code"]) == (status, code)
    assert answer.headers["Content-Type"] == MEDIA_TYPE
    TypeAdapter(ProblemOut).validate_python(answer.json)
    assert answer.json["request_id"] == answer.headers["X-Request-ID"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Server"] == "Stagepost"


@pytest.mark.parametrize(
    ("method", "path", "token", "more", "status", "code", "places"),
    [
        ("POST", "/v1/messages", "a-all", {"json": b"{"}, 400, "malformed_json", {""}),
        ("GET", "/v1/messages", None, {}, 401, "token_required", set()),
        ("GET", "/v1/messages", "bad", {}, 401, "bad_token", set()),
        ("GET", "/v1/tenants", "a-all", {}, 403, "admin_only", set()),
        ("POST", "/v1/messages", "a-read", {"json": MESSAGE}, 403, "missing_scope", set()),
        ("GET", "/v1/messages/none", "a-all", {}, 404, "not_found", set()),
        ("GET", "/nowhere", None, {}, 404, "no_such_route", set()),
        ("PUT", "/v1/messages", "a-all", {}, 405, "method_not_allowed", set()),
        ("POST", "/v1/tenants", "admin", {"json": {"id": "a"}}, 409, "conflict", set()),
        ("PATCH", "/v1/tenants/a", "admin", {"json": {}, "headers": {"If-Match": '"x"'}}, 412, "changed_meanwhile",
         {"If-Match"}),
        ("POST", "/v1/messages", "a-all", {"json": b" " * 2_100_000}, 413, "too_large", set()),
        ("POST", "/v1/messages", "a-all", {"data": b"x", "headers": {"Content-Type": "text/plain"}}, 415,
         "unsupported_media_type", {"Content-Type"}),
        ("POST", "/v1/messages", "a-all", {"json": {}}, 422, "invalid", {"/from", "/to", "/html"}),
        ("GET", "/v1/messages?limit=0&x=1", "a-all", {}, 422, "invalid", {"?limit", "?x"}),
    ],
)  # fmt: skip
async def test_every_fault_is_a_problem_that_names_its_place(
    door: Door,
    method: str,
    path: str,
    token: str | None,
    more: dict[str, Any],
    status: int,
    code: str,
    places: set[str],
) -> None:
    answer = await door.ask(method, path, token, **more)
    _is_problem(answer, status, code)
    assert {one["path"] for one in answer.json.get("violations", [])} == places
    if status == 405:
        assert answer.headers["Allow"] == "GET,HEAD,POST"


@pytest.mark.parametrize("refusal", [one for one in Refusal if one.http_status in {429, 503}], ids=str)
async def test_back_pressure_says_when_to_come_back(door: Door, refusal: Refusal) -> None:
    door.intake.refuse = Rejected(refusal)
    answer = await door.ask("POST", "/v1/messages", json=MESSAGE)
    _is_problem(answer, refusal.http_status, refusal.name.lower())
    assert int(answer.headers["Retry-After"]) > 0


async def test_a_request_id_is_the_clients_where_it_is_well_formed(door: Door) -> None:
    for given in ("abc-1", "A" * 128, "x.y_z"):
        for path in ("/health/live", "/v1/messages/none", "/nowhere"):
            answer = await door.ask("GET", path, headers={"X-Request-ID": given})
            assert answer.headers["X-Request-ID"] == given
    made = set()
    for given in ("", "a b", "A" * 129, "ä", "a;b", '"><script>'):
        answer = await door.ask("GET", "/nowhere", headers={"X-Request-ID": given})
        assert answer.headers["X-Request-ID"] != given
        made.add(answer.json["request_id"])
    assert len(made) == 6


async def test_what_is_no_http_is_a_problem_with_an_id_as_well(door: Door) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    writer.write(b"NONSENSE\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 5)
    assert answer.partition(b" ")[2].startswith(b"400 Bad Request\r\n")
    assert b"X-Request-ID: " in answer
    assert b'"request_id":"' in answer
    assert b"aiohttp" not in answer
    writer.close()
