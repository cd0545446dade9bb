"""Writing header fields: folding, encoded words (RFC 2047), display names (RFC 5322 §3.2.3), file names (RFC 2231).

Ours, because the email package folds encoded words into other recipients (cpython issue 121284) and lets encoded
line ends through (CVE-2024-6923). Every field made here is one logical line: what would break out of it is a ValueError.
"""

from __future__ import annotations

import re
from base64 import b64encode
from binascii import Error as BadBase64
from binascii import a2b_base64, a2b_qp
from collections.abc import Sequence
from urllib.parse import quote

from relay.model.content import Mailbox

FOLD = 76
"""Characters of a line before it is folded (RFC 5322 §2.1.1 advises 78, RFC 2047 §2 asks for 76)."""
MAX_LINE = 990
"""Of a line that cannot be folded: 998 is the limit of RFC 5322 §2.1.1."""

HEADER_NAME = re.compile(r"[A-Za-z0-9-]{1,64}")
"""Narrower than RFC 5322 §3.6.8 on purpose: nothing in use is outside it."""
_BREAKING = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_ENCODED_WORD = re.compile(r"=\?[^?\s]{1,80}\?([bBqQ])\?([^?\s]*)\?=")
_SPECIAL = re.compile(r'(["\\])')
_WORD_OCTETS = 45
"""Octets in one encoded word: 60 characters of base64 and 12 around them stay under 75 (RFC 2047 §2)."""


def check_value(value: str) -> str:
    """A header field's value as it is, or ValueError where it holds a control character, plain or in an encoded word."""
    if _BREAKING.search(value):
        raise ValueError("holds a control character or line end")
    if "=?" in value:
        for word in _ENCODED_WORD.finditer(value):
            if _BREAKING.search(_decode(word[1], word[2])):
                raise ValueError("holds a control character or line end in an encoded word")
    return value


def _decode(encoding: str, text: str) -> str:
    try:
        octets = text.encode("ascii")
        return (a2b_base64(octets + b"==") if encoding in "bB" else a2b_qp(octets, header=True)).decode("latin-1")
    except (UnicodeEncodeError, BadBase64):
        return ""  # no reader will decode it either


def unstructured(name: str, text: str) -> str:
    """A field of plain text such as Subject: the reader sees exactly `text`, blanks at its ends aside."""
    text = _spaced(check_value(text))
    if text.isascii() and "=?" not in text:
        line = f"{name}: {text}"
        if len(line) <= FOLD:
            return line + "\r\n"
        if "  " not in text and max(map(len, text.split(" "))) < FOLD:
            return _fold(name, text.split(" "))
    return _fold(name, encoded_words(text))


def as_given(name: str, value: str) -> str:
    """A field whose syntax is its author's (List-Unsubscribe and the like): folded at blanks, encoded only if it must."""
    value = _spaced(check_value(value))
    words = value.split(" ")
    if not value.isascii() or max(map(len, words)) > MAX_LINE:
        return _fold(name, encoded_words(value))
    return _fold(name, words)


def _spaced(text: str) -> str:
    if "\t" in text:
        text = text.replace("\t", " ")
    return text.strip(" ")


def address_list(name: str, mailboxes: Sequence[Mailbox]) -> str:
    """From, To, Cc, Reply-To: each mailbox with its name, folded between mailboxes and inside long names."""
    if len(mailboxes) == 1 and not mailboxes[0].name:  # an address by itself fits beside any name
        return f"{name}: {mailboxes[0].address}\r\n"
    words: list[str] = []
    for mailbox in mailboxes:
        if words:
            words[-1] += ","
        if mailbox.name:
            words += _phrase(mailbox.name)
            words.append(f"<{mailbox.address}>")
        else:
            words.append(mailbox.address)
    return _fold(name, words)


def parameter(name: str, value: str) -> list[str]:
    """A Content-* parameter: quoted where it is short ASCII, else RFC 2231, in sections where it is long."""
    if _BREAKING.search(value):
        raise ValueError("holds a control character or line end")
    if value.isascii() and len(name) + len(value) < FOLD - 6 and "=?" not in value:
        return [f"{name}={_quoted(value)}"]
    sections: list[str] = [""]
    for character in value:
        escaped = quote(character, safe="")
        if len(sections[-1]) + len(escaped) > 50:
            sections.append("")
        sections[-1] += escaped
    if len(sections) == 1:
        return [f"{name}*=utf-8''{sections[0]}"]
    sections[0] = f"utf-8''{sections[0]}"
    return [f"{name}*{number}*={section}" for number, section in enumerate(sections)]


def encoded_words(text: str) -> list[str]:
    """The text in encoded words of whole characters; blanks between them are not shown to the reader."""
    octets = text.encode("utf-8")
    words: list[str] = []
    start = 0
    while start < len(octets):
        end = start + _WORD_OCTETS
        while octets[end : end + 1] and octets[end] & 0xC0 == 0x80:  # in the middle of a character
            end -= 1
        words.append(_encoded_word(octets[start:end]))
        start = end
    return words


def _encoded_word(octets: bytes) -> str:
    return f"=?utf-8?b?{b64encode(octets).decode('ascii')}?="


def _phrase(name: str) -> list[str]:
    if _BREAKING.search(name) or "\t" in name:
        raise ValueError("name holds a control character")
    if not name.isascii() or "=?" in name or len(name) > FOLD - 4:
        return encoded_words(name)
    if _ATOMS.fullmatch(name):
        return name.split(" ")
    return [_quoted(name)]


def _quoted(text: str) -> str:
    """A quoted-string (RFC 5322 §3.2.4)."""
    escaped = _SPECIAL.sub(r"\\\1", text)
    return f'"{escaped}"'


def _fold(name: str, words: list[str]) -> str:
    """One field, folded before a word that would not fit. A line is never of blanks alone: empty words join the next."""
    if words[-1]:
        line = f"{name}: {' '.join(words)}"
        if len(line) <= FOLD:
            return line + "\r\n"
    line = f"{name}:"
    room = MAX_LINE  # the first word stays beside the name wherever the hard limit allows it
    lines: list[str] = []
    gap = ""
    for word in words:
        if not word:
            gap += " "
            continue
        if len(line) + len(gap) + len(word) + 1 > room:
            lines.append(line)
            line = ""
        line += f"{gap} {word}"
        gap = ""
        room = FOLD
    lines.append(line)
    return "\r\n".join(lines) + "\r\n"
