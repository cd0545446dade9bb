"""The scan of the header section: what is found, what is taken out, and that the rest passes octet for octet."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import Refusal, Rejected
from relay.intake.controls import CONTROL_NAMES
from relay.intake.header import MAX_HEADER, HeaderSection, read_header, scan_header, split_fields

PREFIX = b"x-stagepost-"


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def read(*parts: bytes) -> tuple[bytes, bytes]:
    """The header section, and all of the body."""
    content = pieces(*parts)
    fields, rest = await read_header(content)
    return fields, rest + b"".join([piece async for piece in content])


def scan(fields: bytes) -> HeaderSection:
    return scan_header(fields, PREFIX, CONTROL_NAMES)


@pytest.mark.parametrize(
    ("content", "fields", "body"),
    [
        (b"A: 1\r\n\r\nbody\r\n", b"A: 1\r\n", b"body\r\n"),
        (b"A: 1\r\nB: 2\r\n\r\n", b"A: 1\r\nB: 2\r\n", b""),
        (b"A: 1\r\n\r\n\r\nbody", b"A: 1\r\n", b"\r\nbody"),
        (b"A: 1\r\n", b"A: 1\r\n", b""),
        (b"A: 1", b"A: 1\r\n", b""),
        (b"A: 1\r\n b\r\n\tc\r\n\r\nx", b"A: 1\r\n b\r\n\tc\r\n", b"x"),
        (b"A : 1\r\n\r\nx", b"A : 1\r\n", b"x"),
        (b"A:\r\n\r\nx", b"A:\r\n", b"x"),
        (b"", b"", b""),
        (b"\r\n", b"", b""),
        (b"\r\nbody\r\n\r\nmore", b"", b"body\r\n\r\nmore"),
        (b"just text\r\n\r\nmore", b"", b"just text\r\n\r\nmore"),
        (b" A: 1\r\n\r\nx", b"", b" A: 1\r\n\r\nx"),
        (b": 1\r\n\r\nx", b"", b": 1\r\n\r\nx"),
        (b"From a@b Thu Jan 1\r\nA: 1\r\n\r\nx", b"", b"From a@b Thu Jan 1\r\nA: 1\r\n\r\nx"),
        (b"\xc3\xa9: 1\r\n\r\nx", b"", b"\xc3\xa9: 1\r\n\r\nx"),
        (b"A: 1\r\nno field\r\n\r\nx", b"A: 1\r\nno field\r\n", b"x"),
        (b"x" * 5000 + b": 1\r\n\r\nx", b"", b"x" * 5000 + b": 1\r\n\r\nx"),
    ],
)
async def test_header_and_body_part_at_the_blank_line(content: bytes, fields: bytes, body: bytes) -> None:
    assert await read(content) == (fields, body)
    assert await read(*(content[i : i + 1] for i in range(len(content)))) == (fields, body)
    if len(content) < 200:
        for at in range(len(content) + 1):
            assert await read(content[:at], content[at:]) == (fields, body), at


@pytest.mark.parametrize("step", [1 << 10, 1 << 16, 1 << 20, MAX_HEADER, MAX_HEADER + 3, MAX_HEADER - 1])
@pytest.mark.parametrize(("over", "refused"), [(-2, False), (-1, False), (0, False), (1, True), (2, True)])
async def test_a_header_section_has_one_bound_however_it_comes(step: int, over: int, refused: bool) -> None:
    fields = b"A: " + b"x" * (MAX_HEADER - 3 + over)
    content = fields + b"\r\n\r\n" + b"y" * 100
    parts = [content[i : i + step] for i in range(0, len(content), step)]
    if refused:
        with pytest.raises(Rejected, match="header section is larger"):
            await read(*parts)
    else:
        assert await read(*parts) == (fields + b"\r\n", b"y" * 100)


async def test_a_header_that_never_ends_is_not_held_for_ever() -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += 10_000
            yield b"A: " + b"x" * 9_995 + b"\r\n"

    with pytest.raises(Rejected) as caught:
        await read_header(endless())
    assert caught.value.refusal is Refusal.BAD_CONTENT
    assert taken < MAX_HEADER + 20_000


@pytest.mark.parametrize(
    ("fields", "controls", "kept"),
    [
        (b"A: 1\r\n", {}, b"A: 1\r\n"),
        (b"", {}, b""),
        (b"X-Stagepost-Priority: 0\r\n", {"priority": "0"}, b""),
        (b"A: 1\r\nX-Stagepost-Priority: 0\r\nB: 2\r\n", {"priority": "0"}, b"A: 1\r\nB: 2\r\n"),
        (b"x-STAGEPOST-priority:0\r\nA: 1\r\n", {"priority": "0"}, b"A: 1\r\n"),
        (b"X-Stagepost-Priority : 0\r\nA: 1\r\n", {"priority": "0"}, b"A: 1\r\n"),
        (b'X-Stagepost-Metadata: {\r\n "a":\r\n\t1}\r\nA: 1\r\n', {"metadata": '{ "a":\t1}'}, b"A: 1\r\n"),
        (b"X-Stagepost-Batch:\r\n spring\r\n", {"batch": "spring"}, b""),
        (b"X-Stagepost-Send-At: +1h\r\nX-Stagepost-Expires: +2h\r\n", {"send-at": "+1h", "expires": "+2h"}, b""),
        (b"A: 1\r\nX-Stagepost-ID: 1\r\nX-Stagepost-Id: 2\r\n", {}, b"A: 1\r\n"),
        (b"X-Stagepost: 1\r\nX-Stagepost2-Priority: 1\r\n", {}, b"X-Stagepost: 1\r\nX-Stagepost2-Priority: 1\r\n"),
        (b"A: x\r\n X-Stagepost-Priority: 0\r\n", {}, b"A: x\r\n X-Stagepost-Priority: 0\r\n"),
        (b"A: X-Stagepost-Priority: 0\r\n", {}, b"A: X-Stagepost-Priority: 0\r\n"),
        (b"X-Stagepost-Client-Id: \xc3\xa9\r\n", {"client-id": "é"}, b""),
        (b"X-Stagepost-Client-Id: \xff\r\n", {"client-id": "\udcff"}, b""),
        (b"X-Stagepost-Tags:\r\n", {"tags": ""}, b""),
    ],
)
def test_controls_are_taken_out_and_nothing_else(fields: bytes, controls: dict[str, str], kept: bytes) -> None:
    found = scan(fields)
    assert found.controls == controls
    assert found.fields == kept


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        (
            b"X-Stagepost-Priority: 0\r\nx-stagepost-priority: 0\r\n",
            "x-stagepost-priority: stands there more than once",
        ),
        (b"X-Stagepost-Prioriti: 0\r\n", "X-Stagepost-Prioriti: no such"),
        (b"X-Stagepost-: 0\r\n", "X-Stagepost-: no such"),
        (b"X-Stagepost-Priority 0\r\n", "X-Stagepost-Priority 0: no such"),
        (b"X-Stagepost-\x1b[2J\x00: 0\r\n", r"X-Stagepost-\?\[2J\?: no such"),
        (b"X-Stagepost-\xc3\xa9: 0\r\n", "no such"),
        (b"X-Stagepost-" + b"y" * 200_000 + b": 0\r\n", "no such"),
    ],
)
def test_a_wrong_control_is_refused_by_name(fields: bytes, fault: str) -> None:
    with pytest.raises(Rejected, match=re.compile(fault, re.IGNORECASE)) as caught:
        scan(b"A: 1\r\n" + fields)
    assert caught.value.refusal is Refusal.BAD_CONTENT
    assert len(caught.value.path) < 100
    assert "\x1b" not in caught.value.path
    assert len(str(caught.value.reply)) < 200


@pytest.mark.parametrize(
    ("fields", "message_id", "has_date", "hops"),
    [
        (b"A: 1\r\n", None, False, 0),
        (b"Message-ID: <a@b>\r\n", "<a@b>", False, 0),
        (b"message-id:<a@b>  \r\n", "<a@b>", False, 0),
        (b"A: 1\r\nMESSAGE-ID :\t<a@b>\r\n", "<a@b>", False, 0),
        (b"Message-ID:\r\n <a@b>\r\n", "<a@b>", False, 0),
        (b"Message-ID:\r\n", None, False, 0),
        (b"Message-ID: \r\n", None, False, 0),
        (b"Message-ID: <a\x00\x1b@b>\r\n", "<a@b>", False, 0),
        (b"Message-ID: <\xc3\xa9@b>\r\n", "<é@b>", False, 0),
        (b"Message-ID: <\xff@b>\r\n", "<\ufffd@b>", False, 0),
        (b"X-Message-ID: <a@b>\r\nA: x\r\n message-id: <c@d>\r\n", None, False, 0),
        (b"Date: today\r\n", None, True, 0),
        (b"DATE : today\r\n", None, True, 0),
        (b"Resent-Date: today\r\n", None, False, 0),
        (b"Received: a\r\nreceived: b\r\nReceived : c\r\nX-Received: d\r\nA: 1\r\n received: e\r\n", None, False, 3),
    ],
)
def test_what_intake_needs_to_know(fields: bytes, message_id: str | None, has_date: bool, hops: int) -> None:
    found = scan(fields)
    assert (found.message_id, found.has_date, found.hops) == (message_id, has_date, hops)


def test_a_field_of_very_many_folds_costs_no_more_than_its_length() -> None:
    fields = b"X-Stagepost-Tags: a\r\n" + b" \r\n" * 80_000 + b"B: 2\r\n"
    assert scan(fields).fields == b"B: 2\r\n"  # a quadratic split would take ten seconds here


def _cut(content: bytes, at: Iterable[int]) -> list[bytes]:
    places = sorted({min(place, len(content)) for place in at} | {0, len(content)})
    return [content[a:b] for a, b in pairwise(places)]


FRAGMENTS = st.sampled_from(
    [
        b"A: 1",
        b"\r\n",
        b"\r\n\r\n",
        b" ",
        b"\t",
        b"\r",
        b"\n",
        b":",
        b"Received: x",
        b"Message-ID: <a@b>",
        b"Date:",
        b"\x00",
        b"\xff",
    ]
)
CONTROLS = st.sampled_from(
    [
        b"X-Stagepost-",
        b"X-Stagepost-Priority: 1\r\n",
        b"x-stagepost-id: 7\r\n",
        b"X-Stagepost-Tags: a\r\n b\r\n",
        b"X-Stagepost-Nope: 1\r\n",
    ]
)


@given(
    st.lists(FRAGMENTS, max_size=14).map(b"".join) | st.binary(max_size=60), st.lists(st.integers(0, 80), max_size=5)
)
async def test_without_controls_the_octets_come_out_as_they_came(content: bytes, cuts: list[int]) -> None:
    fields, body = await read(*_cut(content, cuts))
    assert (fields, body) == await read(content)
    assert scan(fields).fields == fields
    assert b"".join(split_fields(fields)) == fields
    whole = fields + b"\r\n" + body
    added = {
        content,
        content + b"\r\n",
        content + b"\r\n\r\n",
        b"\r\n" + content,
    }  # the blank line, where it was missing
    assert whole in added


@given(st.lists(FRAGMENTS | CONTROLS, max_size=14).map(b"".join))
async def test_no_octets_raise_anything_but_rejected(content: bytes) -> None:
    fields, _ = await read(content)
    try:
        found = scan(fields)
    except Rejected:
        return
    assert not any(field.lower().startswith(PREFIX) for field in split_fields(found.fields))
    assert len(found.fields) <= len(fields)
