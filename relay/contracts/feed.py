"""Events, as they are read one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from relay.model.event import Event, EventKind
from relay.model.message import QueueId


@dataclass(frozen=True, slots=True)
class FeedFilter:
    """What is asked of the feed; None asks nothing. `after` is the cursor: the last sequence that was read."""

    tenant: str | None = None
    kind: EventKind | None = None
    message: QueueId | None = None
    after: int = 0
    limit: int = 50


@dataclass(frozen=True, slots=True)
class FeedPage:
    """Events in order; `cursor` goes on behind them, and behind what was passed over. `more`: ask again at once."""

    events: Sequence[Event]
    cursor: int
    more: bool


class EventFeed(Protocol):
    """The events of all messages and accounts in one order."""

    async def page(self, wanted: FeedFilter) -> FeedPage:
        """Oldest first. Who goes on from each page's cursor is given every event once: nothing appears behind it later."""

    async def newest(self) -> int:
        """A cursor behind everything that is there."""

    def watch(self, event: asyncio.Event) -> AbstractContextManager[None]:
        """While it is entered, `event` is set when there may be something new, or when the configuration has changed, by
        whatever process on the store; and now and then without a reason."""
