"""Routes to the instance as a whole, the public ones among them."""

from __future__ import annotations

from sidecar_api.auth import Access
from sidecar_api.openapi import show_openapi
from sidecar_api.resources import instance, reference
from sidecar_api.route import Group, Route, get, public
from sidecar_api.schemas.instance import HealthOut, QueuesOut
from sidecar_api.schemas.queries import NoQuery

GROUP = Group(
    "instance",
    "How the instance stands, its health, its metrics, its own description.",
    (
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
