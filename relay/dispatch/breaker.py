"""Breaker: what stops an account whose own fault it is that nothing goes out (promise 5). Pure.

Closed, all may go. A fault opens it for a while, in which nothing is claimed and the mail waits untouched. After that one
delivery goes as a probe: its success closes the breaker, its fault opens it for longer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from relay.clock import MINUTE, SECOND
from relay.model.health import AccountHealth

FIRST_PAUSE = 5 * SECOND
LONGEST_PAUSE = 5 * MINUTE


FOR_THE_FIRST = 5 * SECOND
"""How much longer others wait: who found the fault probes first, and they only if nothing is heard of that."""


@dataclass(frozen=True, slots=True)
class Breaker:
    """`faults` in a row; `open_until` (µs) while faults stand; `ailment` is the latest of them, for people."""

    faults: int = 0
    open_until: int = 0
    ailment: str = ""

    @property
    def is_closed(self) -> bool:
        """No fault stands."""
        return self.faults == 0

    def allowance(self, now: int, free: int, in_flight: int) -> int:
        """How many of `free` slots may be used."""
        if self.is_closed:
            return free
        return 1 if now >= self.open_until and in_flight == 0 and free > 0 else 0

    def try_now(self) -> Breaker:
        """The pause ends early; the fault stands until a probe has gone well."""
        return replace(self, open_until=0)

    def health(self, account_key: str) -> AccountHealth:
        """For the others."""
        return AccountHealth(account_key, self.faults, self.open_until, self.ailment)

    def after_fault(self, now: int, ailment: str = "", asked: int = 0) -> Breaker:
        """The next state; faults of attempts that ran side by side count once. `asked`: the pause that a reply asks for."""
        if now < self.open_until:
            return self
        pause = max(asked, min(FIRST_PAUSE << min(self.faults, 20), LONGEST_PAUSE))
        return Breaker(self.faults + 1, now + pause, ailment)


def elsewhere(health: AccountHealth) -> Breaker:
    """Of an account that another process has attempted."""
    if health.faults == 0:
        return Breaker()
    return Breaker(health.faults, health.paused_until + FOR_THE_FIRST, health.ailment)
