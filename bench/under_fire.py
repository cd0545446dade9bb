"""Several instances, limits and tenants under load: what must hold, counted at a sink that knows every message.

`instances`: 20 000 messages through several instances on one PostgreSQL: none twice. `limit`: two instances under one limit
of 600 a minute with a backlog, watched for three minutes: never one more in any minute. `fairness`: a tenant with ten
messages beside one with 100 000 on the same account. `connections`: a thousand clients in the middle of large messages.
"""

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import uvloop

from bench import report
from bench.conversation import Conversation, filler, together
from bench.counting_sink import counting_sink
from bench.feeding import feed
from bench.instances_of_stagepost import Instance, instances
from bench.processes import LOOPBACK, BenchError, end_on_sigterm, free_port, scratch_directory
from bench.relays import default_work_directory
from bench.usage import mebibytes, memory
from sidecar_api.client import Client

MINUTE = 60.0
AT_ONCE = 50
"""Clients that connect side by side."""


def main() -> int:
    """Measure as the command line asks."""
    options = _parse()
    end_on_sigterm()
    measures = {"instances": _instances, "limit": _limit, "fairness": _fairness, "connections": _connections}
    try:
        document = report.frame(f"under_fire {options.what}", options, "")
        with scratch_directory(options.work_dir) as directory:
            document["result"] = uvloop.run(measures[options.what](options, directory))
    except (BenchError, OSError, TimeoutError) as error:
        print(f"error: {error!r}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(json.dumps(document if options.json else document["result"], indent=2))
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.under_fire", description=__doc__)
    parser.add_argument("what", choices=["instances", "limit", "fairness", "connections"])
    parser.add_argument("--count", type=int, default=2, help="instances")
    parser.add_argument("--messages", type=int, default=20_000, help="messages, or the backlog of the busy tenant")
    parser.add_argument("--few", type=int, default=10, help="messages of the other tenant")
    parser.add_argument("--times", type=int, default=5, help="how often they are handed in (fairness)")
    parser.add_argument("--delay", type=float, default=0.05, help="how long the sink waits with its answer (fairness)")
    parser.add_argument("--own-accounts", action="store_true", help="an account for each tenant (fairness)")
    parser.add_argument("--per-minute", type=int, default=600, help="the limit")
    parser.add_argument("--seconds", type=float, default=185.0, help="how long the limit is watched")
    parser.add_argument("--connections", type=int, default=1000, help="clients in the middle of a message")
    parser.add_argument("--deadline", type=float, default=400.0, help="seconds after which it is given up")
    parser.add_argument("--storage", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--work-dir", type=Path, default=default_work_directory())
    parser.add_argument("--json", action="store_true", help="print the whole report as one JSON document")
    return parser.parse_args()


async def _instances(options: argparse.Namespace, directory: Path) -> dict[str, Any]:
    port = free_port()
    account = ["--max-connections", "20"]
    async with counting_sink(port) as ledger, instances(directory, options.count, port, account=account) as running:
        start = time.monotonic()
        ids = await feed(running, options.messages)
        fed = time.monotonic()
        end = await ledger.wait_for_all(set(ids), options.deadline)
        await _until_empty(running[0], options.deadline)  # what is not settled yet might be sent again
    return {
        "instances": options.count,
        "messages": len(ids),
        "duplicates": ledger.duplicates,
        "accepted_per_s": round(len(ids) / (fed - start), 1),
        "delivered_per_s": round(len(ids) / (end - start), 1),
    }


async def _until_empty(instance: Instance, seconds: float) -> None:
    async with asyncio.timeout(seconds), Client.unix(instance.socket) as admin:
        while any((await admin.request("GET", "/v1/queue"))["totals"].values()):  # noqa: ASYNC110 - another process's queue
            await asyncio.sleep(0.2)


async def _limit(options: argparse.Namespace, directory: Path) -> dict[str, Any]:
    port = free_port()
    limit = ["--limit-per-minute", str(options.per_minute), "--max-connections", "20"]
    async with counting_sink(port) as ledger, instances(directory, options.count, port, account=limit) as running:
        backlog = round(options.per_minute * (options.seconds / MINUTE + 1))
        feeding = asyncio.create_task(feed(running, backlog))
        await ledger.wait_for(1, options.deadline)
        await asyncio.sleep(options.seconds)  # a watch, as long as it was asked for
        await feeding
        times = list(ledger.times)
    whole = int((times[-1] - times[0]) // MINUTE)
    return {
        "instances": options.count,
        "limit_per_minute": options.per_minute,
        "watched_seconds": options.seconds,
        "received": len(times),
        "duplicates": ledger.duplicates,
        "most_in_any_minute": most_within(times, MINUTE),
        "in_each_whole_minute": [
            sum(1 for at in times if times[0] + n * MINUTE <= at < times[0] + (n + 1) * MINUTE) for n in range(whole)
        ],
    }


def most_within(times: list[float], window: float) -> int:
    """The most of these moments, in order, that lie in any window of that length."""
    most = first = 0
    for last, at in enumerate(times):
        while at - times[first] >= window:
            first += 1
        most = max(most, last - first + 1)
    return most


async def _fairness(options: argparse.Namespace, directory: Path) -> dict[str, Any]:
    alone, _ = await _few(options, directory, 0)
    beside, left = await _few(options, directory, options.messages)
    middle = statistics.median(alone), statistics.median(beside)
    return {
        "backlog_of_the_other": options.messages,
        "left_of_it_at_the_end": left,
        "messages": options.few,
        "times": options.times,
        "own_accounts": options.own_accounts,
        "alone_seconds": round(middle[0], 3),
        "beside_seconds": round(middle[1], 3),
        "beside_seconds_at_most": round(max(beside), 3),
        "ratio": round(middle[1] / middle[0], 2),
    }


async def _few(options: argparse.Namespace, directory: Path, backlog: int) -> tuple[list[float], int]:
    """How long the few messages of one tenant take from the first request to the last delivery, each time; and how much is
    left of the other's backlog."""
    port = free_port()
    async with contextlib.AsyncExitStack() as stack:
        ledger = await stack.enter_async_context(counting_sink(port, options.delay))
        own = stack.enter_context(scratch_directory(directory))
        running = await stack.enter_async_context(
            instances(own, 1, port, storage=options.storage, account=["--shared"])
        )
        async with Client.unix(running[0].socket) as admin:
            for tenant in ("busy", "quiet"):
                await admin.request("POST", "/v1/tenants", json={"id": tenant})
                if options.own_accounts:
                    account = {"id": "own", "host": LOOPBACK, "port": port, "tls": "none", "default": True}
                    await admin.request("POST", "/v1/accounts", query={"tenant": tenant}, json=account)
        await feed(running, options.few, tenant="quiet")  # once, so that both cases find kept connections
        await ledger.wait_for(options.few, options.deadline)
        await feed(running, backlog, tenant="busy")
        taken = []
        for _ in range(options.times):
            start = time.monotonic()
            ids = await feed(running, options.few, tenant="quiet")
            taken.append(await ledger.wait_for_all(set(ids), options.deadline) - start)
        return taken, options.few * (options.times + 1) + backlog - len(ledger.last)


async def _connections(options: argparse.Namespace, directory: Path) -> dict[str, Any]:
    port, size = free_port(), 25_000_000
    settings = {"smtp": {"max_connections": "2000", "max_connections_per_client": "2000"}}
    async with (
        counting_sink(port),
        instances(directory, 1, port, storage=options.storage, settings=settings) as running,
    ):
        relay = running[0]
        idle = memory(relay.pid)
        barrier = asyncio.Barrier(options.connections + 1)
        some = asyncio.Semaphore(AT_ONCE)
        conversations = (_half_sent(relay.smtp_port, size, barrier, some) for _ in range(options.connections))
        clients = asyncio.create_task(together(conversations))
        ready = asyncio.create_task(barrier.wait())
        await asyncio.wait({ready, clients}, timeout=options.deadline, return_when=asyncio.FIRST_COMPLETED)
        if clients.done():
            await clients
        if not ready.done():
            raise BenchError(f"{barrier.n_waiting} of {options.connections} clients got so far in time")
        await asyncio.sleep(2)  # until what was sent last has been read
        held = memory(relay.pid)
        clients.cancel()
        await asyncio.gather(clients, return_exceptions=True)
    return {
        "connections": options.connections,
        "idle_mib": mebibytes(idle.resident),
        "held_mib": mebibytes(held.resident),
    }


async def _half_sent(port: int, size: int, barrier: asyncio.Barrier, some: asyncio.Semaphore) -> None:
    await (
        some.acquire()
    )  # a listener's backlog is short: a thousand connections in one moment would be dropped by the kernel
    async with Conversation.open(port) as session:
        some.release()
        await session.begin("sender@bench.example", "recipient@sink.example", size)
        await session.content(b"Subject: held\r\n\r\n" + filler(256 * 1024))
        await barrier.wait()
        await asyncio.Event().wait()


if __name__ == "__main__":
    sys.exit(main())
