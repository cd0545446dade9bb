"""Handing in by JSON: what intake is given, what the client is told."""

from __future__ import annotations

import asyncio
import base64
import email
import email.policy
from email.message import EmailMessage
from typing import Any

import pytest

from relay.clock import HOUR, MINUTE
from relay.errors import Refusal, Rejected, StoreUnavailable
from relay.model.message import Priority, Source
from tests.sidecar_api.conftest import Door
from tests.sidecar_api.memory import NOW

MESSAGE = {"from": "Ann <ann@a.example>", "to": ["bob@b.example"], "subject": "Hello", "text": "Hi Bob\n"}


def parsed(content: bytes) -> EmailMessage:
    return email.message_from_bytes(content, policy=email.policy.default)


async def test_answers_202_with_the_recipients_after_the_commit(door: Door) -> None:
    answer = await door.ask("POST", "/v1/messages", json={**MESSAGE, "cc": "Carl <carl@c.example>", "client_id": "c-1"})
    assert answer.status == 202
    assert answer.json == {
        "id": "q000001",
        "client_id": "c-1",
        "state": "open",
        "recipients": [
            {"address": "bob@b.example", "state": "queued"},
            {"address": "carl@c.example", "state": "queued"},
        ],
    }
    assert answer.headers["Location"] == "/v1/messages/q000001"
    assert answer.headers["Content-Type"] == "application/json"


async def test_intake_is_given_envelope_controls_and_a_finished_message(door: Door) -> None:
    answer = await door.ask(
        "POST",
        "/v1/messages",
        json={
            **MESSAGE,
            "bcc": ["hidden@b.example", "bob@b.example"],
            "reply_to": {"address": "desk@a.example", "name": "Desk, The"},
            "sender": "bounce@a.example",
            "html": "<p>Hi <img src='cid:logo'></p>",
            "headers": {"X-Campaign": "spring", "X-Many": ["1", "2"]},
            "attachments": [
                {"filename": "Größe.txt", "content": base64.b64encode(b"abc").decode(), "content_type": "text/plain"},
                {"filename": "l.png", "content": "AAEC", "content_type": "image/png", "content_id": "logo"},
            ],
            "priority": "high",
            "batch": "spring-1",
            "send_at": "+15m",
            "expires_at": "2026-01-01T02:00:00+01:00",
            "account": "main",
            "tags": ["a", "b"],
            "metadata": {"k": [1, None]},
        },
    )
    assert answer.status == 202, answer.body
    submission = door.intake.submissions[0]
    assert submission.source is Source.REST
    assert submission.principal.tenant == "a"
    assert submission.principal.name == "tok-a"
    assert submission.trace.protocol == "HTTP"
    assert submission.trace.peer == "127.0.0.1"
    assert submission.envelope.sender == "bounce@a.example"
    assert submission.envelope.recipients == ("bob@b.example", "hidden@b.example")
    controls = submission.controls
    assert (controls.priority, controls.batch, controls.account) == (Priority.HIGH, "spring-1", "main")
    assert (controls.not_before, controls.expires_at) == (NOW + 15 * MINUTE, NOW + HOUR)
    assert (controls.tags, controls.metadata) == (("a", "b"), '{"k":[1,null]}')
    message = parsed(door.intake.content())
    assert "hidden" not in door.intake.content().decode()
    assert message["Reply-To"] == '"Desk, The" <desk@a.example>'
    assert message.get_all("X-Many") == ["1", "2"]
    assert [part.get_content_type() for part in message.walk()] == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "multipart/related",
        "text/html",
        "image/png",
        "text/plain",
    ]
    assert [part.get_filename() for part in message.iter_attachments()] == ["Größe.txt"]


@pytest.mark.parametrize(
    ("change", "paths"),
    [
        ({"from": "nobody"}, {"/from"}),
        ({"from": "a@b.example\r\nBcc: x@y.example"}, {"/from"}),
        ({"to": ["ok@b.example", "bad", "worse@"]}, {"/to/1", "/to/2"}),
        ({"to": []}, {"/to"}),
        ({"text": None}, {"/html"}),
        ({"subject": "a\nb"}, {"/subject"}),
        ({"subject": "=?utf-8?q?=0A?="}, {"/subject"}),
        ({"headers": {"X-A": "a\r\nBcc: x"}}, {"/headers/X-A/0"}),
        ({"headers": {"X-A": "=?utf-8?Q?=0D=0ABcc:_x?="}}, {"/headers/X-A/0"}),
        ({"headers": {"X A": "v"}}, {"/headers/X A"}),
        ({"headers": {"Bcc": "v", "content-type": "v", "X-Stagepost-Batch": "v"}}, None),
        ({"priority": 4}, {"/priority"}),
        ({"priority": True}, {"/priority"}),
        ({"batch": "a b"}, {"/batch"}),
        ({"send_at": "tomorrow"}, {"/send_at"}),
        ({"send_at": "2026-01-01T00:00:00"}, {"/send_at"}),
        ({"metadata": [1]}, {"/metadata"}),
        ({"metadata": {"k": "x" * 5000}}, {"/metadata"}),
        ({"metadata": {"k": 10**30}}, {"/metadata"}),
        ({"tags": ["a b"]}, {"/tags"}),
        ({"client_id": ""}, {"/client_id"}),
        ({"attachments": [{"filename": "a", "content": "!!"}]}, {"/attachments/0/content"}),
        ({"attachments": [{"filename": "../a", "content": ""}]}, {"/attachments/0/filename"}),
        ({"attachments": [{"filename": "a\r\n", "content": "", "content_type": "x"}]}, None),
        ({"unknown": 1, "from": "x", "to": "y", "priority": "z"}, {"/unknown", "/from", "/to/0", "/priority"}),
    ],
)
async def test_names_every_fault_by_its_path(door: Door, change: dict[str, Any], paths: set[str] | None) -> None:
    answer = await door.ask("POST", "/v1/messages", json={**MESSAGE, **change})
    assert answer.status == 422, answer.body
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json["code"] == "invalid"
    if paths is not None:
        assert answer.paths == paths
    assert not door.intake.submissions


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b'{"a":' * 5_000,
        b'{"priority":' + b"1" * 500_000 + b"}",
        b'{"text":"\xff"}',
        b'{"text":"\\ud800"}',
        b'{"from":"a@b.example","to":"c@d.example","text":"a\\u0000b"}',
        b"\x00",
    ],
)
async def test_what_is_not_json_is_400(door: Door, body: bytes) -> None:
    answer = await door.ask("POST", "/v1/messages", json=body)
    assert (answer.status, answer.json["code"]) == (400, "malformed_json")
    answer = await door.ask("POST", "/v1/messages/batch", json=body)
    assert answer.status == 400


async def test_a_backslash_before_u0000_is_no_nul(door: Door) -> None:
    body = b'{"from":"a@b.example","to":"c@d.example","text":"a\\\\u0000b"}'
    assert (await door.ask("POST", "/v1/messages", json=body)).status == 202


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1"]
)
async def test_other_media_types_are_415(door: Door, content_type: str) -> None:
    answer = await door.ask("POST", "/v1/messages", json=MESSAGE, headers={"Content-Type": content_type})
    assert (answer.status, answer.json["code"]) == (415, "unsupported_media_type")


async def test_too_large_is_413_declared_or_chunked(door: Door) -> None:
    large = b'{"text":"' + b"x" * 2_000_001 + b'"}'

    async def chunks() -> Any:
        for start in range(0, len(large), 65536):
            yield large[start : start + 65536]

    for data in (large, chunks()):
        answer = await door.ask("POST", "/v1/messages", data=data, headers={"Content-Type": "application/json"})
        assert (answer.status, answer.json["code"]) == (413, "too_large")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Rejected(Refusal.QUEUE_FULL), 503, "queue_full"),
        (Rejected(Refusal.SHUTTING_DOWN), 503, "shutting_down"),
        (StoreUnavailable("no"), 503, "store_down"),
        (Rejected(Refusal.DUPLICATE_CLIENT_ID, "c-1", path="client_id"), 409, "duplicate_client_id"),
        (Rejected(Refusal.NO_ACCOUNT, "x", path="account"), 422, "no_account"),
        (Rejected(Refusal.TOO_BIG, "10"), 413, "too_big"),
        (Rejected(Refusal.SENDER_NOT_ALLOWED), 403, "sender_not_allowed"),
    ],
)
async def test_a_refusal_is_a_problem(door: Door, error: Rejected, status: int, code: str) -> None:
    door.intake.refuse = error
    answer = await door.ask("POST", "/v1/messages", json=MESSAGE)
    assert (answer.status, answer.json["code"]) == (status, code)
    assert ("Retry-After" in answer.headers) == (status == 503)
    if status == 422:
        assert answer.paths == {"/account"}


async def test_the_unexpected_is_500_without_detail(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    door.intake.break_with = RuntimeError("postgres://user:S3cret@db")
    answer = await door.ask("POST", "/v1/messages", json=MESSAGE, headers={"X-Request-ID": "req-7"})
    assert answer.status == 500
    assert b"S3cret" not in answer.body
    assert answer.json["request_id"] == "req-7"
    assert "request req-7 failed unexpectedly" in caplog.text


async def test_an_idempotency_key_replays(door: Door) -> None:
    key = {"Idempotency-Key": "k1"}
    first = await door.ask("POST", "/v1/messages", json=MESSAGE, headers=key)
    again = await door.ask("POST", "/v1/messages", json=MESSAGE, headers=key)
    other = await door.ask("POST", "/v1/messages", json={**MESSAGE, "text": "other"}, headers=key)
    assert (first.status, again.status, other.status) == (202, 202, 422)
    assert first.json == again.json
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert other.json["code"] == "idempotency_mismatch"
    assert len(door.intake.submissions) == 1
    bad = await door.ask("POST", "/v1/messages", json=MESSAGE, headers={"Idempotency-Key": "x" * 256})
    assert bad.paths == {"Idempotency-Key"}


async def test_an_admin_sends_for_the_tenant_it_names(door: Door) -> None:
    for query, unix, tenant in (("", False, "default"), ("?tenant=b", False, "b"), ("?tenant=b", True, "b")):
        answer = await door.ask("POST", f"/v1/messages{query}", "admin", json=MESSAGE, unix=unix)
        assert answer.status == 202
        assert door.intake.submissions[-1].principal.tenant == tenant
    missing = await door.ask("POST", "/v1/messages?tenant=nobody", "admin", json=MESSAGE)
    foreign = await door.ask("POST", "/v1/messages?tenant=b", "a-all", json=MESSAGE)
    assert missing.status == foreign.status == 404
    assert missing.json["detail"].replace("nobody", "b") == foreign.json["detail"]


async def test_a_batch_accepts_and_refuses_each_by_itself(door: Door) -> None:
    messages = [MESSAGE, {**MESSAGE, "to": "nobody"}, {**MESSAGE, "batch": "own", "client_id": "c"}, 7]
    answer = await door.ask(
        "POST", "/v1/messages/batch", json={"messages": messages, "defaults": {"batch": "all", "priority": 0}}
    )
    assert answer.status == 207
    items = answer.json["items"]
    assert [item["status"] for item in items] == [202, 422, 202, 422]
    assert answer.json["accepted"] == 2
    assert items[1]["problem"]["violations"][0]["path"] == "/to/0"
    assert [s.controls.batch for s in door.intake.submissions] == ["all", "own"]
    assert {s.controls.priority for s in door.intake.submissions} == {Priority.IMMEDIATE}


async def test_a_batch_accepts_at_the_same_time_and_replays_by_item(door: Door) -> None:
    body = {"messages": [{**MESSAGE, "subject": str(number)} for number in range(100)]}
    key = {"Idempotency-Key": "batch-1"}
    first = await door.ask("POST", "/v1/messages/batch", json=body, headers=key)
    again = await door.ask("POST", "/v1/messages/batch", json=body, headers=key)
    assert first.status == again.status == 202
    assert [i["id"] for i in first.json["items"]] == [i["id"] for i in again.json["items"]]
    assert all(item["replayed"] for item in again.json["items"])
    assert (first.headers.get("Idempotent-Replayed"), again.headers["Idempotent-Replayed"]) == (None, "true")
    assert len(door.intake.submissions) == 100


@pytest.mark.parametrize(
    ("body", "paths"),
    [
        ({"messages": []}, {"/messages"}),
        ({"messages": [MESSAGE] * 1001}, {"/messages"}),
        ({"messages": [MESSAGE], "default": {}}, {"/default"}),
        ({"messages": [MESSAGE], "defaults": {"client_id": "x", "priority": 9}}, None),
        ({}, {""}),
    ],
)
async def test_a_batch_that_is_none(door: Door, body: object, paths: set[str] | None) -> None:
    answer = await door.ask("POST", "/v1/messages/batch", json=body)
    assert answer.status == 422
    assert answer.paths == (paths or {"/defaults/client_id", "/defaults/priority"})


async def test_a_batch_refused_as_a_whole_is_503(door: Door) -> None:
    door.intake.refuse = StoreUnavailable("down")
    answer = await door.ask("POST", "/v1/messages/batch", json={"messages": [MESSAGE] * 3})
    assert answer.status == 503
    assert "Retry-After" in answer.headers


async def test_large_bodies_wait_their_turn(door: Door) -> None:
    large = {**MESSAGE, "text": "x" * 900_000}
    answers = await asyncio.gather(*(door.ask("POST", "/v1/messages", json=large) for _ in range(12)))
    assert {answer.status for answer in answers} == {202}
