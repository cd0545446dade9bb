"""Reading mailboxes as people write them: `a@b.example`, `Name <a@b.example>`, lists of them (RFC 5322 §3.4).

One linear scanner of ours: the email package's parsers have rewritten addresses (CVE-2019-16056, CVE-2023-27043) and cost
seconds on hostile input. Comments, groups and routes are refused, since they only ever hide where mail goes.
"""

from __future__ import annotations

import re
from functools import lru_cache

from relay.model.address import MAX_ADDRESS, parse_address
from relay.model.content import Mailbox

MAX_NAME = 500
MAX_LIST = 256 * 1024
"""Characters of an address list that are looked at."""

_TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)"|<([^<>"]*)>|(,)|([^\s"<>,]+)')
_ESCAPED = re.compile(r"\\(.)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def check_name(name: str) -> str:
    """A display name as plain text, its blanks at the ends taken off; ValueError where it cannot stand in a header."""
    name = name.strip()
    if len(name) > MAX_NAME:
        raise ValueError(f"name is longer than {MAX_NAME} characters")
    if _CONTROL.search(name):
        raise ValueError("name holds a control character")
    return name


def parse_mailbox(text: str) -> Mailbox:
    """One mailbox; ValueError says what is wrong with it."""
    return _remembered(text) if len(text) <= MAX_ADDRESS else _parse_one(text)


def _parse_one(text: str) -> Mailbox:
    if "<" not in text and '"' not in text:
        return Mailbox(parse_address(text.strip(" "), utf8=True))
    found = parse_mailboxes(text)
    if len(found) != 1:
        raise ValueError("holds more than one address")
    return found[0]


_remembered = lru_cache(maxsize=4096)(_parse_one)  # the same authors write again and again


def parse_mailboxes(text: str) -> tuple[Mailbox, ...]:
    """A list parted by commas, at least one; folding blanks are allowed, empty elements are not."""
    if len(text) > MAX_LIST:
        raise ValueError(f"address list is longer than {MAX_LIST} characters")
    text = text.replace("\r\n ", " ").replace("\r\n\t", " ").replace("\t", " ")
    if _CONTROL.search(text):
        raise ValueError("address holds a control character")
    found: list[Mailbox] = []
    words: list[str] = []
    address: str | None = None
    position = 0
    for token in _TOKEN.finditer(text):
        if text[position : token.start()].strip():
            break
        position = token.end()
        quoted, angle, comma, word = token.groups()
        if comma:
            found.append(_mailbox(words, address))
            words, address = [], None
        elif address is not None:
            raise ValueError("text after an address: a comma is missing")
        elif angle is not None:
            address = angle
        else:
            words.append(word if word is not None else _ESCAPED.sub(r"\1", quoted))
    if text[position:].strip():
        raise ValueError("unbalanced quote or angle bracket")
    found.append(_mailbox(words, address))
    return tuple(found)


def _mailbox(words: list[str], address: str | None) -> Mailbox:
    if address is not None:
        return Mailbox(parse_address(address.strip(" "), utf8=True), check_name(" ".join(words)))
    if len(words) > 1:
        raise ValueError("an address with a name is written Name <address>")
    if not words:
        raise ValueError("an address is missing")
    return Mailbox(parse_address(words[0], utf8=True))
