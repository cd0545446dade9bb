"""The feed of events (relay.contracts.EventFeed): in the order of their sequence, none twice, none missed.

SQLite has one writer: sequences are committed in their order. On PostgreSQL transactions overlap, and one that has taken a
lower sequence may commit later. So a page ends at the last sequence given when it was asked for, and is read when all who
were writing then have come to their end: which costs the writers nothing, and the reader the length of a commit.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager

from relay.contracts.feed import FeedFilter, FeedPage
from relay.errors import StoreUnavailable
from storage.database import Database
from storage.rows import read_event
from storage.tidings import Tidings
from storage.work import fetch

WALKED_AT_ONCE = 2000
"""How many events one page passes over at most."""
NEWEST = 2**62
LOOK_AGAIN = 0.005
"""Seconds between looks at those who write."""
PATIENCE = 2.0
"""Seconds after which a page is empty, because somebody has not come to an end."""


class Feed:
    """Satisfies relay.contracts.EventFeed."""

    def __init__(self, database: Database, tidings: Tidings) -> None:
        self._database = database
        self._tidings = tidings

    def watch(self, event: asyncio.Event) -> AbstractContextManager[None]:
        """See EventFeed."""
        return self._tidings.watch(event)

    async def newest(self) -> int:
        """See EventFeed."""
        until = await self._settled()
        if until is None:
            raise StoreUnavailable("a transaction that writes events does not come to its end")
        ((newest,),) = await self._database.read(fetch("newest_event", {"until": until}))
        return int(newest)

    async def page(self, wanted: FeedFilter) -> FeedPage:
        """See EventFeed."""
        until = await self._settled()
        if until is None:
            return FeedPage((), wanted.after, more=False)
        values: dict[str, object] = {
            "tenant": wanted.tenant,
            "kind": None if wanted.kind is None else wanted.kind.value,
            "after": wanted.after,
            "until": until,
            "count": wanted.limit + 1,
        }
        if wanted.message is None:
            rows = await self._database.read(fetch("feed", {**values, "walk": WALKED_AT_ONCE}))
        else:
            rows = await self._database.read(fetch("feed_of_message", {**values, "message": wanted.message}))
        *_, is_wanted, walked = zip(*rows, strict=True) if rows else ((), (), (0,))
        more = len(rows) > wanted.limit or max(walked) == WALKED_AT_ONCE
        rows = rows[: wanted.limit]
        events = [read_event(row[:7]) for row, one in zip(rows, is_wanted, strict=False) if one]
        return FeedPage(events, int(rows[-1][0]) if rows else wanted.after, more)

    async def _settled(self) -> int | None:
        """A sequence up to which all are committed, or never will be; None: somebody takes too long."""
        if self._database.dialect == "sqlite":
            return NEWEST
        ((last,),) = await self._database.read(fetch("last_event"))
        ends = asyncio.get_running_loop().time() + PATIENCE
        writing = await self._writers()
        while writing and asyncio.get_running_loop().time() < ends:
            await asyncio.sleep(LOOK_AGAIN)
            writing &= await self._writers()
        return None if writing else int(last)

    async def _writers(self) -> set[str]:
        return {str(row[0]) for row in await self._database.read(fetch("event_writers"))}
