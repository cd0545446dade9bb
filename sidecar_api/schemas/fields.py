"""Field types of request bodies: each reads a value by the relay's own reader, so that every door agrees on it.

A reader raises ValueError with what is wrong; pydantic adds where. Times and the control prefix need a context, which
comes as `Reading`.
"""

from __future__ import annotations

import re
from binascii import Error as BadBase64
from binascii import a2b_base64
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
)

from relay.clock import DAY, SECOND, read_duration, show_duration
from relay.compose.header import HEADER_NAME, check_value
from relay.compose.mailbox import check_name, parse_mailbox
from relay.intake.controls import (
    check_tags,
    read_account,
    read_batch,
    read_identifier,
    read_metadata,
    read_priority,
    read_time,
)
from relay.model.address import NULL_SENDER, Address, parse_address
from relay.model.content import Mailbox
from relay.model.message import Priority
from relay.model.tenant import IDENTIFIER, USERNAME


@dataclass(frozen=True, slots=True)
class Reading:
    """What reading a body depends on besides the body."""

    now: int
    """µs since the epoch."""
    header_prefix: str


class Strict(BaseModel):
    """A request: unknown fields are faults, and no value is bent into another type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


MAX_HEADER_VALUE = 8192
MAX_FILENAME = 255
SHORTEST_DELAY, LONGEST_DELAY = SECOND, 365 * DAY
_STRUCTURAL = frozenset(
    {"from", "to", "cc", "bcc", "reply-to", "subject", "sender", "date", "message-id", "mime-version"}
    | {"received", "dkim-signature", "return-path"}
)
_MEDIA_WORD = r"[A-Za-z0-9!#$&^_.+-]{1,64}"
_MEDIA_TYPE = re.compile(
    rf'{_MEDIA_WORD}/{_MEDIA_WORD}(?:; ?{_MEDIA_WORD}=(?:{_MEDIA_WORD}|"[ !#-\[\]-~]{{0,64}}")){{0,4}}'
)
_CONTENT_ID = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.@-]{1,200}")
_BLANKS = str.maketrans("", "", " \t\r\n")


def _reading(info: ValidationInfo) -> Reading:
    if not isinstance(info.context, Reading):
        raise TypeError("a body is read with a Reading as its context")
    return info.context


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a string")
    return value


def _from_text(reader: Callable[[str], Any]) -> Callable[[object], Any]:
    return lambda value: reader(_text(value))


def _mailbox(value: object) -> Mailbox:
    if isinstance(value, str):
        return parse_mailbox(value)
    if isinstance(value, dict):
        unknown = value.keys() - {"address", "name"}
        if unknown or "address" not in value:
            raise ValueError('must be a string, or an object of "address" and "name"')
        return Mailbox(parse_address(_text(value["address"]), utf8=True), check_name(_text(value.get("name") or "")))
    raise ValueError("must be a string")


def _sender(value: object) -> Address:
    text = _text(value)
    return NULL_SENDER if text in {"", "<>"} else parse_address(text, utf8=True)


def _priority(value: object) -> Priority:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError("must be 0 to 3, or immediate, high, medium or low")
    return read_priority(str(value))


def _time(value: object, info: ValidationInfo) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("must be an RFC 3339 time, epoch seconds, or a delay such as +15m")
    return read_time(str(value), _reading(info).now)


def _duration(value: object) -> int:
    duration = read_duration(_text(value))
    if not SHORTEST_DELAY <= duration <= LONGEST_DELAY:
        raise ValueError(f"must lie between {show_duration(SHORTEST_DELAY)} and {show_duration(LONGEST_DELAY)}")
    return duration


def _metadata(value: object) -> str:
    if not isinstance(value, dict):
        raise ValueError("must be a JSON object")
    try:
        text = orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        raise ValueError("holds a number that is too large") from None
    return read_metadata(text)


def _base64(value: object) -> bytes:
    text = _text(value)
    try:
        octets = text.encode("ascii")
        if b"\n" in octets or b" " in octets:
            octets = text.translate(_BLANKS).encode("ascii")
        return a2b_base64(octets, strict_mode=True)
    except (UnicodeEncodeError, BadBase64):
        raise ValueError("is not base64") from None


def _filename(value: str) -> str:
    check_value(value)
    if not 1 <= len(value) <= MAX_FILENAME or not value.isprintable() or "/" in value or "\\" in value:
        raise ValueError(f"must be 1 to {MAX_FILENAME} printable characters without slashes")
    return value


def _media_type(value: str) -> str:
    if not _MEDIA_TYPE.fullmatch(value) or value.lower().startswith("multipart/"):
        raise ValueError("is not a media type of a single part, such as application/pdf")
    return value


def _content_id(value: str) -> str:
    value = value.removeprefix("<").removesuffix(">")
    if not _CONTENT_ID.fullmatch(value):
        raise ValueError("must be 1 to 200 of letters, digits and . _ - @ and the like, as in cid: links")
    return value


def _header_name(name: str, info: ValidationInfo) -> str:
    lowered = name.lower()
    if not HEADER_NAME.fullmatch(name):
        raise ValueError("header field names are 1 to 64 of A-Z, a-z, 0-9 and '-'")
    if lowered in _STRUCTURAL or lowered.startswith(("content-", "resent-", _reading(info).header_prefix.lower())):
        raise ValueError(
            "this header field cannot be set here; there is a field for what it says, or the relay writes it"
        )
    return name


def header_value(value: str) -> str:
    """One line that a header field can hold; ValueError."""
    if len(value) > MAX_HEADER_VALUE:
        raise ValueError(f"is longer than {MAX_HEADER_VALUE} characters")
    return check_value(value)


def _network(value: object) -> IPv4Network | IPv6Network:
    try:
        return ip_network(_text(value))
    except ValueError as fault:
        raise ValueError(f"is not a network in CIDR form: {fault}") from None


def _allowed_sender(value: str) -> str:
    parse_address(f"x{value}" if value.startswith("@") else value, utf8=True)
    return value.lower()


def _matching(pattern: re.Pattern[str], what: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if not pattern.fullmatch(value):
            raise ValueError(f"is not {what}: must match {pattern.pattern}")
        return value

    return check


def _listed(value: object) -> object:
    return value if isinstance(value, list) else [value]


def _string(**more: Any) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", **more})


def _one_or_more(schema: dict[str, Any]) -> dict[str, Any]:
    """As it is sent: alone, or several in a list."""
    said: dict[str, Any] = {name: schema[name] for name in ("description", "examples") if name in schema}
    item = {name: value for name, value in schema.items() if name not in said}
    return {**said, "anyOf": [item, {"type": "array", "items": item}]}


_TIME = {
    "anyOf": [{"type": "string"}, {"type": "number"}],
    "description": "RFC 3339, epoch seconds, or `+15m` from now",
}
_PRIORITY = {
    "anyOf": [{"enum": ["immediate", "high", "medium", "low"]}, {"type": "integer", "minimum": 0, "maximum": 3}]
}
_MAILBOX = {
    "description": "`a@b.example`, `Name <a@b.example>`, or address and name apart",
    "examples": ["Ann Example <ann@example.com>"],
    "anyOf": [
        {"type": "string"},
        {
            "type": "object",
            "properties": {"address": {"type": "string"}, "name": {"type": "string"}},
            "required": ["address"],
            "additionalProperties": False,
        },
    ],
}

MailboxIn = Annotated[Mailbox, PlainValidator(_mailbox), WithJsonSchema(_MAILBOX)]
Mailboxes = Annotated[list[MailboxIn], BeforeValidator(_listed), WithJsonSchema(_one_or_more(_MAILBOX))]
SenderIn = Annotated[
    Address, PlainValidator(_sender), _string(description="an address; empty for the null reverse-path")
]
PriorityIn = Annotated[Priority, PlainValidator(_priority), WithJsonSchema(_PRIORITY)]
TimeIn = Annotated[int, PlainValidator(_time), WithJsonSchema(_TIME)]
DurationIn = Annotated[
    int,
    PlainValidator(_duration),
    _string(pattern=r"^\d{1,12} *(ms|s|m|h|d|w)$", description="such as 30s, 5m, 1h, 2d"),
]
BatchName = Annotated[str, PlainValidator(_from_text(read_batch)), _string(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
AccountRef = Annotated[str, PlainValidator(_from_text(read_account)), _string(pattern=f"^{IDENTIFIER.pattern}$")]
ClientId = Annotated[str, PlainValidator(_from_text(read_identifier)), _string(minLength=1, maxLength=255)]
Tags = Annotated[list[str], AfterValidator(lambda tags: list(check_tags(tuple(tags))))]
Metadata = Annotated[str, PlainValidator(_metadata), WithJsonSchema({"type": "object", "description": "at most 4 KiB"})]
Base64 = Annotated[bytes, PlainValidator(_base64), _string(contentEncoding="base64")]
Filename = Annotated[str, AfterValidator(_filename)]
MediaType = Annotated[str, AfterValidator(_media_type)]
ContentId = Annotated[str, AfterValidator(_content_id)]
HeaderName = Annotated[str, AfterValidator(_header_name)]
HeaderValues = Annotated[
    list[Annotated[str, AfterValidator(header_value)]],
    BeforeValidator(_listed),
    WithJsonSchema(_one_or_more({"type": "string"})),
]
SubjectIn = Annotated[str, AfterValidator(header_value)]
Network = Annotated[IPv4Network | IPv6Network, PlainValidator(_network), _string(examples=["192.0.2.0/24"])]
AllowedSender = Annotated[str, AfterValidator(_allowed_sender)]
Identifier = Annotated[str, AfterValidator(_matching(IDENTIFIER, "an id")), _string(pattern=f"^{IDENTIFIER.pattern}$")]
Username = Annotated[str, AfterValidator(_matching(USERNAME, "a user name")), _string(pattern=f"^{USERNAME.pattern}$")]


def _printable(value: str) -> str:
    if not value.isprintable():
        raise ValueError("holds a character that cannot be printed")
    return value


def _sendable(value: str) -> str:
    if any(character in value for character in "\0\r\n"):
        raise ValueError("holds a NUL or line end")
    return value


Printable = Annotated[str, AfterValidator(_printable)]
Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]
Secret = Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(_sendable)]
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
Networks = Annotated[
    list[Network], Field(max_length=100, description="from where it may be used; empty: from anywhere")
]
Overlap = Annotated[DurationIn, Field(description="how long what was good before stays so", examples=["24h"])]
