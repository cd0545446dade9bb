"""Retry policy: should it be tried again, and when? Pure; its test is a table."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from zlib import crc32

from relay.clock import DAY, HOUR, MINUTE, SECOND
from relay.model.delivery import Asked
from relay.model.tenant import INHERIT, Account, RetrySettings, Tenant

DEFAULT_SCHEDULE = (1 * MINUTE, 5 * MINUTE, 15 * MINUTE, 1 * HOUR, 2 * HOUR)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`schedule`: the delay before each retry. Times in µs, ages since the message could first be sent.

    Its end is the end, unless `max_age` or `max_attempts` say how long the last delay is repeated; neither is ever passed.
    """

    schedule: tuple[int, ...] = DEFAULT_SCHEDULE
    max_age: int | None = None
    jitter: float = 0.1
    """Each delay is moved by up to this share of itself, so that what failed together does not come back together."""
    max_attempts: int | None = None
    hint_min: int = 5 * SECOND
    """What a reply asks for ("try again in 300 seconds") is followed between this and `hint_max`."""
    hint_max: int | None = 2 * HOUR
    """None: what a reply asks for is not followed."""
    max_wait: int = 5 * DAY
    """How long mail waits for an account that is out of order, where there is no `max_age`."""

    def with_settings(self, *levels: RetrySettings) -> RetryPolicy:
        """As the levels nearer to the mail change it: the account's first, then the tenant's."""
        changes = {}
        for level in reversed(levels):
            for each in fields(level):
                if (value := getattr(level, each.name)) is not None:
                    changes[each.name] = value
        return replace(self, **changes) if changes else self

    def of(self, account: Account | None, owner: Tenant) -> RetryPolicy:
        """The account's, then the tenant's, then the instance's, which this is."""
        return self.with_settings(account.retry if account else INHERIT, owner.retry)

    def grants(self, asked: Asked | None) -> int | None:
        """The delay to keep where one is asked for: an operator's as it stands, a reply's within bounds."""
        if asked is None or asked.by_rule:
            return asked.delay if asked else None
        return None if self.hint_max is None else min(max(asked.delay, self.hint_min), self.hint_max)

    def next_attempt(
        self, attempts: int, since: int, now: int, spread: float, *, granted: int | None = None
    ) -> int | None:
        """When to try again after `attempts` tries (1 and more), or None: give up.

        `since` is when the message could first be sent; `spread`, in [0, 1), places the attempt within the jitter; `granted`
        is the delay in place of the schedule's, which the jitter never shortens.
        """
        if not self.schedule or (self.max_attempts is not None and attempts >= self.max_attempts):
            return None
        delay = self.schedule[min(attempts, len(self.schedule)) - 1]
        goes_on = attempts <= len(self.schedule) or self.max_age is not None or self.max_attempts is not None
        if granted is None:
            at = now + round(delay * (1 + self.jitter * (2 * spread - 1)))
        else:
            if not goes_on and now - since < sum(self.schedule):
                # It came sooner than the schedule because it was asked to: that must not be its end sooner, too.
                goes_on, granted = True, max(granted, delay)
            at = now + round(granted * (1 + self.jitter * spread))
        if not goes_on or (self.max_age is not None and at > since + self.max_age):
            return None
        return at

    @property
    def longest_wait(self) -> int:
        """How long a message waits for an account that is out of order."""
        return self.max_wait if self.max_age is None else self.max_age


def spread_of(delivery: str, attempt: int) -> float:
    """A number in [0, 1) that is the same whenever it is asked for: retries are spread, and yet can be foretold."""
    return crc32(f"{delivery}/{attempt}".encode()) / 2**32
