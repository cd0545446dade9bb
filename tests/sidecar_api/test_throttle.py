"""How many requests a token may make."""

from __future__ import annotations

from dataclasses import replace

from relay.clock import MINUTE, SECOND
from sidecar_api.throttle import Throttle
from tests.sidecar_api.conftest import open_door

MESSAGE = {"from": "a@a.example", "to": "b@b.example", "text": "x"}


def test_at_most_so_many_in_any_minute() -> None:
    throttle = Throttle(3)
    taken = [throttle.take("t", now * SECOND)[0] for now in (0, 10, 20, 30, 59, 60, 61, 70, 80, 81)]
    assert taken == [True, True, True, False, False, True, False, True, True, False]


def test_what_is_left_and_when_there_is_more() -> None:
    throttle = Throttle(2)
    assert throttle.take("t", 0)[1].headers == {
        "RateLimit-Policy": '"requests";q=2;w=60',
        "RateLimit": '"requests";r=1;t=60',
    }
    assert throttle.take("t", 20 * SECOND)[1].headers["RateLimit"] == '"requests";r=0;t=40'
    granted, standing = throttle.take("t", 59 * SECOND + 1)
    assert not granted
    assert standing.headers["RateLimit"] == '"requests";r=0;t=1'
    assert throttle.take("t", 60 * SECOND)[0]


def test_each_has_its_own_and_who_is_silent_is_forgotten() -> None:
    throttle = Throttle(1)
    assert throttle.take("a", 0)[0]
    assert throttle.take("b", 0)[0]
    assert not throttle.take("a", 1)[0]
    assert throttle.take("c", 3 * MINUTE)[0]
    assert set(throttle._made) == {"c"}


async def test_a_token_above_its_limit_is_told_when_to_come_back() -> None:
    async with open_door(lambda services: replace(services, requests_per_minute=2)) as door:
        first = await door.ask("POST", "/v1/messages", json=MESSAGE)
        assert first.headers["RateLimit-Policy"] == '"requests";q=2;w=60'
        assert first.headers["RateLimit"].startswith('"requests";r=1;t=')
        broken = await door.ask("POST", "/v1/messages", json=b"{")
        assert (broken.status, broken.headers["RateLimit"][:14]) == (400, '"requests";r=0')
        refused = await door.ask("POST", "/v1/messages", json=MESSAGE)
        assert (refused.status, refused.json["code"]) == (429, "too_many_requests")
        assert 0 < int(refused.headers["Retry-After"]) <= 60
        assert refused.headers["RateLimit"].startswith('"requests";r=0;t=')
        assert len(door.intake.submissions) == 1
        assert (await door.ask("GET", "/v1/messages", "b-all")).status == 200
        assert "RateLimit" not in (await door.ask("GET", "/health/live", None)).headers
        for _ in range(3):
            assert (await door.ask("GET", "/v1/tenants", unix=True)).status == 200


async def test_without_a_limit_nothing_is_said_of_one() -> None:
    async with open_door() as door:
        assert "RateLimit" not in (await door.ask("GET", "/v1/messages")).headers
