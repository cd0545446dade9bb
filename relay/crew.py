"""Crew: the life of `stagepost serve` in several processes that are one instance (`server.workers`).

The parent takes the lock and binds the sockets, opens the store once (schema, first start, leases of the former life) and
closes it again, and makes what its workers will share. Then it forks them, and does nothing but watch: it has no event loop
and no threads, so it can fork a new worker at any time. What the workers share: docs/architecture.md.
"""

from __future__ import annotations

import asyncio
import dataclasses
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from relay.app import Relay
from relay.clock import SECOND
from relay.config import Config
from relay.configured import open_configured
from relay.instance import holder_name
from relay.last_words import EX_IOERR
from relay.serving import Doors, bound_doors, furnish, print_banner, run
from relay.workers.lifeline import Lifeline
from relay.workers.supervisor import Supervisor
from relay.workers.worker import Shared, Worker
from sidecar_api.site import bind_unix

T = TypeVar("T")
GRACE = 10.0
"""Seconds that a worker has for its stop beyond `server.shutdown_timeout`."""

Runner = Callable[[Coroutine[Any, Any, T]], T]
"""Runs a coroutine on an event loop of its own."""


def serve_in_workers(config: Config, runner: Runner[Any], explain: Callable[[Exception], int]) -> int:
    """Run the relay until SIGTERM or SIGINT; answers the exit code. `explain` tells the person who started it what kept a
    worker from its work, and answers the exit code that this means."""
    workers = config.server.workers
    with bound_doors(config) as bound, bind_unix(config.api_socket) as control:
        doors = dataclasses.replace(bound, api=[control, *bound.api], control=None)
        shared = Shared(
            workers, config.server.data_dir, config.smtp.max_connections, config.smtp.max_connections_per_client
        )
        admin_token = runner(_prepare(config, shared))

        def work(number: int, life: int, lifeline: Lifeline) -> int:
            try:
                runner(_work(config, doors, shared.worker(number, life), lifeline))
            except Exception as fault:
                return explain(fault)
            return 0

        def close_doors() -> None:
            for sock in (*(listener.sock for listener in doors.smtp), *doors.api):
                sock.close()

        supervisor = Supervisor(
            workers,
            work,
            grace=config.server.shutdown_timeout / SECOND + GRACE,
            fatal={EX_IOERR},  # what one process could not write to the disk, no other can vouch for
            on_ready=lambda: print_banner(config, doors, admin_token),
            on_stop=close_doors,
            on_death=shared.bury,
        )
        code = supervisor.run()
        config.api_socket.unlink(missing_ok=True)
        shared.clear()
        return code


async def _prepare(config: Config, shared: Shared) -> str | None:
    """What is done once for all workers; the secret of the admin token, where one was made."""
    store = await open_configured(config, is_parent=True)
    try:
        shared.depth.correct(await store.queue.open_deliveries())
        return await furnish(store)
    finally:
        await store.close()


async def _work(config: Config, doors: Doors, worker: Worker, lifeline: Lifeline) -> None:
    """A worker's whole life."""
    store = await open_configured(config, worker)
    try:
        relay = Relay(config, store, worker)
        stop = asyncio.Event()
        heirs: set[asyncio.Task[int]] = set()

        def take_over(number: int, life: int) -> None:
            """What a dead worker was attempting is anybody's again: ours, until it has come back."""
            dead = worker.holder(holder_name(config.server.data_dir), life, number)
            task = asyncio.get_running_loop().create_task(store.take_over(dead))
            heirs.add(task)
            task.add_done_callback(heirs.discard)

        lifeline.watch(died=take_over, orphaned=stop.set)
        await run(relay, doors, lifeline, (signal.SIGTERM,), lifeline.ready, stop)
        await asyncio.gather(*heirs, return_exceptions=True)
    finally:
        await store.close()
