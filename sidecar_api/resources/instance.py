"""The instance: how its queue stands, whether it is well, its metrics, its own description."""

from __future__ import annotations

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from sidecar_api.call import Call, answer
from sidecar_api.problems import Problem
from sidecar_api.schemas.instance import HealthOut, queues_out


async def show_queue(call: Call) -> web.Response:
    """GET /v1/queue."""
    return answer(200, queues_out(await call.services.archive.counts()))


async def show_live(call: Call) -> web.Response:
    """GET /health/live: the process answers."""
    return answer(200, HealthOut(status="live", version=call.services.version))


async def show_ready(call: Call) -> web.Response:
    """GET /health/ready: 503 naming the ill parts, where there are some."""
    ill = await call.services.readiness()
    if ill:
        detail = f"not ready: {', '.join(sorted(ill))}"
        return Problem(503, "not_ready", detail, headers={"Retry-After": "5"}, parts=ill).response(call.request_id)
    return answer(200, HealthOut(status="ready", version=call.services.version))


async def show_metrics(call: Call) -> web.Response:
    """GET /metrics, as Prometheus reads it."""
    return web.Response(body=await call.services.metrics(), headers={"Content-Type": CONTENT_TYPE_LATEST})
