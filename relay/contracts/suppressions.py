"""To whom a tenant must not send."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from relay.model.suppression import Found, Imported, Suppression, SuppressionFilter


class SuppressionList(Protocol):
    """To whom tenants must not send. A list may be long: it is asked for addresses, never read as a whole. What has ended is
    as if it were not there."""

    async def find(self, tenant: str, addresses: Sequence[str]) -> Found:
        """What stands against these; one indexed look-up for all of them."""

    async def suppressions(self, wanted: SuppressionFilter) -> Sequence[Suppression]:
        """A page, by address."""

    async def suppression(self, tenant: str, address: str) -> Suppression:
        """Exactly this entry (an address in normal form, or a domain); NotFound."""

    async def put(self, tenant: str, entries: Sequence[Suppression]) -> Imported:
        """Put a tenant's on the list, in place of what it says of the same addresses, in one transaction. NotFound."""

    async def remove(self, tenant: str, address: str) -> None:
        """NotFound."""
