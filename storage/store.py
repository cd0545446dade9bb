"""The Store: one database behind the contracts that the relay knows, opened (storage.opening) and closed as a whole."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

import relay.contracts.archive
import relay.contracts.commands
import relay.contracts.content
import relay.contracts.directory
import relay.contracts.feed
import relay.contracts.limits
import relay.contracts.queue
import relay.contracts.suppressions
import relay.contracts.suspensions
from relay.clock import SECOND, Clock, SystemClock
from relay.errors import RelayError, StoreUnavailable
from relay.model.event import Event
from relay.model.health import AccountHealth
from storage.archive import Archive
from storage.bounce_mailbox import BounceMailboxes
from storage.cipher import KEY_ID, Cipher
from storage.client_sides import ClientSides
from storage.command_log import CommandLog
from storage.contents import Contents
from storage.database import Database
from storage.directory import Directory
from storage.feed import Feed
from storage.notices import ACCOUNT, read_health
from storage.pulse import Pulse
from storage.queue import HeldCallback, OpenCallback, Queue, ReadyCallback
from storage.retention import Retention, Terms
from storage.suppressing import SuppressionList
from storage.suspending import Suspensions
from storage.tidings import WAITING, WRITTEN, Tidings
from storage.work import fetch, fetch_one

CLOCKS_DIFFER = SECOND
"""More than clocks that are set by NTP do."""
READY_WITHIN = 5.0
"""Seconds in which a store that is ready answers."""

log = logging.getLogger(__name__)


class Store:
    """What relay.app hands to the parts."""

    queue: relay.contracts.queue.MessageQueue
    limits: relay.contracts.limits.LimitMeters
    contents: relay.contracts.content.ContentStore
    archive: relay.contracts.archive.MessageArchive
    directory: relay.contracts.directory.Directory
    commands: relay.contracts.commands.CommandLog
    suspensions: relay.contracts.suspensions.Suspensions
    suppressions: relay.contracts.suppressions.SuppressionList
    feed: relay.contracts.feed.EventFeed
    client_sides: relay.contracts.directory.ClientSides
    bounce_mailboxes: relay.contracts.directory.BounceMailboxes
    is_new: bool
    """Nobody had put anything in when it was opened."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        pulse: Pulse,
        queue: Queue,
        contents: Contents,
        archive: Archive,
        directory: Directory,
        suspensions: Suspensions,
        tidings: Tidings,
        cipher: Cipher,
        *,
        is_new: bool,
    ) -> None:
        """Use `open_store`."""
        self.queue = queue
        self.limits = queue
        self.contents = contents
        self.archive = archive
        self.directory = directory
        self.commands = CommandLog(database)
        self.feed = Feed(database, tidings)
        self.suspensions = suspensions
        self.suppressions = SuppressionList(database, directory, clock)
        self.client_sides = ClientSides(database, directory, cipher)
        self.bounce_mailboxes = BounceMailboxes(database, directory, cipher)
        self.is_new = is_new
        self._database = database
        self.clock = clock
        self._pulse = pulse
        self.ailment = pulse.ailment
        """What keeps it from taking anything in now (boot clock), as far as is known without asking; None: nothing."""
        self._queue = queue
        self._contents = contents
        self._directory = directory
        self._suspensions = suspensions
        self._tidings = tidings
        directory.cache.on_forget.append(tidings.wake)
        self._callbacks: list[ReadyCallback] = []
        self._open_callbacks: list[OpenCallback] = []
        self._health_callbacks: list[Callable[[AccountHealth], None]] = []
        self._lost_callbacks: list[Callable[[str], None]] = []
        self._held_callbacks: list[HeldCallback] = []
        self._held_before: list[Event] = []
        self._catching_up: asyncio.Task[None] | None = None

    def on_ready(self, callback: ReadyCallback) -> None:
        """Have told what becomes ready otherwise than by this process's own accept and settle: queue key and due time."""
        self._callbacks.append(callback)

    def on_open(self, callback: OpenCallback) -> None:
        """Have told of slots given back under a limit, here or elsewhere: its key (relay.model.limit)."""
        self._open_callbacks.append(callback)

    def on_health(self, callback: Callable[[AccountHealth], None]) -> None:
        """Have told how another process of this instance has found an account to be."""
        self._health_callbacks.append(callback)

    def on_change(self, callback: Callable[[], None]) -> None:
        """Have told that tenants, accounts, credentials or tokens have changed."""
        self._directory.cache.on_forget.append(callback)

    def on_held(self, callback: HeldCallback) -> None:
        """Have told what was held because whoever attempted it died, again and again; also what was held at the opening."""
        self._held_callbacks.append(callback)
        if self._held_before:
            callback(self._held_before)

    def on_lost(self, callback: Callable[[str], None]) -> None:
        """Have told that nothing can be kept any more, and why: this process must end."""
        self._lost_callbacks.append(callback)

    async def set_clock(self) -> None:
        """Have our clock show what the store's shows, which all instances share: else the retries of one whose clock is off
        by an hour came an hour late, or all at once, and its mail expired before its time."""
        before = self.clock.now()
        ((theirs,),) = await self._database.read(fetch("store_clock", {"now": before}))
        after = self.clock.now()
        ahead = (before + after) // 2 - theirs
        if abs(ahead) > CLOCKS_DIFFER + (after - before) and isinstance(self.clock, SystemClock):
            log.warning("this machine's clock is %.1f s ahead of the store's: times are the store's", ahead / SECOND)
            self.clock.set_back(ahead)

    async def ready(self) -> None:
        """Whether the store answers: raises StoreUnavailable."""
        try:
            async with asyncio.timeout(READY_WITHIN):
                await self._database.read(fetch_one("setting", {"name": KEY_ID}))
        except TimeoutError:
            raise StoreUnavailable(f"the store does not answer within {READY_WITHIN:.0f} s") from None

    async def sweep(self) -> int:
        """Remove large contents whose message never came; for the janitor."""
        return await self._contents.sweep()

    def retention(self, terms: Terms) -> Retention:
        """What removes what has been kept for its term; for the janitor."""
        return Retention(self._database, self.clock, terms, self._contents.remove)

    async def note_uses(self) -> None:
        """Write down which tokens were used; for the janitor."""
        await self._directory.note_uses()

    async def prune(self) -> None:
        """Forget sends that no limit asks about any more; for the janitor."""
        await self._queue.prune()

    async def take_over(self, holder: str | None) -> int:
        """Make ready again what a process held that is known to be dead, and those named after it; None: what anybody held.
        Answers how many deliveries."""
        return await (self._queue.release_all() if holder is None else self._queue.release_of(holder))

    async def close(self) -> None:
        """Commit what was put in, then close. The leases that are still held run out, or are taken up at the next start."""
        if self._catching_up is not None:
            self._catching_up.cancel()
            await asyncio.gather(self._catching_up, return_exceptions=True)
        await self._suspensions.close()
        await self._queue.close()
        await self._pulse.close()
        await self._tidings.close()
        await self._database.close()

    # -- hearing other instances (storage.database.Hearing) -------------------------------------------------------------

    def began(self) -> None:
        """What was missed is made good: the cache is emptied, and every queue is looked at."""
        self._directory.cache.enabled = True
        self._directory.cache.forget()
        self._tidings.began()
        if self._catching_up is not None:
            self._catching_up.cancel()  # the new one sees all that it would have
        self._catching_up = asyncio.get_running_loop().create_task(self._catch_up())

    def ended(self) -> None:
        """Changes are not heard of: nothing is kept in memory until they are."""
        self._directory.cache.enabled = False
        self._directory.cache.forget()

    def heard(self, payload: str) -> None:
        """A change of the configuration, a delivery that is ready, a slot that was given back, how an account is, or a word
        about events."""
        kind, _, rest = payload.partition(" ")
        if kind == "ready":
            due, _, queue_key = rest.partition(" ")
            self.tell_ready(queue_key, int(due))
        elif kind == "open":
            self.tell_open(rest)
        elif kind == ACCOUNT:
            if (health := read_health(rest, self._queue.holder)) is not None:
                for callback in self._health_callbacks:
                    callback(health)
        elif kind == WRITTEN:
            self._tidings.wake()
        elif kind == WAITING:
            self._tidings.others_wait()
        else:
            self._directory.cache.forget()

    def tell_ready(self, queue_key: str, due: int) -> None:
        """Pass it on."""
        for callback in self._callbacks:
            callback(queue_key, due)

    def tell_open(self, limit_key: str) -> None:
        """Pass it on."""
        for callback in self._open_callbacks:
            callback(limit_key)

    def tell_held(self, events: Sequence[Event]) -> None:
        """Pass it on, or keep it for whoever asks."""
        if not self._held_callbacks:
            self._held_before += events
        for callback in self._held_callbacks:
            callback(events)

    def tell_lost(self, reason: str) -> None:
        """Pass it on."""
        for callback in self._lost_callbacks:
            callback(reason)

    async def _catch_up(self) -> None:
        try:
            for head in await self._queue.heads():
                self.tell_ready(head.queue_key, head.next_due)
        except RelayError as error:
            log.warning("looking at the queues again: %s", error)
