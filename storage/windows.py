"""Windows: what may go now under limits that slide, and when the next may. Pure.

The latest sends of a limit have the numbers up to `last`, and their stamps rise with their numbers. So the send whose
leaving a window opens the next slot is known by its number alone: nothing is counted.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from relay.clock import DAY, HOUR, MINUTE
from relay.model.limit import Limits, LimitUnit, OnLimit, Slots


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long (µs) a minute, an hour and a day are; the tests have shorter ones."""

    minute: int = MINUTE
    hour: int = HOUR
    day: int = DAY

    def name_of(self, length: int) -> str:
        """`minute`, `hour` or `day`."""
        return {self.minute: "minute", self.hour: "hour", self.day: "day"}[length]


LENGTHS = Lengths()


@dataclass(frozen=True, slots=True)
class Window:
    """At most `most` sends in any `length` µs."""

    length: int
    most: int


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit as a claim meets it."""

    key: str
    windows: tuple[Window, ...]
    unit: LimitUnit = LimitUnit.MESSAGES
    on_limit: OnLimit = OnLimit.DEFER

    @property
    def counts_recipients(self) -> bool:
        """Else messages."""
        return self.unit is LimitUnit.RECIPIENTS

    @property
    def rejects(self) -> bool:
        """Else it defers."""
        return self.on_limit is OnLimit.REJECT

    def cost(self, recipients: int) -> int:
        """The slots that a delivery for so many recipients takes."""
        return recipients if self.counts_recipients else 1

    @property
    def most(self) -> int:
        """The most slots that are ever open at once."""
        return min(window.most for window in self.windows)


@dataclass(frozen=True, slots=True)
class Standing:
    """`last`: the number of the latest send; `in_flight`: slots taken and not yet stamped or given back."""

    last: int
    in_flight: int


class Stamps:
    """When sends were stamped: rows of the log as (number of its last slot, how many it took, stamp)."""

    __slots__ = ("_numbers", "_rows")

    def __init__(self, rows: Iterable[Sequence[int]]) -> None:
        self._rows = sorted((number, weight, at) for number, weight, at in rows)
        self._numbers = [number for number, _, _ in self._rows]

    def of(self, number: int) -> int | None:
        """None: not known any more, so it has left every window."""
        at = bisect_left(self._numbers, number)
        if at == len(self._rows) or self._rows[at][0] - self._rows[at][1] >= number:
            return None
        return self._rows[at][2]


@dataclass(frozen=True, slots=True)
class Meter:
    """A limit, how it stands, and the stamps of the sends that `places` asks for."""

    limit: Limit
    standing: Standing
    stamps: Stamps

    def opens(self, nth: int, now: int) -> int:
        """When the nth slot from here is open: `now` where it is open already.

        While a slot can come only from what is in flight, it opens no earlier than a window from now, unless one is given
        back.
        """
        return max((self._opens(window, nth, now) for window in self.limit.windows), default=now)

    def _opens(self, window: Window, nth: int, now: int) -> int:
        place = _place(window, self.standing, nth)
        if place > self.standing.last:
            return now + window.length
        stamp = self.stamps.of(place)
        return now if stamp is None else max(now, stamp + window.length)


@dataclass(frozen=True, slots=True)
class Division:
    """What becomes of deliveries that stand in line; those in none of these wait, all from the first of them on."""

    granted: Mapping[int, tuple[Slots, ...]] = field(default_factory=dict)
    """By place in the line, with what each takes: nothing where it can only go in parts."""
    over: Mapping[int, str] = field(default_factory=dict)
    """By place in the line: to be rejected, and the key of the limit that says so."""
    next_at: int | None = None
    """When the first of those that wait may go (µs); None where none waits."""


def windows_of(limits: Limits, lengths: Lengths) -> tuple[Window, ...]:
    """The windows of those limits that are set."""
    each = ((lengths.minute, limits.per_minute), (lengths.hour, limits.per_hour), (lengths.day, limits.per_day))
    return tuple(Window(length, most) for length, most in each if most is not None)


def places(limit: Limit, standing: Standing, wanted: int) -> Iterator[tuple[int, int]]:
    """The numbers, from first to last, of the sends that a Meter will want to know the stamps of for `wanted` slots."""
    for window in limit.windows:
        first = _place(window, standing, 1)
        first, last = max(first, 1), min(first + wanted - 1, standing.last)
        if first <= last:
            yield first, last


def divide(meters: Sequence[Meter], line: Sequence[int], now: int) -> Division:
    """Who may go of `line`, which holds the number of recipients of each delivery, first come first served."""
    used = [0] * len(meters)
    granted: dict[int, tuple[Slots, ...]] = {}
    over: dict[int, str] = {}
    for place, recipients in enumerate(line):
        costs = [meter.limit.cost(recipients) for meter in meters]
        if any(cost > meter.limit.most for cost, meter in zip(costs, meters, strict=True)):
            granted[place] = ()
            continue
        closed = [
            (meter, opens)
            for meter, cost, taken in zip(meters, costs, used, strict=True)
            if (opens := meter.opens(taken + cost, now)) > now
        ]
        if not closed:
            granted[place] = tuple(Slots(meter.limit.key, cost) for meter, cost in zip(meters, costs, strict=True))
            used = [taken + cost for taken, cost in zip(used, costs, strict=True)]
        elif key := next((meter.limit.key for meter, _ in closed if meter.limit.rejects), None):
            over[place] = key
        else:
            return Division(granted, over, max(opens for _, opens in closed))
    return Division(granted, over)


def _place(window: Window, standing: Standing, nth: int) -> int:
    """The number of the send that must have left the window before the nth slot opens."""
    return standing.last - (window.most - standing.in_flight) + nth
