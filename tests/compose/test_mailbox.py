"""Reading mailboxes and lists of them, as people write them and as attackers do."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.compose.mailbox import MAX_LIST, parse_mailbox, parse_mailboxes


@pytest.mark.parametrize(
    ("text", "name", "address"),
    [
        ("a@b.example", "", "a@b.example"),
        (" a@b.example ", "", "a@b.example"),
        ("<a@b.example>", "", "a@b.example"),
        ("Ann <a@b.example>", "Ann", "a@b.example"),
        ("Ann   Example <a@b.example>", "Ann Example", "a@b.example"),
        ('"Example, Ann" <a@b.example>', "Example, Ann", "a@b.example"),
        (r'"Ann \"A\" \\ x"<a@b.example>', r'Ann "A" \ x', "a@b.example"),
        ("Jürgen Müller <j@b.example>", "Jürgen Müller", "j@b.example"),
        ("jürgen@müller.example", "", "jürgen@müller.example"),
        ("=?utf-8?q?a=2C_evil=40x?= <b@c.example>", "=?utf-8?q?a=2C_evil=40x?=", "b@c.example"),
        ("O'Neil (Sales) <o@b.example>", "O'Neil (Sales)", "o@b.example"),
    ],
)
def test_one_mailbox(text: str, name: str, address: str) -> None:
    assert parse_mailbox(text) == parse_mailboxes(text)[0]
    assert (parse_mailbox(text).name, parse_mailbox(text).address) == (name, address)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Ann",
        "a@b.example, c@d.example",
        "a@b.example c@d.example",
        "<a@b.example> <c@d.example>",
        "Ann <a@b.example",
        "Ann a@b.example>",
        '"Ann <a@b.example>',
        "<>",
        "<a@b.example>x",
        "a@b.example (comment)",
        "<@relay.example:a@b.example>",
        "group: a@b.example;",
        "a@b.example\r\nBcc: x@y.example",
        "Ann\x00 <a@b.example>",
        "Ann\u2028 <a@b.example>",
        '"a b"@c.example',
        "a\t@b.example",
        "<a@b.example\n>",
        "x" * 600 + " <a@b.example>",
    ],
)
def test_what_is_no_mailbox(text: str) -> None:
    with pytest.raises(ValueError):
        parse_mailbox(text)


def test_a_list_with_folded_lines() -> None:
    found = parse_mailboxes('"B, A" <a@b.example>,\r\n\tc@d.example,\r\n Eve <e@f.example>')
    assert [one.address for one in found] == ["a@b.example", "c@d.example", "e@f.example"]


@pytest.mark.parametrize("text", ["a@b.example,", ",a@b.example", "a@b.example,,c@d.example", ","])
def test_empty_elements_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="missing"):
        parse_mailboxes(text)


@pytest.mark.parametrize("piece", ['"', "<", '"\\', "a ", ", ", '""', "<>", "a@b.example,"])
def test_hostile_lists_cost_little(piece: str) -> None:
    text = (piece * MAX_LIST)[:MAX_LIST]
    started = time.process_time()
    with pytest.raises(ValueError):
        parse_mailboxes(text + ",")
    with pytest.raises(ValueError):
        parse_mailboxes(text)
    assert time.process_time() - started < 1


@given(st.text(max_size=60))
def test_what_is_read_is_an_address_that_stands_in_the_text(text: str) -> None:
    try:
        found = parse_mailboxes(text)
    except ValueError:
        return
    for mailbox in found:
        assert mailbox.address in text
        assert "\n" not in mailbox.name
