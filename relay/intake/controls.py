"""Reading control values: one function for each, whatever door they came by. Pure; `now` is handed in.

Each takes the text of a header field or a JSON value and raises ValueError with what is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime

import orjson

from relay.clock import DAY, HOUR, MINUTE, SECOND
from relay.model.control import Controls
from relay.model.message import Priority
from relay.model.tenant import IDENTIFIER

BATCH = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
_RELATIVE = re.compile(r"\+([0-9]{1,9})([smhdw])")
_UNITS = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}
_PRIORITIES = {name: priority for priority in Priority for name in (priority.name.lower(), str(priority.value))}

MAX_TAGS = 10
MAX_METADATA = 4096
MAX_AHEAD = 366 * DAY
"""How far ahead a time may lie."""


def read_priority(text: str) -> Priority:
    """0 to 3, or immediate, high, medium, low."""
    try:
        return _PRIORITIES[text.strip().lower()]
    except KeyError:
        raise ValueError("must be 0 to 3, or immediate, high, medium or low") from None


def read_batch(text: str) -> str:
    """1 to 64 of `A-Z a-z 0-9 . _ -`."""
    if not BATCH.fullmatch(text.strip()):
        raise ValueError("must be 1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-'")
    return text.strip()


def read_time(text: str, now: int) -> int:
    """RFC 3339 with an offset, epoch seconds, or from now as `+15m` (s, m, h, d, w); as µs since the epoch."""
    text = text.strip()
    if match := _RELATIVE.fullmatch(text):
        at = now + int(match[1]) * _UNITS[match[2]]
    elif text.isascii() and text.replace(".", "", 1).isdigit() and len(text) <= 20:
        at = int(float(text) * SECOND)
    else:
        at = _read_rfc3339(text)
    if at < 0:
        raise ValueError("lies before 1970")
    if at > now + MAX_AHEAD:
        raise ValueError("lies more than a year ahead")
    return at


def _read_rfc3339(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text.upper())  # "t" and "z" may be small (RFC 3339 §5.6)
    except ValueError:
        raise ValueError("must be an RFC 3339 time, epoch seconds, or a delay such as +15m") from None
    if moment.tzinfo is None:
        raise ValueError("has no offset from UTC")
    return round(moment.timestamp() * SECOND)


def read_account(text: str) -> str:
    """An account's id."""
    if not IDENTIFIER.fullmatch(text.strip()):
        raise ValueError("is not an account id")
    return text.strip()


def read_identifier(text: str) -> str:
    """A client id or idempotency key: 1 to 255 printable characters."""
    text = text.strip()
    if not 1 <= len(text) <= 255 or not text.isprintable():
        raise ValueError("must be 1 to 255 printable characters")
    return text


def read_tags(text: str) -> tuple[str, ...]:
    """Words parted by commas or blanks."""
    return check_tags(tuple(text.replace(",", " ").split()))


def check_tags(tags: tuple[str, ...]) -> tuple[str, ...]:
    """At most ten words."""
    if len(tags) > MAX_TAGS:
        raise ValueError(f"holds more than {MAX_TAGS} tags")
    for tag in tags:
        if not _TAG.fullmatch(tag):
            raise ValueError("a tag must be 1 to 64 of A-Z, a-z, 0-9, '.', '_', ':' and '-'")
    return tuple(dict.fromkeys(tags))


def read_metadata(text: str) -> str:
    """A JSON object of at most 4 KiB, kept in its shortest form."""
    if len(text.encode("utf-8", "surrogateescape")) > MAX_METADATA:
        raise ValueError(f"is larger than {MAX_METADATA} octets")
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise ValueError("is not JSON") from None
    if not isinstance(value, dict):
        raise ValueError("is not a JSON object")
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:  # it reads four times as deep as it writes
        raise ValueError("is nested too deep") from None


_HEADERS: Mapping[str, tuple[str, Callable[[str, int], object]]] = {
    "priority": ("priority", lambda text, _: read_priority(text)),
    "batch": ("batch", lambda text, _: read_batch(text)),
    "send-at": ("not_before", read_time),
    "expires": ("expires_at", read_time),
    "account": ("account", lambda text, _: read_account(text)),
    "client-id": ("client_id", lambda text, _: read_identifier(text)),
    "idempotency-key": ("idempotency_key", lambda text, _: read_identifier(text)),
    "tags": ("tags", lambda text, _: read_tags(text)),
    "metadata": ("metadata", lambda text, _: read_metadata(text)),
}

CONTROL_NAMES = frozenset(_HEADERS)
"""The names after the prefix, in lower case."""


def read_control_headers(values: Mapping[str, str], now: int) -> Controls:
    """Controls from header fields, by name after the prefix; ValueError is `(name, what is wrong)`."""
    fields: dict[str, object] = {}
    for name, text in values.items():
        attribute, reader = _HEADERS[name]
        try:
            fields[attribute] = reader(text, now)
        except ValueError as fault:
            raise ValueError(name, str(fault)) from None
    return Controls(**fields)  # type: ignore[arg-type]  # the table above pairs each attribute with its reader
