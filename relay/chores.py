"""Chores: what a relay looks after beside the mail, and how often: leases of the dead, the count of the queue, retention.

Two janitors, because what must be in time cannot wait for what takes its time.
"""

from __future__ import annotations

import logging

from relay.clock import HOUR, MINUTE
from relay.dispatch.dispatcher import Dispatcher
from relay.dispatch.expiry import Expiry
from relay.dispatch.janitor import Chore, Janitor
from relay.dispatch.switch import Switch
from relay.errors import StoreUnavailable
from relay.intake.admission import Admission
from relay.metrics import Metrics
from storage import Store, Terms

log = logging.getLogger(__name__)


class Chores:
    """Of one process. `of_instance`: it does those of the whole instance too, as one of its processes must."""

    def __init__(
        self,
        store: Store,
        metrics: Metrics,
        admission: Admission,
        dispatcher: Dispatcher,
        switch: Switch,
        expiry: Expiry,
        *,
        lease: int,
        kept: Terms,
        commands_kept: int | None,
        of_instance: bool,
    ) -> None:
        """`commands_kept`: for how long the log of commands is, in µs; None: for ever."""
        self._store = store
        self._clock = store.clock
        self._metrics = metrics
        self._admission = admission
        self._dispatcher = dispatcher
        self._switch = switch
        self._expiry = expiry
        self._lease = lease
        self._retention = store.retention(kept)
        self._commands_kept = commands_kept
        self._of_instance = of_instance

    def janitors(self) -> tuple[Janitor, Janitor]:
        """For what must be in time, and for what takes its time."""
        own = (
            Chore("look at all queues", self._lease // 2, self._look_again),
            Chore("expiry behind paused accounts", MINUTE, self._expire_behind_paused),
            Chore("last uses of tokens", MINUTE, self._store.note_uses),
        )
        if not self._of_instance:
            return Janitor(self._clock, own), Janitor(self._clock, ())
        recovery = (
            Chore("recovery of dead leases", self._lease // 2, self._recover),
            Chore("count of the queue", 10 * MINUTE, self.count),
            Chore("what resumptions have left", 5 * MINUTE, self._store.suspensions.finish),
            *own,
        )
        cleaning = (
            Chore("retention", 10 * MINUTE, self._remove_old),
            Chore("removal of orphaned content", HOUR, self._store.sweep),
            Chore("removal of old sends from the limits' log", HOUR, self._store.prune),
        )
        return Janitor(self._clock, recovery), Janitor(self._clock, cleaning)

    async def count(self) -> None:
        """Correct what is counted as open; also at a start."""
        self._admission.depth = await self._store.queue.open_deliveries()

    async def finish_resumptions(self) -> None:
        """What an earlier life has begun; at a start."""
        try:
            await self._store.suspensions.finish()
        except StoreUnavailable as error:
            log.warning("what resumptions have left is looked for later: %s", error)

    async def _look_again(self) -> None:
        await self._switch.follow()
        await self._dispatcher.refresh()
        self._expiry.look_again()

    async def _expire_behind_paused(self) -> None:
        await self._expiry.expire_behind(self._dispatcher.paused)

    async def _recover(self) -> None:
        await self._store.set_clock()
        if found := await self._store.queue.recover():
            self._metrics.recovered.inc(found)
            log.warning("%d deliveries taken back from leases that had run out", found)

    async def _remove_old(self) -> None:
        if self._commands_kept is not None:
            await self._store.commands.remove_before(self._clock.now() - self._commands_kept)
        removed = await self._retention.run()
        for part, count in (("content", removed.contents), ("messages", removed.messages), ("events", removed.events)):
            self._metrics.retention_removed.labels(part).inc(count)
        if removed.contents or removed.messages or removed.events:
            log.info(
                "removed what was kept long enough: content of %d messages, %d messages, %d events",
                removed.contents,
                removed.messages,
                removed.events,
            )
