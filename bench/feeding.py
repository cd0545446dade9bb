"""Filling queues by the API, in batches over the Unix sockets of instances, which need no token."""

import asyncio
from collections.abc import Sequence

from bench.instances_of_stagepost import Instance
from sidecar_api.client import Client

BATCH = 500
MESSAGE = {"from": "sender@bench.example", "to": ["recipient@sink.example"], "subject": "bench", "text": "x" * 1000}


async def feed(instances: Sequence[Instance], count: int, *, tenant: str = "default") -> list[str]:
    """Hand in so many messages, the instances side by side; their ids."""
    shares = [count // len(instances) + (number < count % len(instances)) for number in range(len(instances))]
    ids = await asyncio.gather(
        *(_feed_one(instance, share, tenant) for instance, share in zip(instances, shares, strict=True))
    )
    return [one for some in ids for one in some]


async def _feed_one(instance: Instance, count: int, tenant: str) -> list[str]:
    ids: list[str] = []
    async with Client.unix(instance.socket, timeout=120) as client:
        while len(ids) < count:
            messages = [MESSAGE] * min(BATCH, count - len(ids))
            answer = await client.request(
                "POST", "/v1/messages/batch", query={"tenant": tenant}, json={"messages": messages}
            )
            ids += [one["id"] for one in answer["items"]]
    return ids
