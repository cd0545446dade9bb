"""Query parameters. An unknown one is a fault: a misspelt filter must not list everything."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema

from relay.compose.mailbox import parse_mailbox
from relay.intake.controls import read_identifier, read_metadata, read_tags
from relay.model.address import MAX_ADDRESS, Address, parse_address
from relay.model.event import EventKind
from relay.model.message import MessageState
from relay.model.suppression import SuppressionReason
from sidecar_api.schemas.fields import AccountRef, BatchName, ClientId, Identifier, PriorityIn, SenderIn, Strict, TimeIn

MAX_PAGE = 100
DEFAULT_PAGE = 50
LATEST = -1
"""The cursor behind all that is there."""


def _one(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("is given more than once")
    return value


def _listed(value: object) -> object:
    return value if isinstance(value, list) else [value]


def _limit(value: object) -> int:
    text = _one(value)
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= MAX_PAGE):
        raise ValueError(f"must be 1 to {MAX_PAGE}")
    return int(text)


def _sequence(value: object) -> int:
    text = _one(value)
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise ValueError("is not a cursor")
    return int(text)


def _place(value: object) -> int:
    return LATEST if value == "latest" else _sequence(value)


def _count(value: object) -> int:
    text = _one(value)
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) >= 1):
        raise ValueError("must be 1 to 999999999")
    return int(text)


def _state(value: object) -> MessageState:
    try:
        return MessageState(str(value))
    except ValueError:
        raise ValueError(f"must be one of {', '.join(MessageState)}") from None


def _kind(value: object) -> EventKind:
    try:
        return EventKind(_one(value))
    except ValueError:
        raise ValueError(f"must be one of {', '.join(EventKind)}") from None


def _start(value: object) -> str:
    text = _one(value)
    if not text.isprintable() or len(text) > MAX_ADDRESS:
        raise ValueError("is no address, nor the beginning of one")
    return text


def _reason(value: object) -> SuppressionReason:
    try:
        return SuppressionReason(_one(value))
    except ValueError:
        raise ValueError(f"must be one of {', '.join(SuppressionReason)}") from None


def _tags(value: object) -> list[str]:
    return list(read_tags(",".join(value) if isinstance(value, list) else _one(value)))


def _flag(value: object) -> bool:
    if value not in {"true", "false"}:
        raise ValueError("must be true or false")
    return value == "true"


def schema_of(**schema: Any) -> WithJsonSchema:
    """What the description says of a type."""
    return WithJsonSchema(schema)


_Tenant = Annotated[str, BeforeValidator(_one), Field(max_length=64)]
_AddressIn = Annotated[
    Address, PlainValidator(lambda value: parse_mailbox(_one(value)).address), schema_of(type="string")
]
_Recipient = Annotated[
    Address, PlainValidator(lambda value: parse_address(_one(value), utf8=True)), schema_of(type="string")
]
StateIn = Annotated[MessageState, PlainValidator(_state), schema_of(enum=list(MessageState))]
_Kind = Annotated[EventKind, PlainValidator(_kind), schema_of(enum=list(EventKind))]
_Limit = Annotated[int, PlainValidator(_limit), schema_of(type="integer", minimum=1, maximum=MAX_PAGE)]


_Sequence = Annotated[int, PlainValidator(_sequence), schema_of(type="string", pattern=r"^\d{1,18}$")]
_Operation = Annotated[str, BeforeValidator(_one), Field(pattern=r"^[a-z_]{1,64}$", examples=["change_account"])]
_Flag = Annotated[bool, PlainValidator(_flag), schema_of(type="boolean")]


_Start = Annotated[str, PlainValidator(_start), schema_of(type="string", maxLength=MAX_ADDRESS)]
_Reason = Annotated[SuppressionReason, PlainValidator(_reason), schema_of(enum=list(SuppressionReason))]


class NoQuery(Strict):
    """No parameters."""


class TenantQuery(Strict):
    """`tenant` is an admin's to name; of others it can only be their own."""

    tenant: _Tenant | None = None
    """An admin names the tenant to act for; of others it can only be their own."""


class MessagesQuery(TenantQuery):
    """Filters, all of which must hold; `cursor` is the `next_cursor` of the page before."""

    state: Annotated[list[StateIn], BeforeValidator(_listed)] = Field(default_factory=list)
    """One or more of these states."""
    batch: BatchName | None = None
    """Of this campaign."""
    client_id: ClientId | None = None
    """By the client's own id."""
    account: AccountRef | None = None
    """That go by this account."""
    recipient: _Recipient | None = None
    """With this recipient."""
    tag: Annotated[list[str], PlainValidator(_tags), schema_of(type="array", items={"type": "string"})] = Field(
        default_factory=list
    )
    """With this tag; of several, all."""
    priority: PriorityIn | None = None
    """0 to 3 or the word."""
    suspended: _Flag | None = None
    """That wait for a resumption, or that do not."""
    since: TimeIn | None = None
    """Accepted at or after."""
    until: TimeIn | None = None
    """Accepted before."""
    cursor: Identifier | None = None
    """The `next_cursor` of the page before."""
    limit: _Limit = DEFAULT_PAGE
    """Of a page."""


class RawQuery(TenantQuery):
    """The envelope (`from` once, `to` for each recipient) and the controls; the header fields say what is not given."""

    sender: SenderIn | None = Field(default=None, alias="from")
    """The reverse-path; else the header fields Sender or From say it."""
    to: Annotated[list[_AddressIn], BeforeValidator(_listed)] = Field(default_factory=list)
    """A recipient, once for each; else the header fields To, Cc and Bcc say them."""
    priority: PriorityIn | None = None
    """0 to 3 or the word."""
    batch: BatchName | None = None
    """The campaign it belongs to."""
    send_at: TimeIn | None = None
    """Not before."""
    expires_at: TimeIn | None = None
    """Not after."""
    account: AccountRef | None = None
    """The way out."""
    client_id: Annotated[str, PlainValidator(lambda v: read_identifier(_one(v))), schema_of(type="string")] | None = (
        None
    )
    """The client's own id."""
    tags: Annotated[list[str], PlainValidator(_tags), schema_of(type="array", items={"type": "string"})] | None = None
    """Up to 10 words, by comma or repeated."""
    metadata: Annotated[str, PlainValidator(lambda v: read_metadata(_one(v))), schema_of(type="string")] | None = None
    """A JSON object, in text."""


class CommandsQuery(TenantQuery):
    """Filters, all of which must hold; `operation` as this description calls it."""

    operation: _Operation | None = None
    """What was done."""
    actor: Annotated[Identifier, BeforeValidator(_one)] | None = None
    """By this token, or `local` for the command line."""
    since: TimeIn | None = None
    """At or after."""
    until: TimeIn | None = None
    """Before."""
    cursor: _Sequence | None = None
    """The `next_cursor` of the page before."""
    limit: _Limit = DEFAULT_PAGE
    """Of a page."""


class EventsQuery(TenantQuery):
    """Filters, all of which must hold; `after` is the `next_cursor` of the page before."""

    after: _Sequence | None = None
    """Behind this sequence; else it begins with the oldest that is kept."""
    kind: _Kind | None = None
    """Of this kind."""
    message: Identifier | None = None
    """Of this message."""
    limit: _Limit = DEFAULT_PAGE
    """Of a page."""


class SuppressionsFilterQuery(TenantQuery):
    """Filters, all of which must hold."""

    reason: _Reason | None = None
    """For this reason."""
    prefix: _Start | None = None
    """Whose address begins so, in lower case; `@` finds domains."""


class SuppressionsQuery(SuppressionsFilterQuery):
    """The same, with `cursor`: the `next_cursor` of the page before."""

    cursor: _Start | None = None
    limit: _Limit = DEFAULT_PAGE
    """Of a page."""


class SuppressionsExportQuery(SuppressionsFilterQuery):
    """The same, and how it is to be written."""

    format: Annotated[Literal["csv", "jsonl"], BeforeValidator(_one)] = "csv"
    """`csv`, with a line of names, or `jsonl`, an object a line."""


class EventStreamQuery(TenantQuery):
    """Filters, all of which must hold, and where to begin."""

    after: Annotated[
        int | None,
        PlainValidator(_place),
        schema_of(type="string", pattern=r"^(latest|\d{1,18})$", examples=["latest"]),
    ] = None
    """Behind this sequence, or `latest` for what comes from now on; else it begins with the oldest that is kept."""
    kind: _Kind | None = None
    """Of this kind."""
    message: Identifier | None = None
    """Of this message."""
    limit: Annotated[int, PlainValidator(_count), schema_of(type="integer", minimum=1, maximum=999_999_999)] | None = (
        None
    )
    """After so many events the stream ends; else it does not."""


class PurgeQuery(Strict):
    """Up to when."""

    before: TimeIn


class BatchesQuery(TenantQuery):
    """An admin names the tenant."""

    cursor: Annotated[BatchName, BeforeValidator(_one)] | None = None
    """The `next_cursor` of the page before."""
    limit: _Limit = DEFAULT_PAGE
    """Of a page."""


class ResumeQuery(Strict):
    """How far a resumption goes."""

    all: _Flag = False
    """Its batches as well, those that were suspended by themselves."""
