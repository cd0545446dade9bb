"""The instance: its settings, how it and its queue stand, whether it is well, what a test of an account found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from typing_extensions import TypedDict

from relay.contracts.archive import QueueCounts
from relay.contracts.directory import ProbeResult
from relay.model.instance import DispatchSettings, Instance, Standing
from sidecar_api.schemas.exact import exact
from sidecar_api.schemas.examples import example, example_of
from sidecar_api.schemas.fields import Name, Strict
from sidecar_api.schemas.patch import Patch
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


class DispatchIn(Strict):
    """The scheduler."""

    active: bool
    """Whether anything is attempted; false: mail is taken in and waits."""


class DispatchPatch(Patch):
    """What can be changed of the scheduler."""

    active: bool = True
    """Whether anything is attempted; false: mail is taken in and waits, and what is being attempted is finished."""


@example({"name": "Shop relay", "dispatch": {"active": True}})
class InstanceIn(Strict):
    """All settings, so that none is reset in silence."""

    name: Name | None
    """For people; null is none."""
    dispatch: DispatchIn

    def instance(self) -> Instance:
        """As the relay keeps it."""
        return Instance(self.name, DispatchSettings(self.dispatch.active))


@example({"dispatch": {"active": False}})
class InstancePatch(Patch):
    """What can be changed of the instance."""

    name: Name | None = None
    """For people."""
    dispatch: DispatchPatch = DispatchPatch()


@exact
class DispatchOut(TypedDict):
    """The scheduler."""

    active: bool
    """Whether anything is attempted."""


@example({"name": "Shop relay", "dispatch": {"active": True}})
@exact
class InstanceSettingsOut(TypedDict):
    """The settings, which all instances on one store have in common."""

    name: str | None
    dispatch: DispatchOut


@exact
class DoorOut(TypedDict):
    """A socket at which it listens."""

    kind: str
    """`smtp` or `api`."""
    address: str
    tls: str
    """`none`, `starttls` or `implicit`."""


@example(
    {
        "version": "0.1.0",
        "since": "2026-01-01T08:00:00Z",
        "store": "sqlite",
        "workers": 1,
        "doors": [{"kind": "smtp", "address": "127.0.0.1:2525", "tls": "none"}],
        "dispatching": True,
        "queue": {"ready": 3, "leased": 1, "held": 0},
        "ill": {},
    }
)
@exact
class StatusOut(TypedDict):
    """How the instance stands that was asked."""

    version: str
    since: str | None
    """When it was started; null: no relay runs, a command works on its store."""
    store: str
    """`sqlite` or `postgresql`."""
    workers: int
    """Processes."""
    doors: list[DoorOut]
    dispatching: bool
    """Whether it attempts anything now: its configuration lets it, and the settings do not stop it."""
    queue: TotalsOut
    ill: dict[str, str]
    """What keeps it from being ready, by part; empty: it is."""


@example({"name": "Shop relay", "dispatch": {"active": True}, "status": example_of(StatusOut)})
@exact
class InstanceOut(TypedDict):
    """The settings, which all instances on one store have in common, and how the one that was asked stands."""

    name: str | None
    dispatch: DispatchOut
    status: StatusOut


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
        totals=_totals_out(counts),
        next_cursor=None,
    )


def _totals_out(counts: Sequence[QueueCounts]) -> TotalsOut:
    return TotalsOut(
        ready=sum(c.ready for c in counts),
        leased=sum(c.leased for c in counts),
        held=sum(c.held for c in counts),
    )


def settings_out(instance: Instance) -> InstanceSettingsOut:
    """The settings."""
    return InstanceSettingsOut(name=instance.name, dispatch=DispatchOut(active=instance.dispatch.active))


def instance_out(
    instance: Instance, standing: Standing, version: str, counts: Sequence[QueueCounts], ill: Mapping[str, str]
) -> InstanceOut:
    """Settings and status."""
    status = StatusOut(
        version=version,
        since=when(standing.since),
        store=standing.store,
        workers=standing.workers,
        doors=[DoorOut(kind=door.kind, address=door.address, tls=door.tls) for door in standing.doors],
        dispatching=standing.dispatching,
        queue=_totals_out(counts),
        ill=dict(ill),
    )
    return InstanceOut(**settings_out(instance), status=status)


def probe_out(result: ProbeResult) -> ProbeOut:
    """What the probe found."""
    return ProbeOut(ok=result.ok, phase=result.phase, detail=result.detail)
