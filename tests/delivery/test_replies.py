"""Replies as servers send them, and as they should not."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.delivery.replies import MAX_REPLY, BadReply, ReplyReader
from relay.model.reply import Reply


def _read(*pieces: bytes, owed: int = 9) -> list[Reply]:
    """All of them; raises what is wrong with the rest."""
    reader, replies = ReplyReader(), list[Reply]()
    reader.owed = owed
    for piece in pieces:
        said = reader.feed(piece)
        replies += said.replies
        assert said.texts == tuple(map(str, said.replies))
        if said.error is not None:
            raise said.error
    assert reader.owed == owed - len(replies)
    return replies


@pytest.mark.parametrize(
    ("wire", "replies"),
    [
        (b"250 2.1.0 Ok\r\n", [Reply(250, "2.1.0", "Ok")]),
        (b"250\r\n", [Reply(250, None, "")]),
        (b"250 ok\n", [Reply(250, None, "ok")]),
        (b"550-5.1.1 no such\r\n550 5.1.1 mailbox\r\n", [Reply(550, "5.1.1", "no such mailbox")]),
        (b"550-\r\n550 no\r\n", [Reply(550, None, "no")]),
        (b"250 a\r\n354 b\r\n", [Reply(250, None, "a"), Reply(354, None, "b")]),
        (b"250 \xff\x00x\r\n", [Reply(250, None, "\ufffd x")]),
        (b"250 " + b"x" * 5000 + b"\r\n", [Reply(250, None, "x" * 1000)]),
        (b"999 odd\r\n", [Reply(999, None, "odd")]),
        (b"250 half", []),
    ],
)
def test_replies(wire: bytes, replies: list[Reply]) -> None:
    assert _read(wire) == replies


@pytest.mark.parametrize(
    "wire",
    [
        b"hello\r\n", b"\r\n", b"25 ok\r\n", b"2500 ok\r\n", b"250ok\r\n", b" 250 ok\r\n", b"250 a\rb\r\n",
        b"250-a\r\n251 b\r\n", b"250-a\r\nhello\r\n", b"-50 ok\r\n", b"\xb2\xb5\xb0 ok\r\n",
        b"250 " + b"x" * MAX_REPLY + b"\r\n", b"x" * (MAX_REPLY + 1),
        b"250-" + b"x" * 100 + b"\r\n" + (b"250-" + b"x" * 100 + b"\r\n") * (MAX_REPLY // 100),
    ],
)  # fmt: skip
def test_no_replies(wire: bytes) -> None:
    with pytest.raises(BadReply):
        _read(wire)


@pytest.mark.parametrize("rest", [b"250 stale\r\n", b"2", b"garbage", b"\r\n"])
def test_more_than_owed(rest: bytes) -> None:
    reader = ReplyReader()
    reader.owed = 1
    said = reader.feed(b"354 go\r\n" + rest)

    assert said.replies == (Reply(354, None, "go"),)
    assert str(said.error) == "the server said more than it was asked"


def test_replies_before_garbage_are_kept() -> None:
    reader = ReplyReader()
    reader.owed = 3
    said = reader.feed(b"550 no\r\ngarbage\r\n")

    assert said.replies == (Reply(550, None, "no"),)
    assert str(said.error) == "not a reply: garbage\r"


@given(
    st.lists(st.sampled_from([b"250 ok\r\n", b"250-a\r\n250 b\r\n", b"550 5.1.1 no\r\n", b"354\r\n"]), max_size=8),
    st.lists(st.integers(0, 120), max_size=10),
)
def test_any_cut_gives_the_same(wire: list[bytes], cuts: list[int]) -> None:
    whole = b"".join(wire)
    edges = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    pieces = [whole[begin:end] for begin, end in itertools.pairwise(edges)]

    assert _read(*pieces, owed=len(wire)) == _read(whole, owed=len(wire))
    assert len(_read(whole, owed=len(wire))) == len(wire)


@given(st.binary(max_size=400))
def test_noise_is_replies_or_bad_reply(noise: bytes) -> None:
    try:
        replies = _read(noise)
    except BadReply:
        return
    assert all(0 <= reply.code <= 999 for reply in replies)
