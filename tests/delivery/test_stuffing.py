"""Dot-stuffing: whatever way the content is cut, the wire is the same."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.delivery.stuffing import DotStuffer, stuff_whole

CONTENT = st.lists(st.sampled_from([b"\r\n", b".", b"a", b"\r\n.", b"..", b".\r\n", b"xyz"]), max_size=40).map(b"".join)


def _reference(content: bytes) -> bytes:
    """RFC 5321 §4.5.2 read aloud, line by line."""
    lines = content.split(b"\r\n")
    ended = lines[-1] == b""
    stuffed = [b"." + line if line.startswith(b".") else line for line in (lines[:-1] if ended else lines)]
    return b"".join(line + b"\r\n" for line in stuffed) + b".\r\n"


@pytest.mark.parametrize(
    ("content", "wire"),
    [
        (b"", b".\r\n"),
        (b"a\r\n", b"a\r\n.\r\n"),
        (b"a", b"a\r\n.\r\n"),
        (b".\r\n", b"..\r\n.\r\n"),
        (b"..a\r\n.b\r\n", b"...a\r\n..b\r\n.\r\n"),
        (b"a.\r\n", b"a.\r\n.\r\n"),
    ],
)
def test_whole(content: bytes, wire: bytes) -> None:
    assert stuff_whole(content) == wire


@given(CONTENT, st.lists(st.integers(0, 120), max_size=12))
def test_any_cut_gives_the_same(content: bytes, cuts: list[int]) -> None:
    stuffer = DotStuffer()
    edges = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
    pieces = [stuffer.stuff(content[begin:end]) for begin, end in itertools.pairwise(edges)]

    assert b"".join([*pieces, stuffer.end()]) == _reference(content) == stuff_whole(content)


@given(CONTENT)
def test_octet_by_octet(content: bytes) -> None:
    stuffer = DotStuffer()
    pieces = [stuffer.stuff(content[at : at + 1]) for at in range(len(content))]

    assert b"".join([*pieces, stuffer.end()]) == _reference(content)
