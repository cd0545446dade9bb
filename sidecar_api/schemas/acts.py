"""Acts on messages, as the API reads them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, PlainValidator, model_validator

from relay.contracts.archive import MessageFilter
from relay.model.address import Address, parse_address
from relay.model.message import MessageState, QueueId
from sidecar_api.schemas.examples import example
from sidecar_api.schemas.fields import AccountRef, BatchName, ClientId, Identifier, PriorityIn, Strict, Tags, TimeIn
from sidecar_api.schemas.queries import StateIn, schema_of

MOST_AT_ONCE = 10_000


def _address(value: object) -> Address:
    if not isinstance(value, str):
        raise ValueError("must be a string")
    return parse_address(value, utf8=True)


@example({"account": "backup"})
class RerouteIn(Strict):
    """By which account it is to go."""

    account: AccountRef
    """Its own or the instance's."""


class FilterIn(Strict):
    """Which messages: as in their listing, all that is said must hold."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    state: list[StateIn] = Field(default_factory=list)
    """One of these."""
    batch: BatchName | None = None
    client_id: ClientId | None = None
    account: AccountRef | None = None
    recipient: Annotated[Address, PlainValidator(_address), schema_of(type="string")] | None = None
    since: TimeIn | None = None
    """Accepted at or after."""
    until: TimeIn | None = None
    """Accepted before."""
    tags: Tags = Field(default_factory=list)
    """All of these."""
    priority: PriorityIn | None = None
    suspended: bool | None = None
    """That wait for a resumption, or that do not."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("says nothing, which would be every message: name a state at least")
        return self

    def wanted(self, tenant: str, cursor: str | None, limit: int) -> MessageFilter:
        """As the archive is asked."""
        return MessageFilter(
            tenant=tenant,
            states=frozenset[MessageState](self.state),
            batch=self.batch,
            client_id=self.client_id,
            account=self.account,
            recipient=self.recipient,
            since=self.since,
            until=self.until,
            tags=tuple(self.tags),
            priority=self.priority,
            suspended=self.suspended,
            before=None if cursor is None else QueueId(cursor),
            limit=limit,
        )


@example({"action": "hold", "filter": {"batch": "spring-2026", "state": ["open"]}, "dry_run": True})
class BulkIn(Strict):
    """An act on every message that a filter finds, newest first, in small transactions."""

    action: Literal["hold", "release", "cancel", "retry", "reroute", "delete"]
    filter: FilterIn
    dry_run: bool = False
    """Only say what would be done."""
    account: AccountRef | None = None
    """Where a reroute leads."""
    limit: Annotated[int, Field(ge=1, le=MOST_AT_ONCE)] = 1000
    """At most so many messages; the answer says from where to go on."""
    cursor: Identifier | None = None
    """The `next_cursor` of the call before."""

    @model_validator(mode="after")
    def _leads_somewhere(self) -> Self:
        if (self.action == "reroute") != (self.account is not None):
            raise ValueError("account is said for a reroute, and for nothing else")
        return self
