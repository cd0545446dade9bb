"""Routes to the instance as a whole, the public ones among them."""

from __future__ import annotations

from sidecar_api.auth import Access
from sidecar_api.openapi import show_openapi
from sidecar_api.resources import instance, reference
from sidecar_api.route import Group, Route, get, patch, public, put
from sidecar_api.schemas import instance as shapes
from sidecar_api.schemas.instance import HealthOut, QueuesOut
from sidecar_api.schemas.queries import NoQuery

GROUP = Group(
    "instance",
    "The instance's settings, how it stands, its health, its metrics, its own description.",
    (
        Route(
            "GET",
            "/v1/instance",
            instance.show_instance,
            Access.ADMIN_READ,
            "Settings and status",
            {200: shapes.InstanceOut},
            tagged_in_part=True,
            description="The `ETag` is of the settings (`name` and `dispatch`) alone: a change may be bound to it.",
        ),
        put(
            "/v1/instance",
            instance.replace_instance,
            shapes.InstanceIn,
            shapes.InstanceSettingsOut,
            "Put all settings in the place of what is there",
            access=Access.ADMIN,
            query=NoQuery,
        ),
        patch(
            "/v1/instance",
            instance.change_instance,
            shapes.InstancePatch,
            shapes.InstanceSettingsOut,
            "Change settings: stop and start the scheduler, name the instance",
            access=Access.ADMIN,
            query=NoQuery,
        ),
        get(
            "/v1/queue",
            instance.show_queue,
            QueuesOut,
            "How the queue stands",
            access=Access.ADMIN_READ,
            query=NoQuery,
        ),
        public("/health/live", instance.show_live, HealthOut, "Whether the process answers"),
        public(
            "/health/ready",
            instance.show_ready,
            HealthOut,
            "Whether it can do its work; 503 names the ill parts",
            problems=frozenset({422, 503}),
        ),
        Route(
            "GET",
            "/metrics",
            instance.show_metrics,
            Access.METRICS,
            "Metrics for Prometheus; from loopback without a token",
            {200: "text/plain"},
            problems=frozenset({401, 422}),
        ),
        public("/openapi.json", show_openapi, dict, "The description of this API", tagged=True),
        public("/docs", reference.show_docs, "text/html", "This reference", tagged=True),
        public("/docs/reference.css", reference.show_style, "text/css", "Its style", tagged=True),
        public("/docs/reference.js", reference.show_script, "text/javascript", "Its script", tagged=True),
    ),
)
