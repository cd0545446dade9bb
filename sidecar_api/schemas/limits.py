"""Limits of accounts, tenants and destination domains, as the API reads and shows them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from typing_extensions import TypedDict

from relay.model.explanation import LimitStanding
from relay.model.limit import Limits, LimitUnit, OnLimit
from sidecar_api.schemas.exact import exact
from sidecar_api.schemas.examples import example, example_of
from sidecar_api.schemas.fields import (
    Count,
    Strict,
)
from sidecar_api.schemas.patch import Patch
from sidecar_api.schemas.views import when

_Unit = Annotated[
    Literal["messages", "recipients"], Field(description="what is counted: messages, or the recipients they reach")
]
_OnLimit = Annotated[
    Literal["defer", "reject"], Field(description="mail over the limit waits for the next open slot, or fails")
]


class LimitsIn(Strict):
    """How much may be sent in any window of that length; null is no limit."""

    per_minute: Count | None = None
    per_hour: Count | None = None
    per_day: Count | None = None
    unit: _Unit = "messages"
    on_limit: _OnLimit = "defer"

    def limits(self) -> Limits:
        """As the relay keeps them."""
        return Limits(self.per_minute, self.per_hour, self.per_day, LimitUnit(self.unit), OnLimit(self.on_limit))


class LimitsPatch(Patch):
    """What can be changed of them; null lifts a limit."""

    per_minute: Count | None = None
    per_hour: Count | None = None
    per_day: Count | None = None
    unit: Annotated[_Unit, AfterValidator(lambda word: LimitUnit(word))] = "messages"
    on_limit: Annotated[_OnLimit, AfterValidator(lambda word: OnLimit(word))] = "defer"


@example({"per_minute": None, "per_hour": 500, "per_day": None, "unit": "messages", "on_limit": "defer"})
@exact
class LimitsOut(TypedDict):
    """Limits; null is none."""

    per_minute: int | None
    per_hour: int | None
    per_day: int | None
    unit: str
    on_limit: str


def limits_out(limits: Limits) -> LimitsOut:
    """Limits."""
    return LimitsOut(
        per_minute=limits.per_minute,
        per_hour=limits.per_hour,
        per_day=limits.per_day,
        unit=limits.unit,
        on_limit=limits.on_limit,
    )


@example({"length": "hour", "most": 500, "used": 421, "left": 79})
@exact
class WindowOut(TypedDict):
    """A window (`minute`, `hour` or `day`) that slides: what was sent within it or is under way, and what may still go."""

    length: str
    most: int
    used: int
    left: int


@example(
    {
        "kind": "account",
        "name": "out",
        "tenant": "acme",
        "unit": "messages",
        "on_limit": "defer",
        "windows": [example_of(WindowOut)],
        "under_way": 1,
        "next_slot_at": None,
    }
)
@exact
class LimitStandingOut(TypedDict):
    """A limit of an `account`, a `tenant` or a tenant's mail to a `domain`; `next_slot_at` null: one is open now."""

    kind: str
    name: str
    tenant: str
    unit: str
    on_limit: str
    windows: list[WindowOut]
    under_way: int
    next_slot_at: str | None


@exact
class LimitsStandingOut(TypedDict):
    """All that are set."""

    items: list[LimitStandingOut]
    next_cursor: str | None


def limit_standing_out(tenant: str, kind: str, name: str, limits: Limits, standing: LimitStanding) -> LimitStandingOut:
    """A limit as it stands."""
    return LimitStandingOut(
        kind=kind,
        name=name,
        tenant=tenant,
        unit=limits.unit,
        on_limit=limits.on_limit,
        windows=[
            WindowOut(length=one.length, most=one.most, used=one.used, left=max(0, one.most - one.used))
            for one in standing.windows
        ],
        under_way=standing.in_flight,
        next_slot_at=when(standing.opens_at),
    )
