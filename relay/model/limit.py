"""Limit: how much may be sent in any window of a minute, an hour and a day (promise 6).

Accounts have limits, tenants have, and so has a tenant's mail to a destination domain. The keys name a limit in the store
and between instances.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from relay.model.word import Word


class LimitUnit(Word):
    """What is counted."""

    MESSAGES = "messages"  # transactions: what one receiver takes at once
    RECIPIENTS = "recipients"


class OnLimit(Word):
    """What becomes of mail that finds its limit reached."""

    DEFER = "defer"  # waits for the instant a slot opens
    REJECT = "reject"  # fails


@dataclass(frozen=True, slots=True)
class Limits:
    """How many `unit` may be sent in any window of that length; None is no limit."""

    per_minute: int | None = None
    per_hour: int | None = None
    per_day: int | None = None
    unit: LimitUnit = LimitUnit.MESSAGES
    on_limit: OnLimit = OnLimit.DEFER
    is_set: bool = field(init=False, repr=False, compare=False)
    """Whether there is one."""

    def __post_init__(self) -> None:
        is_set = not (self.per_minute is None and self.per_hour is None and self.per_day is None)
        object.__setattr__(self, "is_set", is_set)

    @property
    def most_recipients(self) -> int | None:
        """The most recipients that can ever go at once: more must be split. None: any number."""
        if self.unit is not LimitUnit.RECIPIENTS:
            return None
        return min((most for most in (self.per_minute, self.per_hour, self.per_day) if most is not None), default=None)


NO_LIMITS = Limits()


class Slots(NamedTuple):
    """What a delivery under attempt has taken under one limit: one slot, or one for each recipient."""

    limit: str
    """Its key."""
    taken: int = 1


def account_limit(account_key: str) -> str:
    """The key of an account's limit; `account_key` is Account.key."""
    return f"account:{account_key}"


def tenant_limit(tenant: str) -> str:
    """The key of a tenant's limit, over all accounts."""
    return f"tenant:{tenant}"


def domain_limit(tenant: str, domain: str) -> str:
    """The key of the limit on a tenant's mail to a domain, over all accounts."""
    return f"domain:{tenant}/{domain}"
