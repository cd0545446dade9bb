"""Pool: connections kept between mails, by account.

It does not bound their number: dispatch makes no more attempts at once than an account allows. What it guards is that a
connection is only ever used again when its last mail ended cleanly, under the account as it was when it was opened.
"""

from __future__ import annotations

import asyncio

from relay.clock import SECOND, Clock
from relay.delivery.connection import Connection, Connector, pool_key
from relay.delivery.transcript import Transcript
from relay.model.tenant import Account

CONNECTION_TTL = 300 * SECOND
IDLE_TTL = 60 * SECOND
"""How long a connection waits for its next mail: shorter than most servers' patience."""


class _Lane:
    """The idle connections of one account; the one used last is used first, so that the others grow old and go.

    `account` is as it was when last asked for: while it is the very same object, its key need not be made.
    """

    __slots__ = ("account", "idle", "key")

    def __init__(self, account: Account) -> None:
        self.account = account
        self.key = pool_key(account)
        self.idle: list[Connection] = []


class Pool:
    """`connection_ttl` and `idle_ttl` in µs."""

    def __init__(
        self, connector: Connector, clock: Clock, *, connection_ttl: int = CONNECTION_TTL, idle_ttl: int = IDLE_TTL
    ) -> None:
        self.timeouts = connector.timeouts
        self._connector = connector
        self._clock = clock
        self._connection_ttl = connection_ttl
        self._idle_ttl = idle_ttl
        self._lanes: dict[str, _Lane] = {}
        self._open: set[Connection] = set()
        self._reaper: asyncio.Task[None] | None = None
        self._next_reap = 0
        self._sooner = asyncio.Event()
        self._all_closed = asyncio.Event()
        self._closing = False

    @property
    def idle_count(self) -> int:
        """How many connections wait for a mail."""
        return sum(len(lane.idle) for lane in self._lanes.values())

    @property
    def open_count(self) -> int:
        """How many connections stand, idle or in use."""
        return len(self._open)

    def take(self, account: Account) -> Connection | None:
        """A kept connection of this account as it is now, if there is one."""
        lane = self._lanes.get(account.key)
        if lane is None or lane.account is not account:
            lane = self._lane(account)
        while lane.idle:  # what has grown too old, the reaper has taken away
            connection = lane.idle.pop()
            if connection.dialogue.is_usable:
                return connection
            self.retire(connection)
        return None

    async def open(self, account: Account, transcript: Transcript) -> Connection:
        """A new connection; raises ConnectFailed."""
        connection = await self._connector.connect(account, transcript=transcript)
        connection.opened_at = self._clock.boot()
        self._open.add(connection)
        connection.dialogue.on_broken = lambda: self._broken(connection)
        return connection

    def give_back(self, connection: Connection) -> None:
        """Keep it for the next mail, if its last one ended cleanly and it may carry another."""
        lane = self._lanes.get(connection.key[0])
        now = self._clock.boot()
        until, too_old_at = now + self._idle_ttl, connection.opened_at + self._connection_ttl
        if too_old_at < until:
            until = too_old_at
        if (
            self._closing
            or lane is None
            or lane.key != connection.key
            or connection.messages >= connection.max_messages
            or until <= now
            or not connection.dialogue.is_usable
        ):
            self.retire(connection)
            return
        connection.idle_until = until
        lane.idle.append(connection)
        if self._reaper is None or until < self._next_reap:
            self._reap_at(until)

    def retire(self, connection: Connection) -> None:
        """Say QUIT, or drop it where that cannot be said any more."""
        connection.dialogue.goodbye(self.timeouts.quit)

    async def close(self) -> None:
        """QUIT on all that is idle; whatever is still open a moment later is dropped."""
        self._closing = True
        if self._reaper is not None:
            self._reaper.cancel()
            await asyncio.gather(self._reaper, return_exceptions=True)
        for lane in self._lanes.values():
            while lane.idle:
                self.retire(lane.idle.pop())
        if not self._open:
            return
        self._all_closed.clear()
        try:
            async with asyncio.timeout(self.timeouts.quit):
                await self._all_closed.wait()
        except TimeoutError:
            for connection in tuple(self._open):
                connection.dialogue.abort()
            await self._all_closed.wait()

    # -- inside -------------------------------------------------------------------------------------------------------

    def _lane(self, account: Account) -> _Lane:
        """The lane of an account; connections made under its old settings are sent home."""
        lane = self._lanes.get(account.key)
        if lane is None:
            lane = self._lanes[account.key] = _Lane(account)
            return lane
        lane.account = account
        key = pool_key(account)
        if lane.key != key:
            for connection in lane.idle:
                self.retire(connection)
            lane.key = key
            lane.idle = []
        return lane

    def _broken(self, connection: Connection) -> None:
        """The server closed it or spoke unasked: an idle one is no use any more."""
        lane = self._lanes.get(connection.key[0])
        if lane is not None and connection in lane.idle:
            lane.idle.remove(connection)
            connection.dialogue.abort()
        if connection.dialogue.is_lost:
            self._open.discard(connection)
            if not self._open:
                self._all_closed.set()

    def _reap_at(self, at: int) -> None:
        """Have the reaper look at `at` (boot clock), which is before it would."""
        if self._reaper is None:
            self._next_reap = at
            self._reaper = asyncio.create_task(self._reap(), name="pool-reaper")
        else:
            self._next_reap = at
            self._sooner.set()

    async def _reap(self) -> None:
        """Send home what has waited too long; ends when nothing is idle."""
        while self._next_reap:
            self._sooner.clear()
            wait = self._next_reap - self._clock.boot()
            if wait > 0 and await self._clock.pause(wait, self._sooner):
                continue
            now = self._clock.boot()
            for lane in self._lanes.values():
                late = [connection for connection in lane.idle if connection.idle_until <= now]
                lane.idle = [connection for connection in lane.idle if connection.idle_until > now]
                for connection in late:
                    self.retire(connection)
            self._next_reap = min((c.idle_until for lane in self._lanes.values() for c in lane.idle), default=0)
        self._reaper = None
