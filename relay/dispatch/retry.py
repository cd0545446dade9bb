"""Retry policy: should it be tried again, and when? Pure; its test is a table."""

from __future__ import annotations

from dataclasses import dataclass
from zlib import crc32

from relay.clock import HOUR, MINUTE

DEFAULT_SCHEDULE = (1 * MINUTE, 5 * MINUTE, 15 * MINUTE, 1 * HOUR, 2 * HOUR)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`schedule`: the delay (µs) before each retry. `max_age` (µs since acceptance) repeats the last step until then."""

    schedule: tuple[int, ...] = DEFAULT_SCHEDULE
    max_age: int | None = None
    jitter: float = 0.1
    """Each delay is moved by up to this share of itself, so that what failed together does not come back together."""

    def next_attempt(self, attempts: int, since: int, now: int, spread: float) -> int | None:
        """When to try again after `attempts` tries (1 and more), or None: give up.

        `since` is when the message could first be sent; `spread`, in [0, 1), places the attempt within the jitter.
        """
        if not self.schedule:
            return None
        within = attempts <= len(self.schedule)
        delay = self.schedule[min(attempts, len(self.schedule)) - 1]
        at = now + round(delay * (1 + self.jitter * (2 * spread - 1)))
        if within or (self.max_age is not None and at <= since + self.max_age):
            return at
        return None


def spread_of(delivery: str, attempt: int) -> float:
    """A number in [0, 1) that is the same whenever it is asked for: retries are spread, and yet can be foretold."""
    return crc32(f"{delivery}/{attempt}".encode()) / 2**32
