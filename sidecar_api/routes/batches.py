"""Routes to batches."""

from __future__ import annotations

from sidecar_api.auth import Access
from sidecar_api.resources import suspensions
from sidecar_api.route import Group, act, get
from sidecar_api.schemas import suspensions as shapes
from sidecar_api.schemas.queries import BatchesQuery

GROUP = Group(
    "batches",
    "Messages with one batch code, such as a campaign: how they stand; stopped and resumed together.",
    (
        get("/v1/batches", suspensions.list_batches, shapes.BatchesOut, "List batches", query=BatchesQuery),
        act(
            "/v1/batches/{batch}/suspend",
            suspensions.suspend_batch,
            shapes.SuspensionOut,
            "Stop a batch; what is attempted at this moment is finished",
            access=Access.MANAGE,
        ),
        act(
            "/v1/batches/{batch}/resume",
            suspensions.resume_batch,
            shapes.SuspensionOut,
            "Resume a batch, even while its tenant stays suspended",
            access=Access.MANAGE,
        ),
    ),
)
