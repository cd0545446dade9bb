"""What the API shows of the instance: how its queue stands, whether it is well, what a test of an account found."""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import TypedDict

from relay.contracts import ProbeResult, QueueCounts
from sidecar_api.schemas.exact import exact
from sidecar_api.schemas.examples import example
from sidecar_api.schemas.views import when


@example(
    {
        "queue_key": "acme/out/acme",
        "ready": 3,
        "suspended": 0,
        "leased": 1,
        "held": 0,
        "next_due": "2026-01-01T09:05:00Z",
    }
)
@exact
class QueueOut(TypedDict):
    """Deliveries of one queue by state."""

    queue_key: str
    ready: int
    suspended: int
    leased: int
    held: int
    next_due: str | None


@example({"ready": 3, "leased": 1, "held": 0})
@exact
class TotalsOut(TypedDict):
    """Over all queues."""

    ready: int
    leased: int
    held: int


@exact
class QueuesOut(TypedDict):
    """How the queue stands."""

    items: list[QueueOut]
    totals: TotalsOut
    next_cursor: str | None


@example({"ok": True, "phase": "auth", "detail": "235 2.7.0 accepted"})
@exact
class ProbeOut(TypedDict):
    """What a test of an account found: the phase reached, and the reply or error there."""

    ok: bool
    phase: str
    detail: str


@example({"status": "ready", "version": "0.1.0"})
@exact
class HealthOut(TypedDict):
    """Fine."""

    status: str
    version: str


def queues_out(counts: Sequence[QueueCounts]) -> QueuesOut:
    """Every queue, and the totals."""
    return QueuesOut(
        items=[
            QueueOut(
                queue_key=c.queue_key,
                ready=c.ready,
                suspended=c.suspended,
                leased=c.leased,
                held=c.held,
                next_due=when(c.next_due),
            )
            for c in counts
        ],
        totals=TotalsOut(
            ready=sum(c.ready for c in counts),
            leased=sum(c.leased for c in counts),
            held=sum(c.held for c in counts),
        ),
        next_cursor=None,
    )


def probe_out(result: ProbeResult) -> ProbeOut:
    """What the probe found."""
    return ProbeOut(ok=result.ok, phase=result.phase, detail=result.detail)
