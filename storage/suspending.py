"""Suspending and resuming a tenant or one of its batches (relay.contracts.Suspensions).

A suspension is a row. Deliveries are not touched by it: a claim that meets one puts it aside, with a mark that takes it out
of every later claim's way. A resumption changes the row and then lifts the marks, some hundred in a transaction; whoever
asked for it waits for the first of them only. Until all are lifted the row says so (`swept`), and what a crash or
an outage cut off is finished later.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Sequence

from relay.contracts.suspensions import BatchStanding
from relay.errors import NotFound, RelayError
from relay.model.message import MessageState
from relay.model.tenant import Tenant
from storage.configuration import begin_change, find_tenant
from storage.database import Database
from storage.directory import Directory
from storage.notices import ready_notes
from storage.queue import ReadyCallback
from storage.work import Lock, Work, execute, fetch, fetch_one, notify

AT_ONCE = 500
"""Marks lifted in one transaction."""
WHOLE = ""
"""Stands for the tenant itself among its batches."""

log = logging.getLogger(__name__)

Ready = Sequence[tuple[str, int]]
"""Queue key and due time of each delivery that may go again."""


class Suspensions:
    """Satisfies relay.contracts.Suspensions."""

    def __init__(self, database: Database, directory: Directory, on_ready: ReadyCallback) -> None:
        self._database = database
        self._directory = directory
        self._on_ready = on_ready
        self._sweeps: set[asyncio.Task[None]] = set()

    async def suspend(self, tenant: str, batch: str | None, at: int) -> int:
        """See Suspensions."""
        await self._directory.change(_suspend(tenant, batch or WHOLE, at))
        return await self._pending(tenant, batch)

    async def resume(self, tenant: str, batch: str | None, at: int, *, everything: bool = False) -> int:
        """See Suspensions."""
        if await self._directory.change(_resume(tenant, batch or WHOLE, at, everything=everything)):
            await self._lift(tenant)
            sweep = asyncio.get_running_loop().create_task(self._sweep(tenant))
            self._sweeps.add(sweep)
            sweep.add_done_callback(self._sweeps.discard)
        return await self._pending(tenant, batch)

    async def batches(self, tenant: str, after: str, limit: int) -> Sequence[BatchStanding]:
        """See Suspensions."""
        return await self._database.read(_batches(tenant, after, limit))

    async def finish(self) -> None:
        """Lift what resumptions have left, if any did; for the start and the janitor."""
        for (tenant,) in await self._database.read(fetch("unswept_tenants")):
            await self._sweep(tenant)

    async def close(self) -> None:
        """What is still to be lifted is lifted after the next start."""
        for sweep in self._sweeps:
            sweep.cancel()
        await asyncio.gather(*self._sweeps, return_exceptions=True)

    async def _pending(self, tenant: str, batch: str | None) -> int:
        statement = "pending_of_tenant" if batch is None else "pending_of_batch"
        row = await self._database.read(fetch_one(statement, {"tenant": tenant, "batch": batch}))
        return int(row[0]) if row else 0

    async def _sweep(self, tenant: str) -> None:
        try:
            while await self._lift(tenant):
                pass
            await self._directory.change(_finish(tenant))
        except RelayError as error:
            log.warning("the resumption of mail of %s is interrupted and goes on in some minutes: %s", tenant, error)

    async def _lift(self, tenant: str) -> bool:
        """Some marks, and word of what may go; whether there were any."""
        ready = await self._database.write(_lift(tenant))
        for queue_key, due in ready:
            self._on_ready(queue_key, due)
        return bool(ready)


def _suspend(tenant: str, batch: str, at: int) -> Work[None]:
    yield from begin_change()
    yield from _require(tenant)
    yield Lock("lock_suspensions", [(tenant,)])
    yield from _put(tenant, batch, at, suspended=True)


def _resume(tenant: str, batch: str, at: int, *, everything: bool) -> Work[bool]:
    """Whether anything stood suspended. The row of what is resumed says until the sweep is done that it is not."""
    yield from begin_change()
    yield Lock("lock_suspensions", [(tenant,)])
    found = yield from _require(tenant)
    if batch == WHOLE:
        yield from execute("delete_batch_resumptions", {"tenant": tenant, "all": int(everything)})
    if not found.suspensions:
        return False
    yield from _put(tenant, batch, at, suspended=False)
    return True


def _put(tenant: str, batch: str, at: int, *, suspended: bool) -> Work[None]:
    values = {"tenant": tenant, "batch": batch, "suspended": int(suspended), "swept": int(suspended), "at": at}
    yield from execute("put_suspension", values)


def _require(tenant: str) -> Work[Tenant]:
    found = yield from find_tenant(tenant)
    if found is None:
        raise NotFound(f"no tenant {tenant}")
    return found


def _free_batch(tenant: str) -> Work[str | None]:
    """One that has marked deliveries though nothing suspends it any more."""
    found = yield from find_tenant(tenant)
    rows = yield from fetch("marked_batches", {"tenant": tenant})
    free = (batch for (batch,) in rows if found is None or not found.suspends(batch or None))
    return next(free, None)


def _lift(tenant: str) -> Work[Ready]:
    batch = yield from _free_batch(tenant)
    if batch is None:
        return ()
    rows = yield from fetch("marked_deliveries", {"tenant": tenant, "batch": batch, "count": AT_ONCE})
    marked = [(message, number) for message, number in rows]
    yield Lock("lock_deliveries", sorted({(message,) for message, _ in marked}))
    ready = [(key, due) for key, due in (yield from fetch("lift_marks", given=marked))]
    yield from notify(ready_notes(ready))
    return ready


def _finish(tenant: str) -> Work[None]:
    """Nothing marks a delivery for what was resumed: whoever was about to has been waited for by `_resume`."""
    yield from begin_change()
    yield Lock("lock_suspensions", [(tenant,)])
    if (yield from _free_batch(tenant)) is None:
        yield from execute("settle_resumptions", {"tenant": tenant})
        yield from execute("forget_resumptions", {"tenant": tenant})


def _batches(tenant: str, after: str, limit: int) -> Work[Sequence[BatchStanding]]:
    """Those with mail, and those that were suspended ahead of it."""
    found = yield from find_tenant(tenant)
    if found is None:
        raise NotFound(f"no tenant {tenant}")
    rows = yield from fetch("batch_names", {"tenant": tenant, "after": after, "count": limit})
    named = {batch for (batch,) in rows} | {batch for batch in found.suspensions if batch > after}
    names = sorted(named)[:limit]
    counts: dict[str, dict[MessageState, int]] = defaultdict(dict)
    for batch, state, count in (yield from fetch("batch_counts", {"tenant": tenant}, [(batch,) for batch in names])):
        counts[batch][MessageState(state)] = count
    return [BatchStanding(tenant, batch, found.suspends(batch), counts[batch]) for batch in names]
