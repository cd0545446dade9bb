"""Lane: what dispatch knows of one queue: its free connections, what waits there, and its breaker.

A lane holds no mail. It knows when the queue is due next, so that an idle queue is never asked and a busy one is asked
only when there is a connection to use (promises 4 and 9).
"""

from __future__ import annotations

from collections.abc import Callable

from relay.dispatch.breaker import Breaker
from relay.model.delivery import Claim


class Lane:
    """One queue key's. All times in µs."""

    __slots__ = (
        "_grown",
        "_meanwhile",
        "_reopened",
        "blocked_until",
        "breaker",
        "capacity",
        "claiming",
        "in_flight",
        "next_due",
        "queue_key",
        "timer",
    )

    def __init__(self, queue_key: str, capacity: int, grown: Callable[[Lane], None] = lambda _: None) -> None:
        """`grown` is told when there is room for more."""
        self.queue_key = queue_key
        self._grown = grown
        self.capacity = capacity
        """Connections its account may have at once."""
        self.in_flight = 0
        """Slots in use: attempts, claims on their way, and hand-overs."""
        self.next_due: int | None = None
        """When the earliest ready delivery in the store is due, as far as is known; None: nothing waits."""
        self.claiming = False
        self.breaker = Breaker()
        self.timer: int | None = None
        """The earliest time at which dispatch will look at it again without being told."""
        self.blocked_until = 0
        """When its limits have an open slot again, as far as is known."""
        self._meanwhile: int | None = None
        self._reopened = False

    @property
    def free(self) -> int:
        """Slots not in use."""
        return max(0, self.capacity - self.in_flight)

    def has_backlog(self, now: int) -> bool:
        """Whether older mail may be due in the store: then a new message must not overtake it."""
        return self.claiming or (self.next_due is not None and self.next_due <= now)

    def resize(self, capacity: int) -> None:
        """The account may have so many connections by now."""
        grows, self.capacity = capacity > self.capacity, capacity
        if grows:
            self._grown(self)

    def note_due(self, due: int) -> None:
        """A delivery was committed as ready, due at `due`."""
        if self.claiming:  # the claim on its way may have looked before that commit
            self._meanwhile = due if self._meanwhile is None else min(self._meanwhile, due)
        self.next_due = due if self.next_due is None else min(self.next_due, due)

    def begin_claim(self, slots: int) -> None:
        """A claim for `slots` deliveries goes out."""
        self.claiming = True
        self.in_flight += slots
        self._meanwhile = None
        self._reopened = False

    def reopen(self) -> None:
        """A slot may be open before its time: one was given back, or the limits have changed."""
        self.blocked_until = 0
        self._reopened = True  # a claim on its way may have looked before that

    def end_claim(self, slots: int, claim: Claim | None) -> None:
        """It came back (None: it failed, and nothing new is known)."""
        self.claiming = False
        if claim is None:
            self.in_flight -= slots
            return
        self.in_flight -= slots - len(claim.deliveries)
        known = [due for due in (claim.next_due, self._meanwhile) if due is not None]
        self.next_due = min(known, default=None)
        self.blocked_until = 0 if self._reopened else claim.blocked_until or 0

    def wanted(self, now: int) -> int:
        """How many deliveries to claim now."""
        if self.claiming or self.next_due is None or self.next_due > now or self.blocked_until > now:
            return 0
        return self.breaker.allowance(now, self.free, self.in_flight)

    def next_look(self, now: int) -> int | None:
        """When to look again if nothing else happens; None: an event will say, such as the end of an attempt."""
        if self.next_due is None or self.claiming:
            return None
        at = max(self.next_due, self.breaker.open_until, self.blocked_until)
        return at if at > now else None
