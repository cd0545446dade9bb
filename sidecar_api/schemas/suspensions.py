"""Suspensions and batches, as the API shows them."""

from __future__ import annotations

from typing_extensions import TypedDict

from relay.contracts.suspensions import BatchStanding
from relay.model.message import MessageState
from sidecar_api.schemas.exact import exact
from sidecar_api.schemas.examples import example


@example({"tenant": "acme", "batch": "spring-2026", "suspended": True, "pending": 4711})
@exact
class SuspensionOut(TypedDict):
    """Whether a tenant or one of its batches stands still, and how many of its messages are not closed."""

    tenant: str
    batch: str | None
    suspended: bool
    pending: int


@example({"open": 4711, "sent": 289})
@exact
class StateCountsOut(TypedDict, total=False):
    """Messages by state; a state in which there are none is left out."""

    preparing: int
    open: int
    held: int
    sent: int
    partial: int
    failed: int
    cancelled: int
    captured: int


@example({"tenant": "acme", "batch": "spring-2026", "suspended": True, "messages": {"open": 4711, "sent": 289}})
@exact
class BatchStandingOut(TypedDict):
    """A batch: how its messages stand, and whether it is suspended, by itself or with its tenant."""

    tenant: str
    batch: str
    suspended: bool
    messages: StateCountsOut


@exact
class BatchesOut(TypedDict):
    """A page, by name."""

    items: list[BatchStandingOut]
    next_cursor: str | None


def batch_standing_out(batch: BatchStanding) -> BatchStandingOut:
    """A batch."""
    counts = StateCountsOut()
    for state in MessageState:
        if state in batch.messages:
            counts[state.value] = batch.messages[state]
    return BatchStandingOut(tenant=batch.tenant, batch=batch.batch, suspended=batch.suspended, messages=counts)
