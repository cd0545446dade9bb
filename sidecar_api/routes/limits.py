"""Routes to limits."""

from __future__ import annotations

from sidecar_api.resources import limits
from sidecar_api.route import Group, get
from sidecar_api.schemas.limits import LimitsStandingOut

GROUP = Group(
    "limits",
    "How much of each limit is used, and when the next slot opens. Limits are set at accounts and tenants.",
    (get("/v1/limits", limits.list_limits, LimitsStandingOut, "How the limits of a tenant and its accounts stand"),),
)
