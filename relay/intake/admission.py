"""Admission: whether a new message may begin now (promise 8: above a mark the doors say 451 and 452, or 503).

A ladder of rungs. Each has a mark; at it the doors close, and open again below nine tenths of it, so that they do not
flap. What is under way when a door closes may end. The number of connections is the doors' own affair.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Protocol

from relay.clock import SECOND, Clock
from relay.errors import Refusal, Rejected
from relay.metrics import Metrics
from relay.model.word import Word

REOPEN = 0.9
LOOK = SECOND
"""How long a look at disk and memory is believed."""
MIB = 1 << 20

log = logging.getLogger(__name__)


class Part(Word):
    """What may run short; the name in readiness and metrics."""

    STORE = "store"
    QUEUE = "queue"
    MEMORY = "memory"
    DISK = "disk"


_STORE, _QUEUE = Part.STORE, Part.QUEUE

REFUSALS = {
    Part.STORE: Refusal.STORE_DOWN,
    Part.QUEUE: Refusal.QUEUE_FULL,
    Part.MEMORY: Refusal.MEMORY_LOW,
    Part.DISK: Refusal.DISK_LOW,
}


def is_closed(level: float, was_closed: bool) -> bool:
    """Whether a door is closed by what stands at `level`, as a share of its mark."""
    return level >= (REOPEN if was_closed else 1.0)


class Depth(Protocol):
    """Counts the deliveries that are not done yet, for all who take mail in and finish it."""

    @property
    def total(self) -> int:
        """So many."""

    def add(self, some: int) -> None:
        """More of them, or fewer."""

    def correct(self, counted: int) -> None:
        """So many were counted in the store."""


class OwnDepth:
    """The count of a process that is alone."""

    def __init__(self) -> None:
        self.total = 0

    def add(self, some: int) -> None:
        """See Depth."""
        self.total += some

    def correct(self, counted: int) -> None:
        """See Depth."""
        self.total = counted


class Admission:
    """Counts what is open in the queue, looks at disk and memory, and asks after the store."""

    def __init__(
        self,
        clock: Clock,
        metrics: Metrics,
        *,
        max_messages: int,
        free_space: Callable[[], int] | None = None,
        min_free: int = 0,
        memory: Callable[[], int] | None = None,
        max_memory: int = 0,
        relieve: Callable[[], None] = lambda: None,
        store: Callable[[int], str | None] = lambda _: None,
        depth: Depth | None = None,
    ) -> None:
        """`free_space`: octets left where content and database grow, at least `min_free`; `memory`: octets in use, at most
        `max_memory`, and `relieve` may make them fewer; `store`: what ails it now (by the boot clock). What is not given is
        not looked at. `depth`: the count of the queue, where more than this process counts."""
        self._depth = depth or OwnDepth()
        self.count = self._depth.add
        """So many more deliveries are open than before, or fewer."""
        self.stopping = False
        self._clock = clock
        self._metrics = metrics
        self._max_messages = max_messages
        self._queue_judged = REOPEN * max(1, max_messages)
        """The depth from which on the queue's level matters."""
        self._free_space = free_space
        self._min_free = min_free
        self._memory = memory
        self._max_memory = max_memory
        self._relieve = relieve
        self._store = store
        self._ill: dict[Part, str] = {}
        self._looked_at = -LOOK
        for part in Part:
            metrics.admission_closed.labels(part).set(0)

    def check(self) -> None:
        """Raises Rejected: SHUTTING_DOWN, STORE_DOWN, QUEUE_FULL, MEMORY_LOW or DISK_LOW."""
        if self.stopping:
            raise Rejected(Refusal.SHUTTING_DOWN)
        if ill := self.ill_parts():
            part = next(iter(ill))
            self._metrics.admission_refused.labels(part).inc()
            raise Rejected(REFUSALS[part])

    @property
    def depth(self) -> int:
        """Deliveries not done yet, as far as this instance knows."""
        return self._depth.total

    @depth.setter
    def depth(self, counted: int) -> None:
        self._depth.correct(counted)

    def ill_parts(self) -> Mapping[Part, str]:
        """What keeps the doors closed, and for people: why."""
        now, ill = self._clock.boot(), self._ill
        ailment = self._store(now)
        if ailment is not None or (ill and _STORE in ill):
            self._note(_STORE, ailment)
        if self._depth.total >= self._queue_judged or (ill and _QUEUE in ill):
            self._judge(
                _QUEUE,
                self.depth / max(1, self._max_messages),
                f"{self.depth} open deliveries; queue.max_messages is {self._max_messages}",
            )
        if now - self._looked_at >= LOOK:
            self._looked_at = now
            self._look()
        return ill

    def _look(self) -> None:
        """At what costs a system call."""
        if self._free_space is not None and self._min_free:
            free = self._free_space()
            why = f"{free // MIB} MiB are free; storage.min_free is {self._min_free // MIB} MiB"
            self._judge(Part.DISK, self._min_free / max(1, free), why)
        if self._memory is not None and self._max_memory:
            used = self._memory()
            why = f"{used // MIB} MiB are in use; server.max_memory is {self._max_memory // MIB} MiB"
            self._judge(Part.MEMORY, used / self._max_memory, why)
            if Part.MEMORY in self._ill:
                self._relieve()

    def _judge(self, part: Part, level: float, why: str) -> None:
        self._metrics.admission_level.labels(part).set(level)
        self._note(part, why if is_closed(level, part in self._ill) else None)

    def _note(self, part: Part, why: str | None) -> None:
        """It is ill for a reason, or well."""
        was_ill = part in self._ill
        if why is None:
            self._ill.pop(part, None)
        else:
            self._ill[part] = why
        if was_ill != (why is not None):
            self._metrics.admission_closed.labels(part).set(int(not was_ill))
            if was_ill:
                log.warning("mail is accepted again: %s is well", part)
            else:
                log.warning("no mail is accepted: %s: %s", part, why)
