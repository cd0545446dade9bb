"""Cross-origin requests: nothing unless configured, and never with credentials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tests.sidecar_api.conftest import Answer, Door, open_door

PAGE = "https://admin.example"
ASK = {"Origin": PAGE, "Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization"}


def _cors(answer: Answer) -> Mapping[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("Access-Control-")}


async def _preflight(door: Door, headers: Mapping[str, str]) -> Answer:
    return await door.ask("OPTIONS", "/v1/tenants/a", None, headers=headers)


async def test_off_unless_configured(door: Door) -> None:
    assert (await _preflight(door, ASK)).status == 405
    answer = await door.ask("GET", "/v1/messages", headers={"Origin": PAGE})
    assert _cors(answer) == {}
    assert "Origin" not in answer.headers.get("Vary", "")


async def test_an_origin_that_is_named_may_call() -> None:
    async with open_door(lambda services: replace(services, cors_origins=frozenset({PAGE}))) as door:
        asked = await _preflight(door, ASK)
        assert asked.status == 204
        assert asked.headers["Access-Control-Allow-Origin"] == PAGE
        assert "PATCH" in asked.headers["Access-Control-Allow-Methods"]
        assert "Authorization" in asked.headers["Access-Control-Allow-Headers"]
        assert "If-Match" in asked.headers["Access-Control-Allow-Headers"]
        for path, status in (("/v1/messages", 200), ("/v1/messages/none", 404), ("/nowhere", 404)):
            answer = await door.ask("GET", path, headers={"Origin": PAGE})
            assert answer.status == status
            assert answer.headers["Access-Control-Allow-Origin"] == PAGE
            assert "ETag" in answer.headers["Access-Control-Expose-Headers"]
            assert "Access-Control-Allow-Credentials" not in answer.headers
        refused = await door.ask("GET", "/v1/messages", None, headers={"Origin": PAGE})
        assert (refused.status, refused.headers["Access-Control-Allow-Origin"]) == (401, PAGE)


async def test_another_origin_may_not_and_caches_are_told() -> None:
    async with open_door(lambda services: replace(services, cors_origins=frozenset({PAGE}))) as door:
        for origin in ("https://evil.example", "null", PAGE + ".evil.example", PAGE.upper()):
            asked = await _preflight(door, {**ASK, "Origin": origin})
            answer = await door.ask("GET", "/v1/messages", headers={"Origin": origin})
            assert _cors(asked) == _cors(answer) == {}
        answer = await door.ask("GET", "/v1/messages")
        assert "Origin" in answer.headers["Vary"]


async def test_any_origin() -> None:
    async with open_door(lambda services: replace(services, cors_origins=frozenset({"*"}))) as door:
        answer = await door.ask("GET", "/v1/messages", headers={"Origin": PAGE})
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in answer.headers
        assert (await _preflight(door, ASK)).status == 204
        assert (await _preflight(door, {"Origin": PAGE})).status == 405  # no preflight
