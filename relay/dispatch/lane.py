"""Lane: what dispatch knows of one queue: when it is due next, and until when its limits keep it back.

A lane holds no mail. An idle queue is never asked, and a busy one only when there is a connection to use (promises 4 and 9).
"""

from __future__ import annotations

from relay.dispatch.way import Way
from relay.model.delivery import Claim
from relay.model.limit import account_limit, domain_limit, tenant_limit
from relay.model.queue_key import QueueKey


class Ask:
    """A claim, from its first slot to its answer."""

    __slots__ = ("meanwhile", "reopened", "slots")

    def __init__(self) -> None:
        self.slots = 0
        """How many deliveries it may bring."""
        self.meanwhile: int | None = None
        """When what was committed is due that it may not have seen."""
        self.reopened = False
        """A limit's slot came free that it may not have seen."""


class Lane:
    """One queue key's. All times in µs."""

    __slots__ = (
        "begun",
        "blocked_until",
        "is_long",
        "limit_keys",
        "next_due",
        "open_ask",
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
        self.open_ask: Ask | None = None
        """A claim whose transaction has not begun: what comes free until then goes along."""
        self.begun: list[Ask] = []
        """Claims whose answer is on its way."""
        self.is_long = False
        """The last claim has left something due: the next need not wait for an answer."""
        self.served = 0
        """Slots it has had of its way, and what it was credited with (Way.join)."""
        self.timer: int | None = None
        """The earliest time at which dispatch will look at it again without being told."""
        self.blocked_until = 0
        """When its limits have an open slot again, as far as is known."""

    def is_due(self, now: int) -> bool:
        """Whether there may be something to attempt now."""
        return self.next_due is not None and self.next_due <= now

    @property
    def is_claiming(self) -> bool:
        """Whether a claim is on its way."""
        return self.open_ask is not None or bool(self.begun)

    @property
    def is_idle(self) -> bool:
        """Nothing waits in the store, as far as is known, whatever the time."""
        return self.next_due is None and self.open_ask is None and not self.begun

    def has_backlog(self, now: int) -> bool:
        """Whether older mail may be due in the store: then a new message must not overtake it."""
        return self.is_claiming or self.is_due(now)

    def note_due(self, due: int) -> None:
        """A delivery was committed as ready, due at `due`."""
        for ask in self.begun:
            ask.meanwhile = _earlier(ask.meanwhile, due)
        self.next_due = _earlier(self.next_due, due)

    def reopen(self) -> None:
        """A slot may be open before its time: one was given back, or the limits have changed."""
        self.blocked_until = 0
        for ask in self.begun:
            ask.reopened = True

    def ask(self, slots: int) -> Ask | None:
        """So many slots are for it: they go along with the claim that is open, or with the new one that this answers."""
        self.way.in_flight += slots
        self.served += slots
        new = None
        if self.open_ask is None:
            self.open_ask = new = Ask()
            self.way.asking[self] = None
        self.open_ask.slots += slots
        return new

    def begin(self, ask: Ask) -> None:
        """Its transaction begins."""
        self._close(ask)
        self.begun.append(ask)

    def end(self, ask: Ask, claim: Claim | None, now: int) -> int:
        """A claim came back (None: it failed, and nothing new is known). Its slots that are free again: so many."""
        if ask in self.begun:
            self.begun.remove(ask)
        else:
            self._close(ask)
        unused = ask.slots - (len(claim.deliveries) if claim else 0)
        ask.slots = 0
        self.way.in_flight -= unused
        self.served -= unused
        if claim is not None:
            self.next_due = claim.next_due if ask.meanwhile is None else _earlier(claim.next_due, ask.meanwhile)
            self.blocked_until = 0 if ask.reopened else claim.blocked_until or 0
            self.is_long = not unused and self.is_due(now)
        return unused

    def _close(self, ask: Ask) -> None:
        if self.open_ask is ask:
            self.open_ask = None
            del self.way.asking[self]

    @property
    def may_ask(self) -> int:
        """For how many deliveries more, as things stand."""
        if self.open_ask is not None:
            return self.way.batch_size - self.open_ask.slots
        return self.way.batch_size if self.is_long or not self.begun else 0

    def may_claim(self, now: int) -> bool:
        """Whether to claim as soon as its way has a slot."""
        return self.is_due(now) and self.blocked_until <= now and self.may_ask > 0

    def next_look(self, now: int) -> int | None:
        """When to look again if nothing else happens; None: an event will say, such as the end of an attempt."""
        if self.next_due is None or self.is_claiming:
            return None
        at = max(self.next_due, self.way.breaker.open_until, self.blocked_until)
        return at if at > now else None


def _earlier(one: int | None, other: int) -> int:
    return other if one is None or other < one else one
