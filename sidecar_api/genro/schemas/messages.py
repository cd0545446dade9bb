"""A message as genro-mail-proxy takes it in, and what it is in ours.

What `/v1` refuses is refused here in the same words, since it is `MessageIn` that reads it in the end; only names of fields
are put back into those that the client knows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, ValidationError, WithJsonSchema

from relay.compose.mailbox import parse_mailboxes
from relay.errors import Invalid
from relay.intake.controls import read_identifier
from relay.model.address import Address
from relay.model.content import Draft
from relay.model.message import Priority
from sidecar_api.bodies import fault_of
from sidecar_api.genro.schemas.attachments import GenroAttachmentIn
from sidecar_api.schemas.batch_requests import MAX_BATCH
from sidecar_api.schemas.examples import example
from sidecar_api.schemas.fields import Reading, Strict, header_value
from sidecar_api.schemas.messages import MessageIn

_NAMES = {
    "client_id": "id",
    "account": "account_id",
    "text": "body",
    "html": "body",
    "send_at": "deferred_ts",
    "batch": "batch_code",
    "sender": "return_path",
}
"""Our names of fields, and those of a client here."""
_MANDATORY = ("from", "to", "subject")
_LONGEST_REASON = 300


def _priority(value: object) -> Priority:
    """A number, held between the most and the least urgent, or a word."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError("must be 0 to 3, or immediate, high, medium or low")
    text = str(value).strip().lower()
    if text.lstrip("-").isdecimal() and text.isascii() and len(text) < 10:
        return Priority(min(max(int(text), Priority.IMMEDIATE), Priority.LOW))
    words = {one.name.lower(): one for one in Priority}
    if text not in words:
        raise ValueError("must be 0 to 3, or immediate, high, medium or low")
    return words[text]


GenroPriority = Annotated[
    Priority,
    PlainValidator(_priority),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"enum": ["immediate", "high", "medium", "low"]}]}),
]
_Addresses = Annotated[
    str | list[str], Field(description="by comma or in a list", examples=[["Ann <ann@example.net>"]])
]


@example(
    {
        "id": "invoice-117",
        "from": "billing@example.com",
        "to": ["ann@example.net"],
        "subject": "Your invoice",
        "body": "<p>Dear Ann, here it is.</p>",
        "content_type": "html",
        "priority": 1,
        "batch_code": "invoices-2026-01",
    }
)
class GenroMessageIn(Strict):
    """A message; of a repeated `id` see `/v1/messages`: what was not attempted yet is replaced."""

    id: str
    """The client's own."""
    author: str = Field(alias="from")
    """Who writes; also written `from_addr`."""
    to: _Addresses
    subject: str
    tenant_id: str | None = None
    """An admin's to say."""
    account_id: str | None = None
    """The way out; else the default one of the tenant, else the instance."""
    cc: _Addresses | None = None
    bcc: _Addresses | None = None
    reply_to: _Addresses | None = None
    return_path: str | None = None
    """The reverse-path; else the address in `from`."""
    body: str | None = ""
    content_type: Literal["plain", "html"] | None = "plain"
    """What `body` is."""
    headers: dict[str, str | None] | None = None
    """More header fields; null is passed over."""
    message_id: str | None = None
    """The header field Message-ID; else the relay makes one."""
    attachments: list[GenroAttachmentIn] | None = None
    priority: GenroPriority | None = None
    deferred_ts: int | float | None = None
    """Not before, in seconds since 1970."""
    batch_code: str | None = None
    """The campaign it belongs to."""


_FIELDS = {member.alias or name for name, member in GenroMessageIn.model_fields.items()}


@example(
    {"messages": [{"id": "invoice-117", "from": "a@example.com", "to": "b@example.net", "subject": "Hi", "body": ""}]}
)
class GenroMessagesIn(Strict):
    """Up to 1000 messages; each is accepted or refused by itself."""

    messages: list[GenroMessageIn] = Field(max_length=MAX_BATCH)
    default_priority: GenroPriority | None = None
    """Of those that do not say theirs."""


class LooseMessagesIn(Strict):
    """The same with its messages unread: each is read by itself."""

    messages: list[Any]
    default_priority: GenroPriority | None = None


class Refusal(Exception):
    """Why a message is not accepted, in a line. `kept` is what may be written down: no word of the message itself."""

    def __init__(self, reason: str, kept: str | None = None) -> None:
        super().__init__(reason[:_LONGEST_REASON])
        self.reason = reason[:_LONGEST_REASON]
        self.kept = kept or self.reason


@dataclass(frozen=True, slots=True)
class Given:
    """A message as it came: what can be said of it before it is read as a whole, and whatever is wrong with it."""

    fields: dict[str, Any]
    """By their first names."""
    is_object: bool

    @classmethod
    def of(cls, item: object) -> Given:
        """An item of a request."""
        if not isinstance(item, dict):
            return cls({}, is_object=False)
        fields: dict[str, Any] = dict(item)
        if "from_addr" in fields and "from" not in fields:
            fields["from"] = fields.pop("from_addr")
        return cls(fields, is_object=True)

    @property
    def id(self) -> str | None:
        """Its id, where it has one that can be kept."""
        try:
            return read_identifier(self.text("id") or "")
        except ValueError:
            return None

    def text(self, name: str) -> str | None:
        """A member that is text and not blank."""
        value = self.fields.get(name)
        return value if isinstance(value, str) and value.strip() else None

    @property
    def recipients(self) -> tuple[Address, ...]:
        """Those that can be read, whatever is wrong with the others."""
        found: list[Address] = []
        for name in ("to", "cc", "bcc"):
            value = self.fields.get(name)
            for text in value if isinstance(value, list) else [value]:
                try:
                    found += [one.address for one in parse_mailboxes(text)] if isinstance(text, str) else []
                except ValueError:
                    continue
        return tuple(found)

    @property
    def author(self) -> Address | None:
        """Who writes, where that can be read."""
        try:
            return parse_mailboxes(self.text("from") or "")[0].address
        except ValueError:
            return None


def check_mandatory(given: Given) -> None:
    """Refusal where one of the fields is missing or blank that no message is without."""
    for name in _MANDATORY:
        value = given.fields.get(name)
        said = [one for one in value if not isinstance(one, str) or one.strip()] if isinstance(value, list) else value
        if not said or (isinstance(said, str) and not said.strip()):
            raise Refusal(f"missing {name}")


def read_message(given: Given, default: Priority | None, reading: Reading) -> tuple[MessageIn, str | None]:
    """The message as ours, and its Message-ID where it brings one; Refusal."""
    try:
        theirs = GenroMessageIn.model_validate(given.fields, context=reading)
        message_id = None if theirs.message_id is None else _message_id(theirs.message_id)
        ours = MessageIn.model_validate(_as_ours(theirs, default), context=reading)
    except ValidationError as fault:
        raise _refusal(fault) from None
    except ValueError as fault:
        raise Refusal(str(fault)) from None
    return ours, message_id


def _as_ours(theirs: GenroMessageIn, default: Priority | None) -> dict[str, Any]:
    priority = default if theirs.priority is None else theirs.priority
    said = {
        "from": theirs.author,
        "to": _mailboxes("to", theirs.to),
        "cc": _mailboxes("cc", theirs.cc),
        "bcc": _mailboxes("bcc", theirs.bcc),
        "reply_to": _mailboxes("reply_to", theirs.reply_to),
        "subject": theirs.subject,
        "html" if theirs.content_type == "html" else "text": theirs.body or "",
        "headers": {name: value for name, value in (theirs.headers or {}).items() if value is not None},
        "attachments": [_attachment(at, one) for at, one in enumerate(theirs.attachments or ())],
        "client_id": theirs.id,
        "account": theirs.account_id or None,
        "sender": theirs.return_path or None,
        "priority": None if priority is None else int(priority),
        "send_at": theirs.deferred_ts,
        "batch": theirs.batch_code or None,
    }
    return {name: value for name, value in said.items() if value is not None}


def _mailboxes(name: str, given: str | list[str] | None) -> list[dict[str, str]]:
    texts = [given] if isinstance(given, str) else given or []
    try:
        found = [one for text in texts if text.strip() for one in parse_mailboxes(text)]
    except ValueError as fault:
        raise ValueError(f"{name}: {fault}") from None
    return [{"address": one.address, "name": one.name} for one in found]


def _attachment(at: int, given: GenroAttachmentIn) -> dict[str, Any]:
    try:
        return given.attachment()
    except ValueError as fault:
        raise ValueError(f"attachments/{at}: {fault}") from None


def _message_id(given: str) -> str:
    """As a header field has it, in angle brackets."""
    value = f"<{given.strip().removeprefix('<').removesuffix('>')}>"
    try:
        header_value(value)
    except ValueError as fault:
        raise ValueError(f"message_id: {fault}") from None
    if len(value) > 255 or len(value) < 3 or any(one in value[1:-1] for one in "<> \t"):
        raise ValueError("message_id: is not a Message-ID")
    return value


def _refusal(fault: ValidationError) -> Refusal:
    """The first fault, by the name that the client knows."""
    found = fault_of(fault)
    if not isinstance(found, Invalid):
        raise TypeError("a message is read from what is JSON already")
    first = found.violations[0]
    name, _, rest = first.path[1:].partition("/")
    name = _NAMES.get(name, name)
    place = "/".join(part for part in (name, rest) if part) or "message"
    known = name if name in _FIELDS else "message"  # else it is the client's, as what lies below may be
    return Refusal(f"{place}: {first.detail}", f"{known}: {first.detail}")


def with_message_id(draft: Draft, message_id: str | None) -> Draft:
    """The draft with its own Message-ID, which intake then keeps."""
    if message_id is None:
        return draft
    return replace(draft, headers=(("Message-ID", message_id), *draft.headers))
