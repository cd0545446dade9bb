"""Way: what dispatch knows of one account: its connections, its breaker, and the lanes that wait for a connection.

A way shares its free connections out among the lanes of the tenants that use it: one at a time, each to the lane that has
been served least. A lane that comes back from idleness is given a head start of one round of connections: so a few messages
beside a long backlog go almost as if they were alone; and no more than that, so that nobody lives on head starts.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from relay.dispatch.breaker import Breaker
from relay.model.tenant import Account

if TYPE_CHECKING:
    from relay.dispatch.lane import Lane

CLAIM_AT_MOST = 100


def _all(total: int, _: str) -> int:
    return total


class Way:
    """One account's."""

    __slots__ = (
        "_grown",
        "_share",
        "account",
        "account_key",
        "asking",
        "batch_size",
        "breaker",
        "capacity",
        "in_flight",
        "is_limited",
        "pending",
        "served",
        "settling",
    )

    def __init__(
        self, account_key: str, grown: Callable[[], None] = lambda: None, share: Callable[[int, str], int] | None = None
    ) -> None:
        """`grown` is told when there is room for more; `share` says how many of an account's connections are ours."""
        self.account_key = account_key
        self._grown = grown
        self._share = share or _all
        self.capacity = self._share(1, account_key)
        """Connections it may have at once; of one, until the account has been looked up."""
        self.account: Account | None = None
        """As it was when it was last looked at."""
        self.is_limited = False
        """Whether it has limits of its own."""
        self.batch_size = CLAIM_AT_MOST
        """The most deliveries in one claim."""
        self.in_flight = 0
        """Slots in use: attempts without an outcome, claims on their way, and hand-overs."""
        self.settling = 0
        """Outcomes on their way to the store."""
        self.breaker = Breaker()
        self.pending: dict[Lane, None] = {}
        """Lanes with something due that wait for a slot, or for dispatch to look at them."""
        self.asking: dict[Lane, None] = {}
        """Lanes with a claim whose transaction has not begun."""
        self.served = 0
        """How much the lane that was served least had when it was given a slot."""

    @property
    def room(self) -> int:
        """Slots not in use; below zero where there are too many. As many outcomes as connections may be on their way to the
        store, and each beyond that takes a slot: what a crash sends twice is bounded by both."""
        return self.capacity - self.in_flight - max(0, self.settling - self.capacity)

    @property
    def free(self) -> int:
        """Slots not in use."""
        return max(0, self.room)

    def resize(self, account: Account) -> None:
        """Follow the account as it is by now."""
        capacity = self._share(account.max_connections, self.account_key)
        grows, self.capacity = capacity > self.capacity, capacity
        self.account, self.is_limited = account, account.limits.is_set
        self.batch_size = min(account.batch_size or CLAIM_AT_MOST, CLAIM_AT_MOST)
        if grows:
            self._grown()

    def allowance(self, now: int) -> int:
        """How many slots may be used now."""
        return self.breaker.allowance(now, self.free, self.in_flight)

    def join(self, lane: Lane) -> None:
        """The lane has something due."""
        if lane not in self.pending:
            if not lane.is_claiming:
                lane.served = max(lane.served, self.served - self.capacity)
            self.pending[lane] = None

    def share(self, slots: int, lanes: Iterable[Lane]) -> Counter[Lane]:
        """How many of `slots` each lane gets."""
        line = [(lane.served, place, lane) for place, lane in enumerate(lanes) if lane.may_ask > 0]
        heapq.heapify(line)
        shares: Counter[Lane] = Counter()
        while line and slots > 0:
            served, place, lane = line[0]
            self.served = max(self.served, served)
            shares[lane] += 1
            slots -= 1
            if shares[lane] < lane.may_ask:
                heapq.heapreplace(line, (served + 1, place, lane))
            else:
                heapq.heappop(line)
        return shares
