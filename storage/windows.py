"""Windows: when one more may be sent under limits that slide. Pure.

The latest sends of a limit have the numbers up to `last`, and their stamps rise with their numbers. So the send whose
leaving a window opens the next slot is known by its number alone: nothing is counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from relay.clock import DAY, HOUR, MINUTE
from relay.model.tenant import Limits


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long (µs) a minute, an hour and a day are; the tests have shorter ones."""

    minute: int = MINUTE
    hour: int = HOUR
    day: int = DAY


LENGTHS = Lengths()


@dataclass(frozen=True, slots=True)
class Window:
    """At most `most` sends in any `length` µs."""

    length: int
    most: int


@dataclass(frozen=True, slots=True)
class Standing:
    """`last`: the number of the latest send; `in_flight`: slots taken and not yet stamped or given back."""

    last: int
    in_flight: int


@dataclass(frozen=True, slots=True)
class Grant:
    """How many slots are open, and when (µs) the next one may be: None where all that were wanted are open."""

    slots: int
    next_at: int | None


def windows_of(limits: Limits, lengths: Lengths) -> tuple[Window, ...]:
    """The windows of those limits that are set."""
    each = ((lengths.minute, limits.per_minute), (lengths.hour, limits.per_hour), (lengths.day, limits.per_day))
    return tuple(Window(length, most) for length, most in each if most is not None)


def places(windows: Sequence[Window], standing: Standing, wanted: int) -> Iterator[tuple[int, int]]:
    """The numbers, from first to last, of the sends that `grant` will want to know the stamps of."""
    for window in windows:
        first = _place(window, standing, 1)
        first, last = max(first, 1), min(first + wanted - 1, standing.last)
        if first <= last:
            yield first, last


def grant(windows: Sequence[Window], standing: Standing, stamps: Mapping[int, int], wanted: int, now: int) -> Grant:
    """How many of `wanted` may go now. `stamps`: by number; one that is not known any more has left every window.

    While a slot can come only from what is in flight, the next one opens no earlier than a window from now, unless one is
    given back.
    """
    for nth in range(1, wanted + 1):
        opens = max((_opens(window, standing, stamps, nth, now) for window in windows), default=now)
        if opens > now:
            return Grant(nth - 1, opens)
    return Grant(wanted, None)


def _place(window: Window, standing: Standing, nth: int) -> int:
    """The number of the send that must have left the window before the nth slot opens."""
    return standing.last - (window.most - standing.in_flight) + nth


def _opens(window: Window, standing: Standing, stamps: Mapping[int, int], nth: int, now: int) -> int:
    place = _place(window, standing, nth)
    if place > standing.last:
        return now + window.length
    stamp = stamps.get(place)
    return now if stamp is None else stamp + window.length
