"""Query parameters. An unknown one is a fault here as everywhere: a misspelt filter must not list everything."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, PlainValidator

from relay.clock import SECOND
from sidecar_api.schemas.fields import BatchName, Strict
from sidecar_api.schemas.queries import schema_of

MOST_COMMANDS = 1000
_YES, _NO = {"true", "1", "yes", "on", "t", "y"}, {"false", "0", "no", "off", "f", "n"}


def _one(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("is given more than once")
    return value


def _flag(value: object) -> bool:
    text = _one(value).lower()
    if text not in _YES | _NO:
        raise ValueError("must be true or false")
    return text in _YES


def _epoch(value: object) -> int:
    text = _one(value)
    if not (text.isascii() and text.isdigit() and len(text) <= 11):
        raise ValueError("must be seconds since 1970")
    return int(text) * SECOND


def _limit(value: object) -> int:
    text = _one(value)
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= MOST_COMMANDS):
        raise ValueError(f"must be 1 to {MOST_COMMANDS}")
    return int(text)


TenantId = Annotated[str, BeforeValidator(_one), Field(max_length=64)]
Flag = Annotated[bool, PlainValidator(_flag), schema_of(type="boolean")]
Epoch = Annotated[int, PlainValidator(_epoch), schema_of(type="integer", minimum=0, maximum=10**11 - 1)]


class GenroTenantQuery(Strict):
    """`tenant_id` is an admin's to name; of others it can only be their own."""

    tenant_id: TenantId | None = None
    """An admin names the tenant to act for; of others it can only be their own."""


class GenroMessagesQuery(GenroTenantQuery):
    """What of the messages."""

    active_only: Flag = False
    """Those that are not closed."""
    include_history: Flag = False
    """With what happened to each."""


class GenroBatchQuery(GenroTenantQuery):
    """A tenant, or one of its batches."""

    batch_code: Annotated[BatchName, BeforeValidator(_one)] | None = None
    """The batch; else all mail of the tenant."""


class GenroTenantsQuery(Strict):
    """Which tenants."""

    active_only: Flag = False


class GenroExportQuery(GenroTenantQuery):
    """Which commands; without `tenant_id` of all."""

    since_ts: Epoch | None = None
    until_ts: Epoch | None = None


class GenroCommandsQuery(GenroExportQuery):
    """Which commands, newest first."""

    endpoint_filter: Annotated[str, BeforeValidator(_one), Field(max_length=100)] | None = None
    """A part of `METHOD /path`."""
    limit: Annotated[int, PlainValidator(_limit), schema_of(type="integer", minimum=1, maximum=MOST_COMMANDS)] = 100
