"""What the commands on the queue are given and answer."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from relay.model.tenant import Tenant
from sidecar_api.genro.faults import GenroRejectedOut
from sidecar_api.schemas.exact import exact
from sidecar_api.schemas.examples import example
from sidecar_api.schemas.fields import Strict

ALL = "*"
"""Stands for all batches of a tenant."""
MOST_IDS = 10_000
WEEK = 7 * 86_400


@example({"ids": ["invoice-117"]})
class GenroDeleteIn(Strict):
    """Messages by the client's own ids, or by `pk`."""

    ids: list[Annotated[str, Field(max_length=255)]] = Field(max_length=MOST_IDS)


@example({"older_than_seconds": 604800})
class GenroCleanupIn(Strict):
    """For how long a message has been closed."""

    older_than_seconds: Annotated[int, Field(le=10**10)] | None = None
    """A week, where nothing is said."""


@example({"ok": True})
@exact
class GenroOkOut(TypedDict):
    """Done."""

    ok: bool


@example({"ok": True, "queued": 1, "rejected": [{"id": "invoice-118", "reason": "missing subject"}]})
@exact
class GenroQueuedOut(TypedDict):
    """How many messages were accepted, and why the others were not."""

    ok: bool
    queued: int
    rejected: list[GenroRejectedOut]


@example({"ok": True, "removed": 1, "not_found": [], "unauthorized": ["invoice-9"], "under_way": []})
@exact
class GenroDeletedOut(TypedDict):
    """How many messages were removed, and the ids of the others."""

    ok: bool
    removed: int
    not_found: list[str]
    """Always empty: what is not the tenant's is in `unauthorized`, whether it is anybody's or not."""
    unauthorized: list[str]
    under_way: list[str]
    """Being sent at this moment, so that they cannot be taken back."""


@example({"ok": True, "removed": 120})
@exact
class GenroRemovedOut(TypedDict):
    """How many messages were removed."""

    ok: bool
    removed: int


@example(
    {
        "ok": True,
        "tenant_id": "acme",
        "batch_code": "spring-2026",
        "suspended_batches": ["spring-2026"],
        "pending_messages": 4711,
    }
)
@exact
class GenroSuspensionOut(TypedDict):
    """What stands still from now on."""

    ok: bool
    tenant_id: str
    batch_code: str | None
    suspended_batches: list[str]
    """`*` alone is all of them, and what belongs to none."""
    pending_messages: int
    """Of the batch, or of the tenant: how many are not closed."""


def suspended_batches(tenant: Tenant) -> list[str]:
    """What of a tenant's mail stands still."""
    if tenant.suspends(None):
        return [ALL]
    return sorted(batch for batch, suspended in tenant.suspensions.items() if batch and suspended)
