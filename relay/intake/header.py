"""The header section of a message, scanned as bytes.

No email package here: building its objects costs more than all the rest of accepting a message (250 µs against 3), and
hostile headers make it cost gigabytes. What is not ours to change passes untouched, octet for octet.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from relay.errors import Refusal, Rejected

MAX_HEADER = 256 * 1024
"""Octets of a header section that intake is ready to hold and scan."""

_END = b"\r\n\r\n"
_FIELD = re.compile(rb"[!-9;-~]+[ \t]*:")
_MESSAGE_ID = re.compile(rb"\nmessage-id[ \t]*:[ \t]*(?:\r\n[ \t]+)?([^\r\n]{1,995})", re.IGNORECASE)


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
    held = b""
    async for piece in content:
        start = max(0, len(held) - 3)
        held = held + piece if held else piece
        if not _FIELD.match(held) and len(held) > 1000:
            return b"", held.removeprefix(b"\r\n")
        if (end := held.find(_END, start)) >= 0:
            break
        if len(held) > MAX_HEADER:
            raise Rejected(Refusal.BAD_CONTENT, f"header section is larger than {MAX_HEADER} octets")
    else:
        end = len(held) - 2 if held.endswith(b"\r\n") else len(held)
    if not _FIELD.match(held):
        return b"", held.removeprefix(b"\r\n")
    if end > MAX_HEADER:
        raise Rejected(Refusal.BAD_CONTENT, f"header section is larger than {MAX_HEADER} octets")
    fields = held[: end + 2] if held[end : end + 2] == b"\r\n" else held[:end] + b"\r\n"
    return fields, held[end + 4 :]


def scan_header(fields: bytes, prefix: bytes, names: frozenset[str]) -> HeaderSection:
    """Look for what intake needs. `prefix` is the control prefix in lower case; `names` what may follow it.

    Raises Rejected for a control header field that is unknown or stands there twice.
    """
    lowered = b"\n" + fields.lower()
    controls: dict[str, str] = {}
    if b"\n" + prefix in lowered:
        fields = _take_controls(fields, prefix, names, controls)
        lowered = b"\n" + fields.lower()
    message_id = _MESSAGE_ID.search(b"\n" + fields) if b"\nmessage-id" in lowered else None
    return HeaderSection(
        fields=fields,
        controls=controls,
        hops=lowered.count(b"\nreceived:"),
        message_id=message_id[1].strip().decode("utf-8", "replace") if message_id else None,
        has_date=b"\ndate:" in lowered,
    )


def _take_controls(fields: bytes, prefix: bytes, names: frozenset[str], controls: dict[str, str]) -> bytes:
    kept = []
    for field in split_fields(fields):
        if not field.lower().startswith(prefix):
            kept.append(field)
            continue
        raw_name, _, value = field.partition(b":")
        title = raw_name.strip().decode("ascii", "replace")
        name = title[len(prefix) :].lower()
        if name == "id":  # ours from an earlier hop
            continue
        if name not in names:
            raise Rejected(Refusal.BAD_CONTENT, f"{title}: no such control header field", path=title)
        if name in controls:
            raise Rejected(Refusal.BAD_CONTENT, f"{title}: stands there more than once", path=title)
        controls[name] = value.replace(b"\r\n", b"").decode("utf-8", "surrogateescape").strip()
    return b"".join(kept)


def split_fields(fields: bytes) -> list[bytes]:
    """The fields of a header section, each with its folded lines and the CRLF at its end."""
    lines = fields.split(b"\r\n")
    found: list[bytes] = []
    for line in lines[:-1]:
        if line[:1] in {b" ", b"\t"} and found:
            found[-1] += line + b"\r\n"
        else:
            found.append(line + b"\r\n")
    return found
