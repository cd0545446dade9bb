"""Split: what must not go together. Pure; its test is a table.

A delivery is divided where some of its recipients are at a domain with a limit of its own, or where a limit on recipients is
smaller than their number; it is moved where its account is another by now.
"""

from __future__ import annotations

from collections import defaultdict

from relay.model.address import domain_of
from relay.model.delivery import LeasedDelivery, Part
from relay.model.limit import NO_LIMITS
from relay.model.queue_key import QueueKey
from relay.model.tenant import Account, Tenant


def undivided(account: Account, tenant: Tenant) -> str | None:
    """The queue whose mail goes as it is; None: it depends on the recipients."""
    bounded = account.limits.most_recipients or tenant.limits.most_recipients
    return None if bounded or tenant.domain_limits else f"{account.key}/{tenant.id}"


def parts_of(delivery: LeasedDelivery, account: Account, tenant: Tenant) -> tuple[Part, ...]:
    """In which parts it goes, each by its own queue; empty where it goes as it is."""
    if delivery.queue_key == undivided(account, tenant):
        return ()
    by_domain: dict[str | None, list[int]] = defaultdict(list)
    for recipient in delivery.recipients:
        domain = domain_of(recipient.address)
        by_domain[domain if domain in tenant.domain_limits else None].append(recipient.position)
    parts = [
        Part(str(QueueKey(account.key, tenant.id, domain)), tuple(chunk))
        for domain, positions in by_domain.items()
        for chunk in _chunks(positions, _most(account, tenant, domain))
    ]
    return () if [part.queue_key for part in parts] == [delivery.queue_key] else tuple(parts)


def _most(account: Account, tenant: Tenant, domain: str | None) -> int | None:
    """The most recipients that may ever go at once."""
    limits = (account.limits, tenant.limits, tenant.domain_limits[domain] if domain else NO_LIMITS)
    return min((most for each in limits if (most := each.most_recipients) is not None), default=None)


def _chunks(positions: list[int], most: int | None) -> list[list[int]]:
    if most is None:
        return [positions]
    return [positions[at : at + most] for at in range(0, len(positions), most)]
