"""Replies: read strictly from the wire, safe in every log."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import Refusal
from relay.model.reply import MAX_TEXT, Reply, read_reply


@pytest.mark.parametrize(
    ("code", "text", "reply"),
    [
        (250, "2.0.0 ok", Reply(250, "2.0.0", "ok")),
        (250, "ok", Reply(250, None, "ok")),
        (250, "", Reply(250, None, "")),
        (550, "5.1.1", Reply(550, "5.1.1", "")),
        (550, "5.1.1 no such\n5.1.1 mailbox", Reply(550, "5.1.1", "no such mailbox")),
        (550, "5.1.1 first\n5.7.1 second", Reply(550, "5.1.1", "first second")),
        (550, "see 5.1.1 below", Reply(550, None, "see 5.1.1 below")),
        (550, "5.1.1.1 not a code", Reply(550, None, "5.1.1.1 not a code")),
        (550, "6.1.1 not a class", Reply(550, None, "6.1.1 not a class")),
        (450, "4.2.2\tfull", Reply(450, "4.2.2", "full")),
        (250, "a\x1b[31m\x00\x07b", Reply(250, None, "a [31m b")),
        (250, "a\r\nb", Reply(250, None, "a b")),
        (250, "é ü", Reply(250, None, "é ü")),
        (250, "\x9b31m", Reply(250, None, "31m")),
        (250, "a\ud800b", Reply(250, None, "a b")),
    ],
)
def test_read_reply(code: int, text: str, reply: Reply) -> None:
    assert read_reply(code, text) == reply


@given(st.integers(200, 599), st.text(st.characters(codec=None, exclude_categories=())))
def test_a_reply_is_one_bounded_line_that_can_be_stored(code: int, text: str) -> None:
    reply = read_reply(code, text)
    assert len(reply.text) <= MAX_TEXT
    assert len(str(reply).splitlines()) == 1
    str(reply).encode()
    assert reply.is_positive + reply.is_transient + reply.is_permanent == (not 300 <= code <= 399)


@pytest.mark.parametrize("refusal", Refusal)
def test_every_refusal_has_a_reply_whose_class_fits_its_enhanced_code(refusal: Refusal) -> None:
    reply = refusal.reply("x")
    assert reply.enhanced is not None
    assert str(reply.code)[0] == reply.enhanced[0]
    assert "{}" not in reply.text
    assert 400 <= refusal.http_status <= 599


@pytest.mark.parametrize("detail", ["a\r\n250 2.0.0 queued", "\x1b[2J", "\x00", "é" * 900, "x" * 5000, "a\u2028b"])
def test_a_refusal_takes_only_what_fits_an_smtp_line_of_its_detail(detail: str) -> None:
    reply = Refusal.BAD_CONTENT.reply(detail)
    assert str(reply).isascii()
    assert str(reply).isprintable()
    assert len(str(reply)) <= 500
