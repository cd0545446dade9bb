"""The instance: its settings, how it and its queue stand, whether it is well, its metrics, its own description."""

from __future__ import annotations

from collections.abc import Callable

import orjson
from aiohttp import hdrs, web
from prometheus_client import CONTENT_TYPE_LATEST

from relay.model.instance import Instance
from sidecar_api.call import Call, answer
from sidecar_api.etags import etag_of, must_match
from sidecar_api.problems import Problem
from sidecar_api.schemas.instance import (
    HealthOut,
    InstanceIn,
    InstancePatch,
    instance_out,
    queues_out,
    settings_out,
)


async def show_instance(call: Call) -> web.Response:
    """GET /v1/instance. The tag is of the settings, with which they may be changed; the status is never the same twice."""
    services = call.services
    settings = await services.directory.instance()
    counts, ill = await services.archive.counts(), await services.readiness()
    shown = instance_out(settings, services.standing(), services.version, counts, ill)
    return answer(200, shown, {hdrs.ETAG: etag_of(orjson.dumps(settings_out(settings)))})


async def replace_instance(call: Call) -> web.Response:
    """PUT /v1/instance."""
    wanted = call.given(InstanceIn).instance()
    return await _change(call, lambda _: wanted)


async def change_instance(call: Call) -> web.Response:
    """PATCH /v1/instance."""
    return await _change(call, call.given(InstancePatch).apply_to)


async def _change(call: Call, changed: Callable[[Instance], Instance]) -> web.Response:
    """Answered when this process acts by it; the others have been told."""

    def change(instance: Instance) -> Instance:
        must_match(call.request, settings_out(instance))
        return changed(instance)

    settings = await call.services.directory.change_instance(change)
    await call.services.follow()
    return answer(200, settings_out(settings))


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
