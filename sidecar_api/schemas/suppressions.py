"""Suppressions, as the API reads and shows them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, PlainValidator, WithJsonSchema
from typing_extensions import TypedDict

from relay.clock import rfc3339
from relay.model.suppression import Suppression, SuppressionReason, read_suppressed
from sidecar_api.schemas.exact import exact
from sidecar_api.schemas.examples import example
from sidecar_api.schemas.fields import Identifier, Printable, Strict, TimeIn

MAX_IMPORT = 100_000
"""Rows of one request."""
MAX_NOTE = 500


def _address(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a string")
    return read_suppressed(value)


def _reason(value: object) -> SuppressionReason:
    try:
        return SuppressionReason(str(value))
    except ValueError:
        raise ValueError(f"must be one of {', '.join(SuppressionReason)}") from None


ReasonIn = Annotated[
    SuppressionReason, PlainValidator(_reason), WithJsonSchema({"type": "string", "enum": list(SuppressionReason)})
]
SuppressedIn = Annotated[str, PlainValidator(_address), WithJsonSchema({"type": "string", "maxLength": 254})]


@example({"address": "ann@example.net", "reason": "unsubscribe", "note": "wrote to the help desk"})
class SuppressionIn(Strict):
    """Somebody, or a whole domain, to whom the tenant must not send."""

    address: SuppressedIn
    """An address, or `@example.net` for all of a domain (not of the domains below it)."""
    reason: ReasonIn = SuppressionReason.MANUAL
    """`hard_bounce`, `complaint`, `unsubscribe` or `manual`."""
    note: Annotated[Printable, Field(max_length=MAX_NOTE)] | None = None
    """For people."""
    until: TimeIn | None = None
    """When it ends; null is never."""

    def entry(self, tenant: str, now: int) -> Suppression:
        """What is put on the tenant's list."""
        return Suppression(tenant, self.address, self.reason, now, self.until, self.note)


class ImportRow(SuppressionIn):
    """The same with what an export tells."""

    since: TimeIn | None = None
    """Else now."""
    message: Identifier | None = None
    """The message that brought it about."""

    def entry(self, tenant: str, now: int) -> Suppression:
        """What is put on the tenant's list."""
        since = now if self.since is None else self.since
        return Suppression(tenant, self.address, self.reason, since, self.until, self.note, self.message)


@example(
    {
        "items": [
            {"address": "ann@example.net", "reason": "unsubscribe"},
            {"address": "@example.org", "note": "a former customer"},
        ]
    }
)
class ImportIn(Strict):
    """Up to 100 000; each is taken or refused by itself."""

    items: Annotated[list[ImportRow], Field(min_length=1, max_length=MAX_IMPORT)]


class LooseImport(Strict):
    """The same with its items unread."""

    items: Annotated[list[Any], Field(min_length=1, max_length=MAX_IMPORT)]


@example(
    {
        "tenant": "acme",
        "address": "gone@example.net",
        "reason": "hard_bounce",
        "note": "550 5.1.1 no such mailbox",
        "since": "2026-01-01T09:00:00Z",
        "until": "2026-01-31T09:00:00Z",
        "message": "0mk5w8r1c2q7x",
    }
)
@exact
class SuppressionOut(TypedDict):
    """An entry of a tenant's list. `until` null is for good; `message` is the one that brought it about."""

    tenant: str
    address: str
    reason: str
    note: str | None
    since: str
    until: str | None
    message: str | None


@exact
class SuppressionsOut(TypedDict):
    """A page, by address."""

    items: list[SuppressionOut]
    next_cursor: str | None


@example({"row": 17, "path": "/address", "detail": "address has no @"})
@exact
class RowFaultOut(TypedDict):
    """What is wrong with a row."""

    row: int
    """The item's or line's number, from 1."""
    path: str
    """The member or column, as a JSON pointer; empty is the whole row."""
    detail: str


@example(
    {
        "added": 4710,
        "changed": 1,
        "unchanged": 288,
        "invalid": 1,
        "faults": [{"row": 17, "path": "/address", "detail": "address has no @"}],
    }
)
@exact
class ImportedOut(TypedDict):
    """What became of the rows; `faults` names the first 100 of the invalid ones."""

    added: int
    changed: int
    unchanged: int
    invalid: int
    faults: list[RowFaultOut]


def suppression_out(one: Suppression) -> SuppressionOut:
    """An entry."""
    return SuppressionOut(
        tenant=one.tenant,
        address=one.address,
        reason=one.reason.value,
        note=one.note,
        since=rfc3339(one.since),
        until=None if one.until is None else rfc3339(one.until),
        message=one.message,
    )
