"""The header section of a message, scanned as bytes.

No email package here: building its objects costs more than all the rest of accepting a message (250 µs against 3), and
hostile headers make it cost gigabytes. What is not ours to change passes untouched, octet for octet.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from relay.errors import Refusal, Rejected
from relay.model.quick import quick

MAX_HEADER = 256 * 1024
"""Octets of a header section that intake is ready to hold and scan."""

_END = b"\r\n\r\n"
_LOOK = 1000
"""Octets after which content that is not seen to begin with a field never will: a line has at most 998 (RFC 5322 §2.1.1)."""
_FIELD = re.compile(rb"[!-9;-~]{1,900}[ \t]{0,90}:")
_A_HOP, _A_DATE, _A_MESSAGE_ID = b"received", b"date", b"message-id"
_FIELD_START = re.compile(rb"(?<=\r\n)(?![ \t])")
_MESSAGE_ID = re.compile(rb"\nmessage-id[ \t]*:[ \t]*(?:\r\n[ \t]+)?([!-~\x80-\xff][^\r\n]{0,994})", re.IGNORECASE)
_UNPRINTABLE = bytes((*range(32), 127))
_SHOWN = bytes.maketrans(_UNPRINTABLE, b"?" * len(_UNPRINTABLE))
_NAME_SHOWN = 76


@quick
@dataclass(frozen=True, slots=True)
class HeaderSection:
    """What intake needs to know of it. `fields` ends with CRLF (or is empty) and lacks the blank line."""

    fields: bytes
    controls: Mapping[str, str]
    """Control header fields by lower-case name after the prefix, unfolded; already taken out of `fields`."""
    hops: int
    """How many Received fields it has."""
    message_id: str | None
    has_date: bool


async def read_header(content: AsyncIterator[bytes]) -> tuple[bytes, bytes]:
    """The header section with its last CRLF, and what was read beyond the blank line.

    Content that does not begin with a field is all body, as every MTA takes it.
    """
    held, start = b"", 0
    async for piece in content:
        held = held + piece if held else piece
        if (end := held.find(_END, start)) >= 0:
            break
        size = len(held)
        if size >= _LOOK and not _FIELD.match(held):
            return b"", held.removeprefix(b"\r\n")
        if size > MAX_HEADER + 3:  # an end not seen yet is at most three octets back
            raise _too_large()
        start = max(0, size - 3)
    else:
        end = len(held) - 2 if held.endswith(b"\r\n") else len(held)
    if not _FIELD.match(held):
        return b"", held.removeprefix(b"\r\n")
    if end > MAX_HEADER:
        raise _too_large()
    fields = held[: end + 2] if held[end : end + 2] == b"\r\n" else held[:end] + b"\r\n"
    return fields, held[end + 4 :]


def _too_large() -> Rejected:
    return Rejected(Refusal.BAD_CONTENT, f"header section is larger than {MAX_HEADER} octets")


def scan_header(fields: bytes, prefix: bytes, names: frozenset[str]) -> HeaderSection:
    """Look for what intake needs. `prefix` is the control prefix in lower case; `names` what may follow it.

    Raises Rejected for a control header field that is unknown or stands there twice.
    """
    wanted = _wanted(prefix)
    found = wanted.findall(b"\n" + fields.lower())
    controls: dict[str, str] = {}
    if prefix in found:
        fields = _take_controls(fields, prefix, names, controls)
        found = wanted.findall(b"\n" + fields.lower())
    message_id = _read_message_id(fields) if _A_MESSAGE_ID in found else None
    return HeaderSection(fields, controls, found.count(_A_HOP), message_id, _A_DATE in found)


@lru_cache(maxsize=8)
def _wanted(prefix: bytes) -> re.Pattern[bytes]:
    """The beginnings of what is looked for, of a control header field its prefix, behind the line end before each."""
    fields = b"|".join((_A_HOP, _A_DATE, _A_MESSAGE_ID))
    return re.compile(rb"\n(%b|(?:%b)(?=[ \t]*:))" % (re.escape(prefix), fields))


def _read_message_id(fields: bytes) -> str | None:
    """The first that is not empty."""
    found = _MESSAGE_ID.search(b"\n" + fields)
    return found[1].translate(None, _UNPRINTABLE).strip().decode("utf-8", "replace") if found else None


def _take_controls(fields: bytes, prefix: bytes, names: frozenset[str], controls: dict[str, str]) -> bytes:
    kept = []
    for field in split_fields(fields):
        if not field.lower().startswith(prefix):
            kept.append(field)
            continue
        raw_name, _, value = field.partition(b":")
        name = raw_name.strip().decode("latin-1")[len(prefix) :].lower()
        if name == "id":  # ours from an earlier hop
            continue
        title = raw_name.strip()[:_NAME_SHOWN].translate(_SHOWN).decode("ascii", "replace")
        if name not in names:
            raise Rejected(Refusal.BAD_CONTENT, f"{title}: no such control header field", path=title)
        if name in controls:
            raise Rejected(Refusal.BAD_CONTENT, f"{title}: stands there more than once", path=title)
        controls[name] = value.replace(b"\r\n", b"").decode("utf-8", "surrogateescape").strip()
    return b"".join(kept)


def split_fields(fields: bytes) -> list[bytes]:
    """The fields of a header section, each with its folded lines and the CRLF at its end."""
    return [field for field in _FIELD_START.split(fields) if field]
