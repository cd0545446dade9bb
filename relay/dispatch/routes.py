"""Routes: whose mail goes by which account, as the directory has them now: looked up once in each of its generations."""

from __future__ import annotations

from dataclasses import dataclass

from relay.contracts.directory import Directory
from relay.dispatch.retry import RetryPolicy
from relay.dispatch.split import undivided
from relay.model.message import Message
from relay.model.tenant import Account, Tenant


@dataclass(frozen=True, slots=True)
class Route:
    """A tenant, and the account by which some of its mail goes."""

    owner: Tenant
    account: Account | None
    """None: there is none of that name."""
    retry: RetryPolicy
    undivided: str | None
    """The queue whose mail goes as it is; None: each delivery must be looked at (relay.dispatch.split)."""


class Routes:
    """Remembers them."""

    def __init__(self, directory: Directory, retry: RetryPolicy) -> None:
        """`retry` is the instance's."""
        self._directory = directory
        self._retry = retry
        self._known: dict[tuple[str, str], Route] = {}
        self._generation = 0

    async def find(self, message: Message) -> Route:
        """Of a message; as the directory, NotFound and StoreUnavailable."""
        generation = self._directory.generation
        if generation != self._generation:
            self._known.clear()
            self._generation = generation
        key = (message.tenant, message.account)
        if (known := self._known.get(key)) is not None:
            return known
        owner = await self._directory.tenant(message.tenant)
        account = await self._directory.account(message.tenant, message.account)
        retry = self._retry.of(account, owner)
        if account is None:
            return Route(owner, None, retry, None)
        route = Route(owner, account, retry, undivided(account, owner))
        if 0 <= generation == self._directory.generation:  # else it may be that of a moment ago
            self._known[key] = route
        return route
