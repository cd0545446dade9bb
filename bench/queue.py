"""A queue of a million messages: what a claim costs, how long a start takes, and how much memory.

The rows are written straight into the store (bench.filling), most of them due in the days to come, over ten tenants and all
priorities. One claim runs at a time, so that its figure is the claim's own.
"""

import argparse
import asyncio
import json
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import uvloop

from bench import report
from bench.filling import Filling, fill
from bench.postgres import private_postgresql
from bench.processes import LOOPBACK, BenchError, end_on_sigterm, free_port, running, scratch_directory, wait_until
from bench.relays import default_work_directory
from bench.stagepost_relay import is_ready
from bench.usage import mebibytes, memory
from relay.clock import HOUR, MINUTE, SystemClock
from relay.model.delivery import Settlement
from relay.model.message import DeliveryState
from relay.model.tenant import Account, AccountKind, Tenant
from storage import Store, open_store

TENANTS = 10
CLAIMED = 10
ROUNDS = 500
# one in twenty is due, the others within two days
_DUE = "CASE WHEN i % 200 < 10 THEN -i ELSE 3600000000 + i * 100000 END"


def main() -> int:
    """Measure as the command line asks."""
    options = _parse()
    end_on_sigterm()
    try:
        document = report.frame("queue", options, "")
        with scratch_directory(options.work_dir) as directory:
            if options.storage == "sqlite":
                document["result"] = uvloop.run(_measure(options, directory, f"sqlite:///{directory / 'stagepost.db'}"))
            else:
                with private_postgresql(directory) as server:
                    document["result"] = uvloop.run(_measure(options, directory, server.url))
    except (BenchError, OSError, TimeoutError) as error:
        print(f"error: {error!r}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(json.dumps(document if options.json else document["result"], indent=2))
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.queue", description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--storage", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--work-dir", type=Path, default=default_work_directory())
    parser.add_argument("--json", action="store_true", help="print the whole report as one JSON document")
    return parser.parse_args()


async def _measure(options: argparse.Namespace, directory: Path, url: str) -> dict[str, Any]:
    clock = SystemClock()
    await _prepare(url, directory, clock)
    began = time.monotonic()
    await fill(url, Filling(options.messages, "main", tenant=f"'t' || (i % {TENANTS})", priority="i % 4", due=_DUE))
    filled = time.monotonic() - began
    store = await _open(url, directory, clock)
    try:
        claims, settlements = await _claims(store, clock)
        start = time.perf_counter()
        heads = await store.queue.heads()
        heads_ms = (time.perf_counter() - start) * 1000
    finally:
        await store.close()
    return {
        "messages": options.messages,
        "queues": len(heads),
        "filled_in_seconds": round(filled, 1),
        "claim_of_ten_ms": report.distribution(claims),
        "settlement_of_one_ms": report.distribution(settlements),
        "heads_ms": round(heads_ms, 2),
        **await asyncio.to_thread(_start, directory, url),
    }


async def _open(url: str, directory: Path, clock: SystemClock) -> Store:
    return await open_store(url, holder="bench", lease=5 * MINUTE, clock=clock, key_file=directory / "key")


async def _prepare(url: str, directory: Path, clock: SystemClock) -> None:
    store = await _open(url, directory, clock)
    for number in range(TENANTS):
        tenant = f"t{number}"
        await store.directory.add_tenant(Tenant(tenant, tenant, None, clock.now()))
        await store.directory.add_account(Account(tenant, "main", AccountKind.CAPTURE), default=True)
    await store.close()


async def _claims(store: Store, clock: SystemClock) -> tuple[list[float], list[float]]:
    """Seconds of each claim of ten, and of each settlement of what it brought, which is put off as by a 450.

    Both are whole transactions, as dispatch waits for them, with their COMMIT and its fsync: a claim leases ten deliveries,
    reads their messages, content and recipients, and when the queue is due next. What a settlement takes is for the most
    part what a commit takes on this machine.
    """
    claims, settlements = [], []
    for number in range(ROUNDS):
        key = f"t{number % TENANTS}/main/t{number % TENANTS}"
        start = time.perf_counter()
        claim = await store.queue.claim(key, CLAIMED)
        claims.append(time.perf_counter() - start)
        if len(claim.deliveries) < CLAIMED:
            raise BenchError(f"only {len(claim.deliveries)} of {CLAIMED} deliveries were due: take more messages")
        for one in claim.deliveries:
            later = Settlement(
                one.id, one.attempt, one.message.id, one.message.tenant, key, DeliveryState.READY, clock.now() + HOUR,
                clock.now(), (), (),
            )  # fmt: skip
            start = time.perf_counter()
            await store.queue.settle(later)
            settlements.append(time.perf_counter() - start)
    return claims, settlements


def _start(directory: Path, url: str) -> dict[str, Any]:
    """A relay on that store, which is not to send."""
    program, port = Path(sys.executable).with_name("stagepost"), free_port()
    config = directory / "stagepost.ini"
    config.write_text(
        f"[server]\ndata_dir = {directory / 'data'}\n[storage]\nurl = {url}\n[security]\nkey_file = {directory / 'key'}\n"
        f"[smtp]\nlisten = {LOOPBACK}:{free_port()}\n[api]\nlisten = {LOOPBACK}:{port}\n"
        "[queue]\nmax_messages = 2000000\n[dispatch]\nactive = false\n"
    )
    began = time.monotonic()
    with running([program, "serve", "--config", config], log=directory / "stagepost.log") as process:
        wait_until(lambda: is_ready(port), process, "stagepost")
        ready = time.monotonic() - began
        start = time.monotonic()
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/metrics") as answer:  # our own
            answer.read()
        return {
            "start_seconds": round(ready, 2),
            "resident_mib": mebibytes(memory(process.pid).resident),
            "metrics_ms": round((time.monotonic() - start) * 1000, 1),
        }


if __name__ == "__main__":
    sys.exit(main())
