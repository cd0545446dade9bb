"""Handing in a finished message: line ends, envelope, streaming, limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest

from sidecar_api.client import ApiError
from tests.sidecar_api.conftest import Answer, Door
from tests.sidecar_api.whole import whole_door

RAW = b"From: Ann <ann@a.example>\r\nTo: bob@b.example\r\nSubject: Hi\r\n\r\nText\r\n"


async def send(door: Door, content: object, query: str = "", **headers: str) -> Answer:
    return await door.ask(
        "POST",
        f"/v1/messages/raw{query}",
        data=content,
        headers={"Content-Type": "message/rfc822", **{k.replace("_", "-"): v for k, v in headers.items()}},
    )


async def test_the_content_goes_in_as_it_is(door: Door) -> None:
    answer = await send(door, RAW, "?from=bounce@a.example&to=x@b.example&to=y@b.example&priority=low&tags=a,b")
    assert answer.status == 202
    assert [one["address"] for one in answer.json["recipients"]] == ["x@b.example", "y@b.example"]
    submission = door.intake.submissions[0]
    assert door.intake.content() == RAW
    assert submission.envelope.sender == "bounce@a.example"
    assert not submission.envelope.smtputf8
    assert submission.controls.tags == ("a", "b")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (b"From: a@a.example\nTo: b@b.example\n\nx\ny", b"From: a@a.example\r\nTo: b@b.example\r\n\r\nx\r\ny\r\n"),
        (b"From: a@a.example\rTo: b@b.example\r\rx", b"From: a@a.example\r\nTo: b@b.example\r\n\r\nx\r\n"),
        (RAW + b"mixed\nlines\r\rhere\r", RAW + b"mixed\r\nlines\r\n\r\nhere\r\n"),
        (b"From: a@a.example\r\nTo: b@b.example\r\n\r\n", b"From: a@a.example\r\nTo: b@b.example\r\n\r\n"),
    ],
)
async def test_line_ends_become_crlf_wherever_the_pieces_part(door: Door, given: bytes, kept: bytes) -> None:
    async def pieces(size: int) -> AsyncIterator[bytes]:
        for start in range(0, len(given), size):
            yield given[start : start + size]
            await asyncio.sleep(0)

    for size in (1, 2, 3, len(given)):
        answer = await send(door, pieces(size))
        assert answer.status == 202, answer.body
        assert door.intake.content() == kept


async def test_the_envelope_is_read_from_the_header_and_bcc_taken_out(door: Door) -> None:
    content = (
        b"Sender: list@a.example\nFrom: Ann <ann@a.example>\nTo: Bob <bob@b.example>,\n carl@c.example\n"
        b"bcc: hidden@d.example\nCc: undisclosed-recipients:;\nX: y\n\nBcc: in the text\n"
    )
    answer = await send(door, content)
    assert answer.status == 202, answer.body
    envelope = door.intake.submissions[0].envelope
    assert envelope.sender == "list@a.example"
    assert envelope.recipients == ("bob@b.example", "carl@c.example", "hidden@d.example")
    assert b"hidden" not in door.intake.content()
    assert door.intake.content().endswith(b"X: y\r\n\r\nBcc: in the text\r\n")


@pytest.mark.parametrize(
    ("content", "query", "path"),
    [
        (b"To: b@b.example\n\nx", "", "?from"),
        (b"From: a@a.example\n\nx", "", "?to"),
        (b"From: a@a.example\nTo: b@b.example, broken\n\nx", "", "To"),
        (b"From: a@a.example\nTo: b@b.example (Bob)\n\nx", "", "To"),
        (b"From: \xff@a.example\nTo: b@b.example\n\nx", "", "From"),
        (RAW, "?to=nobody", "?to"),
        (RAW, "?from=a@b&from=c@d", "?from"),
        (RAW, "?metadata=[1]", "?metadata"),
        (RAW, "?send_at=then", "?send_at"),
    ],
)
async def test_faults_are_named(door: Door, content: bytes, query: str, path: str) -> None:
    answer = await send(door, content, query)
    assert (answer.status, answer.paths) == (422, {path})
    assert not door.intake.submissions


async def test_null_sender_and_utf8_addresses(door: Door) -> None:
    answer = await send(door, RAW, "?from=&to=" + quote("jürgen@müller.example"))
    assert answer.status == 202
    envelope = door.intake.submissions[0].envelope
    assert (envelope.sender, envelope.smtputf8) == ("", True)


async def test_other_media_types_and_too_much(door: Door) -> None:
    wrong = await door.ask("POST", "/v1/messages/raw", data=RAW, headers={"Content-Type": "text/plain"})
    assert wrong.status == 415
    door.intake.max_size = 1000
    declared = await send(door, RAW + b"x" * 2000)
    assert (declared.status, declared.json["code"]) == (413, "too_big")

    async def pieces() -> AsyncIterator[bytes]:
        yield RAW
        for _ in range(100):
            yield b"x" * 1000

    chunked = await send(door, pieces())
    assert (chunked.status, chunked.json["code"]) == (413, "too_big")


async def test_a_client_that_vanishes_hands_nothing_in(door: Door) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    head = (
        "POST /v1/messages/raw HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a-all\r\nContent-Type: message/rfc822\r\n"
    )
    writer.write(head.encode() + b"Content-Length: 1000\r\nExpect: 100-continue\r\n\r\n")
    assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5) == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(RAW)
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await send(door, RAW)).status == 202
    assert len(door.intake.submissions) == 1


async def test_an_idempotency_key(door: Door) -> None:
    first = await send(door, RAW, Idempotency_Key="k")
    again = await send(door, RAW, Idempotency_Key="k")
    assert first.json == again.json
    assert again.headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize(
    ("query", "fields", "place"),
    [
        ("?account=nope", b"", "?account"),
        ("?expires_at=2020-01-01T00:00:00Z", b"", "?expires_at"),
        ("", b"X-Stagepost-Account: nope\n", "X-Stagepost-Account"),
        ("?account=nope", b"X-Stagepost-Account: nope\n", "?account"),
        ("", b"X-Stagepost-Nonsense: nope\n", "X-Stagepost-Nonsense"),
    ],
)
async def test_a_fault_is_shown_where_it_was_said(tmp_path: Path, query: str, fields: bytes, place: str) -> None:
    async with whole_door(tmp_path) as whole:
        with pytest.raises(ApiError) as caught:
            await whole.acme.request("POST", f"/v1/messages/raw{query}", body=fields + RAW)
        assert (caught.value.status, [one.path for one in caught.value.violations]) == (422, [place])
