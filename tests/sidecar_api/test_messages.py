"""Reading what was accepted, acting on it, and the answers that belong to no resource."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from pydantic import TypeAdapter

from relay.secrets import token_hash
from sidecar_api.problems import ProblemOut
from sidecar_api.schemas import instance, views
from sidecar_api.schemas.attempts import AttemptsOut
from sidecar_api.schemas.events import EventsOut
from tests.sidecar_api.conftest import TOKENS, Door

MESSAGE = {"from": "a@a.example", "to": "b@b.example", "text": "x" * 500}


def check(shape: type, value: Any) -> None:
    """Exactly the declared members."""
    TypeAdapter(shape).validate_python(value)


async def submit(door: Door, **more: Any) -> str:
    answer = await door.ask("POST", "/v1/messages", json={**MESSAGE, **more})
    return str(answer.json["id"])


async def test_a_message_with_its_recipients(door: Door) -> None:
    queue_id = await submit(door, send_at="2026-01-02T00:00:00Z", metadata={"a": 1}, priority=3, tags=["t"])
    answer = await door.ask("GET", f"/v1/messages/{queue_id}")
    check(views.MessageOut, answer.json)
    assert answer.json["send_at"] == "2026-01-02T00:00:00.000Z"
    assert (answer.json["priority"], answer.json["metadata"], answer.json["tags"]) == ("low", {"a": 1}, ["t"])
    assert answer.json["recipients"] == [
        {
            "address": "b@b.example",
            "state": "queued",
            "reply": None,
            "category": None,
            "attempts": 0,
            "next_attempt_at": None,
            "changed_at": None,
        }
    ]


async def test_events_attempts_and_content(door: Door) -> None:
    queue_id = await submit(door)
    events = (await door.ask("GET", f"/v1/messages/{queue_id}/events")).json
    check(EventsOut, events)
    assert events["items"][0]["kind"] == "accepted"
    attempts = (await door.ask("GET", f"/v1/messages/{queue_id}/attempts")).json
    check(AttemptsOut, attempts)
    assert attempts["items"][0]["outcomes"][0]["reply"] == {"code": 550, "enhanced": "5.1.1", "text": "no"}
    content = await door.ask("GET", f"/v1/messages/{queue_id}/content")
    assert content.headers["Content-Type"] == "message/rfc822"
    assert content.headers["X-Request-ID"]
    assert content.body == door.intake.content()
    del door.archive.contents[queue_id]
    assert (await door.ask("GET", f"/v1/messages/{queue_id}/content")).status == 404


async def test_cancel_and_retry(door: Door) -> None:
    queue_id = await submit(door)
    cancelled = await door.ask("POST", f"/v1/messages/{queue_id}/cancel")
    check(views.ActedOut, cancelled.json)
    assert cancelled.json["state"] == "cancelled"
    again = await door.ask("POST", f"/v1/messages/{queue_id}/cancel")
    assert (again.status, again.json["code"]) == (409, "conflict")
    assert (await door.ask("POST", f"/v1/messages/{queue_id}/retry")).json["state"] == "open"


async def test_pages_follow_the_cursor(door: Door) -> None:
    ids = [await submit(door) for _ in range(7)]
    seen: list[str] = []
    cursor, pages = "", 0
    while pages == 0 or cursor:
        page = (await door.ask("GET", f"/v1/messages?limit=3{cursor}")).json
        check(views.MessagesOut, page)
        seen += [item["id"] for item in page["items"]]
        cursor = f"&cursor={page['next_cursor']}" if page["next_cursor"] else ""
        pages += 1
    assert seen == ids[::-1]
    assert pages == 3


async def test_filters(door: Door) -> None:
    wanted = await submit(door, batch="b1", client_id="c1")
    await submit(door)
    for query in ("batch=b1", "client_id=c1", "batch=b1&state=open&state=sent"):
        found = (await door.ask("GET", f"/v1/messages?{query}")).json["items"]
        assert [item["id"] for item in found] == [wanted]
    assert (await door.ask("GET", "/v1/messages?state=sent")).json["items"] == []


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("limit=0", "?limit"),
        ("limit=101", "?limit"),
        ("limit=1_0", "?limit"),
        ("state=gone", "?state"),
        ("stat=open", "?stat"),
        ("batch=a&batch=b", "?batch"),
        ("tenant=a&tenant=a", "?tenant"),
        ("since=then", "?since"),
        ("recipient=nobody", "?recipient"),
        ("cursor=%00", "?cursor"),
    ],
)
async def test_a_wrong_query_is_422_by_name(door: Door, query: str, path: str) -> None:
    answer = await door.ask("GET", f"/v1/messages?{query}")
    assert answer.status == 422
    assert answer.paths == {path}


@pytest.mark.parametrize("message", ["missing", "%00", "..%2f..", "%ff", "x" * 65, "a%20b"])
async def test_odd_ids_are_not_found(door: Door, message: str) -> None:
    answer = await door.ask("GET", f"/v1/messages/{message}")
    assert answer.status == 404
    check(ProblemOut, answer.json)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "no_such_route"),
        ("PUT", "/v1/messages", 405, "method_not_allowed"),
        ("GET", "/v1/messages/x/nothing", 404, "no_such_route"),
    ],
)
async def test_problems_of_http_itself(door: Door, method: str, path: str, status: int, code: str) -> None:
    answer = await door.ask(method, path)
    assert (answer.status, answer.json["code"]) == (status, code)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json["request_id"] == answer.headers["X-Request-ID"]
    check(ProblemOut, answer.json)
    if status == 405:
        assert answer.headers["Allow"] == "GET,HEAD,POST"


@pytest.mark.parametrize(
    "octets",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/1.1\nHost: x\n\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nExpect: the-unexpected\r\nContent-Length: 5\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_a_problem_too(door: Door, octets: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    writer.write(octets)
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    assert b" 400 " in head.splitlines()[0] or b" 417 " in head.splitlines()[0]
    assert b"application/problem+json" in head
    writer.close()


async def test_request_ids_come_back(door: Door) -> None:
    given = await door.ask("GET", "/health/live", None, headers={"X-Request-ID": "abc-1.2"})
    assert given.headers["X-Request-ID"] == "abc-1.2"
    made = {(await door.ask("GET", "/health/live", None, headers={"X-Request-ID": "a b"})).headers["X-Request-ID"]}
    made.add((await door.ask("GET", "/health/live", None)).headers["X-Request-ID"])
    assert len(made) == 2


async def test_health_names_the_ill_parts(door: Door) -> None:
    check(instance.HealthOut, (await door.ask("GET", "/health/live", None)).json)
    assert (await door.ask("GET", "/health/ready", None)).status == 200
    door.ill["store"] = "does not answer"
    answer = await door.ask("GET", "/health/ready", None)
    assert answer.status == 503
    check(ProblemOut, answer.json)
    assert answer.json["parts"] == {"store": "does not answer"}


async def test_metrics_and_queue(door: Door) -> None:
    answer = await door.ask("GET", "/metrics", None)
    assert b"stagepost_test_total 1.0" in answer.body
    for header in ("x-forwarded-for", "x-real-ip", "Forwarded"):
        proxied = await door.ask("GET", "/metrics", None, headers={header: "203.0.113.9"})
        assert proxied.status == 401
        assert (await door.ask("GET", "/metrics", "a-read", headers={header: "203.0.113.9"})).status == 200
    queue = (await door.ask("GET", "/v1/queue", "admin")).json
    check(instance.QueuesOut, queue)
    assert queue["totals"]["leased"] == 1


async def test_nothing_that_is_shown_is_a_secret(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    body = {"username": "u2", "secret": "Canary-1"}
    assert (await door.ask("POST", "/v1/credentials", json=body)).json == {"username": "u2", "secret": None}
    account = {"id": "x", "host": "h.example", "user": "Canary-u", "password": "Canary-2"}
    made = await door.ask("POST", "/v1/accounts", json=account)
    assert made.json["has_password"] is True
    for path in ("/v1/credentials", "/v1/accounts", "/v1/accounts/x", "/v1/tokens"):
        answer = await door.ask("GET", path)
        assert b"Canary-1" not in answer.body
        assert b"Canary-2" not in answer.body
        assert not any(token_hash(secret).encode() in answer.body for secret in TOKENS)
    assert "Canary" not in caplog.text
    assert "a-all" not in caplog.text


def test_the_socket_is_its_owners_alone(door: Door) -> None:
    assert door.socket_path.stat().st_mode & 0o777 == 0o600
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(door.socket_path))
