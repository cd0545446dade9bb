"""Queue key: the name of what waits for one way out on behalf of one tenant, as `owner/account/tenant[/domain]`.

The account's owner is a tenant or INSTANCE. A domain stands there only where the tenant's mail to it has a limit of its own,
so that what waits for that limit is in nobody's way.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class QueueKey:
    """A queue key, taken apart."""

    account_key: str
    """Account.key: `owner/account`."""
    tenant: str
    domain: str | None = None

    def __str__(self) -> str:
        return f"{self.account_key}/{self.tenant}" + (f"/{self.domain}" if self.domain else "")

    @staticmethod
    def parse(text: str) -> QueueKey:
        """What str() made."""
        owner, account, tenant, *domain = text.split("/", 3)
        return QueueKey(f"{owner}/{account}", tenant, domain[0] if domain else None)


def account_key_of(queue_key: str) -> str:
    """The account in a queue key."""
    owner, account, _ = queue_key.split("/", 2)
    return f"{owner}/{account}"
