"""Lane: what dispatch knows of one queue: when it is due next, and until when its limits keep it back.

A lane holds no mail. An idle queue is never asked, and a busy one only when there is a connection to use (promises 4 and 9).
"""

from __future__ import annotations

from relay.dispatch.way import Way
from relay.model.delivery import Claim
from relay.model.limit import account_limit, domain_limit, tenant_limit
from relay.model.queue_key import QueueKey


class Lane:
    """One queue key's. All times in µs."""

    __slots__ = (
        "_meanwhile",
        "_reopened",
        "blocked_until",
        "claiming",
        "limit_keys",
        "next_due",
        "queue_key",
        "served",
        "timer",
        "way",
    )

    def __init__(self, queue_key: str, way: Way) -> None:
        key = QueueKey.parse(queue_key)
        self.queue_key = queue_key
        self.way = way
        domain = (domain_limit(key.tenant, key.domain),) if key.domain else ()
        self.limit_keys = frozenset((account_limit(key.account_key), tenant_limit(key.tenant), *domain))
        """Of the limits that its mail may be under."""
        self.next_due: int | None = None
        """When the earliest ready delivery in the store is due, as far as is known; None: nothing waits."""
        self.claiming = False
        self.served = 0
        """Slots it has had of its way, and what it was credited with (Way.join)."""
        self.timer: int | None = None
        """The earliest time at which dispatch will look at it again without being told."""
        self.blocked_until = 0
        """When its limits have an open slot again, as far as is known."""
        self._meanwhile: int | None = None
        self._reopened = False

    def is_due(self, now: int) -> bool:
        """Whether there may be something to attempt now."""
        return self.next_due is not None and self.next_due <= now

    @property
    def is_idle(self) -> bool:
        """Nothing waits in the store, as far as is known, whatever the time."""
        return self.next_due is None and not self.claiming

    def has_backlog(self, now: int) -> bool:
        """Whether older mail may be due in the store: then a new message must not overtake it."""
        return self.claiming or self.is_due(now)

    def note_due(self, due: int) -> None:
        """A delivery was committed as ready, due at `due`."""
        if self.claiming:  # the claim on its way may have looked before that commit
            self._meanwhile = due if self._meanwhile is None else min(self._meanwhile, due)
        self.next_due = due if self.next_due is None else min(self.next_due, due)

    def begin_claim(self, slots: int) -> None:
        """A claim for `slots` deliveries goes out."""
        self.claiming = True
        self.way.in_flight += slots
        self.served += slots
        self._meanwhile = None
        self._reopened = False

    def reopen(self) -> None:
        """A slot may be open before its time: one was given back, or the limits have changed."""
        self.blocked_until = 0
        self._reopened = True  # a claim on its way may have looked before that

    def end_claim(self, slots: int, claim: Claim | None) -> None:
        """It came back (None: it failed, and nothing new is known); slots it did not use are free again."""
        self.claiming = False
        unused = slots - (len(claim.deliveries) if claim else 0)
        self.way.in_flight -= unused
        self.served -= unused
        if claim is None:
            return
        known = [due for due in (claim.next_due, self._meanwhile) if due is not None]
        self.next_due = min(known, default=None)
        self.blocked_until = 0 if self._reopened else claim.blocked_until or 0

    def may_claim(self, now: int) -> bool:
        """Whether to claim as soon as its way has a slot."""
        return not self.claiming and self.is_due(now) and self.blocked_until <= now

    def next_look(self, now: int) -> int | None:
        """When to look again if nothing else happens; None: an event will say, such as the end of an attempt."""
        if self.next_due is None or self.claiming:
            return None
        at = max(self.next_due, self.way.breaker.open_until, self.blocked_until)
        return at if at > now else None
