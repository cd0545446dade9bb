"""Route: by which account mail of a tenant goes, and whether anything but a free connection has a say in when.

Looked up once and kept while the configuration stands, since nearly every message takes one that another has taken.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from relay.contracts.directory import Directory
from relay.errors import NotFound, Refusal, Rejected
from relay.model.queue_key import QueueKey
from relay.model.tenant import Account, Tenant


@dataclass(frozen=True, slots=True)
class Route:
    """`generation` is the directory's: while that stands, so does this. Below zero: it may not."""

    tenant: Tenant
    account: Account
    queue_key: str
    generation: int
    is_free: bool
    """Neither limits nor suspensions of the tenant, which a claim reads from the store, have a say."""

    def is_free_for(self, batch: str | None) -> bool:
        """The same for one batch."""
        return self.is_free or not (_is_limited(self.tenant) or self.tenant.suspends(batch))


class Routes:
    """Finds them."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._known: dict[tuple[str, str | None], Route] = {}
        self._generation = -1
        """Of all that is known."""

    async def find(self, tenant: str, account: str | None) -> Route:
        """That of a tenant's mail naming an account, or none. Rejected (AUTH_REQUIRED, NO_ACCOUNT, ACCOUNT_DISABLED)."""
        generation = self._directory.generation
        if generation == self._generation and (known := self._known.get((tenant, account))) is not None:
            return known
        owner = await self._owner(tenant)
        found = await self._directory.account(tenant, account)
        if found is None:
            raise Rejected(Refusal.NO_ACCOUNT, account or "no default is set", path="account")
        if not found.enabled:
            raise Rejected(Refusal.ACCOUNT_DISABLED, found.id, path="account")
        if generation != self._directory.generation:  # while it was looked up
            generation = -1
        route = Route(owner, found, str(QueueKey(found.key, tenant)), generation, _is_free(owner))
        if generation >= 0:
            self._keep(route, tenant, account)
        return route

    async def renewed(self, route: Route) -> Route:
        """With its tenant as that stands now. Rejected (AUTH_REQUIRED)."""
        if 0 <= route.generation == self._directory.generation:
            return route
        owner = await self._owner(route.tenant.id)
        return replace(route, tenant=owner, is_free=_is_free(owner))

    def _keep(self, route: Route, tenant: str, account: str | None) -> None:
        if self._generation != route.generation:
            self._known.clear()
            self._generation = route.generation
        self._known[tenant, account] = route

    async def _owner(self, tenant: str) -> Tenant:
        try:
            return await self._directory.tenant(tenant)
        except NotFound:
            raise Rejected(Refusal.AUTH_REQUIRED) from None


def _is_limited(tenant: Tenant) -> bool:
    return tenant.limits.is_set or bool(tenant.domain_limits)


def _is_free(tenant: Tenant) -> bool:
    return not (_is_limited(tenant) or tenant.suspensions)
