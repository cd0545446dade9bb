"""The one reader of addresses: what passes goes to the wire as it is, so what is doubtful does not pass."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.model.address import MAX_ADDRESS, MAX_LOCAL_PART, domain_of, parse_address

GOOD = [
    "a@b",
    "anna@example.com",
    "anna.b+tag@sub.example.com",
    "!#$%&'*+/=?^_`{|}~-@example.com",
    "x@xn--bcher-kva.example",
    "a@[127.0.0.1]",
    "a@[IPv6:2001:db8::1]",
    "a" * MAX_LOCAL_PART + "@example.com",
    "a@" + ".".join(["b" * 63] * 3) + "." + "c" * 60,
]
GOOD_UTF8 = ["ännchen@example.com", "a@bücher.example", "用户@例子.中国"]
BAD = [
    "",
    "@",
    "anna",
    "anna@",
    "@example.com",
    "a@b@c",
    ".a@example.com",
    "a.@example.com",
    "a..b@example.com",
    "a b@example.com",
    '"a b"@example.com',
    "a@example..com",
    "a@.example.com",
    "a@example.com.",
    "a@-example.com",
    "a@example-.com",
    "a@exa_mple.com",
    "a@" + "b" * 64 + ".com",
    "@relay.example:a@example.com",
    "a%b@c.example\r\nRCPT TO:<x@y.example>",
    "a@example.com\n",
    "a\x00@example.com",
    "a\x7f@example.com",
    "a@[127.0.0.1",
    "a@[tag:1]",
    "<a@example.com>",
    "a" * (MAX_LOCAL_PART + 1) + "@example.com",
    "a@" + ".".join(["b" * 63] * 4),
    "a@exam\tple.com",
]
BAD_UTF8 = [
    "a\u2028@example.com",
    "a\u00a0@example.com",
    "a\u0085@example.com",
    "a\u202e@example.com",
    "a\u200b@example.com",
    "a\ufeff@example.com",
    "a\ud800@example.com",
    "ä" * 33 + "@example.com",  # 66 octets
    "a@[١.٢.٣.٤]",
]


@pytest.mark.parametrize("text", GOOD)
def test_good_ones_come_out_unchanged(text: str) -> None:
    assert parse_address(text) == text
    assert parse_address(text, utf8=True) == text


@pytest.mark.parametrize("text", GOOD_UTF8)
def test_non_ascii_only_where_it_was_asked_for(text: str) -> None:
    assert parse_address(text, utf8=True) == text
    with pytest.raises(ValueError, match="SMTPUTF8"):
        parse_address(text)


@pytest.mark.parametrize("text", BAD + BAD_UTF8)
def test_bad_ones_do_not_pass(text: str) -> None:
    for utf8 in (False, True):
        with pytest.raises(ValueError, match=re.compile("address|local-part|domain")):
            parse_address(text, utf8=utf8)


@given(
    st.text(st.characters(codec=None, exclude_categories=()), max_size=40)
    | st.text('ab@.<>"\\ \r\n[]:,;é', max_size=12)
)
def test_whatever_passes_is_safe_on_the_wire(text: str) -> None:
    try:
        passed = parse_address(text, utf8=True)
    except ValueError:
        return
    assert passed == text
    assert len(passed.encode()) <= MAX_ADDRESS
    assert passed.count("@") == 1
    assert not re.search(r'[\s\x00-\x20\x7f-\x9f<>"\\(),;]', passed)


@pytest.mark.parametrize(
    ("address", "domain"), [("", ""), ("a@Example.COM", "example.com"), ("a@[IPv6:::1]", "[ipv6:::1]")]
)
def test_domain_of(address: str, domain: str) -> None:
    assert domain_of(address) == domain
