"""The directory: the instance's settings, tenants and what they own (relay.contracts.Directory), read through a cache that
every change empties."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from relay.contracts.directory import NewToken
from relay.errors import NotFound
from relay.model.instance import Instance
from relay.model.tenant import Account, Credential, Tenant, Token
from storage import configuration, identities
from storage.cache import Cache
from storage.cipher import Cipher
from storage.configuration_rows import read_credential, read_tenant, read_token
from storage.database import Database, Peers
from storage.work import Row, T, Values, Work, fetch, fetch_one, notify

RemoveContents = Callable[[Sequence[str]], Awaitable[None]]


class Directory:
    """Satisfies relay.contracts.Directory."""

    def __init__(
        self, database: Database, cipher: Cipher, remove_contents: RemoveContents, peers: Peers | None = None
    ) -> None:
        self._database = database
        self._cipher = cipher
        self._remove_contents = remove_contents
        self._changing: set[asyncio.Task[Any]] = set()
        self._used: dict[str, int] = {}
        self._suppressing: set[str] = set()
        """Tenants that have had something on their list since they were last looked up and had nothing."""
        self._peers = peers
        self.cache = Cache()
        if peers is not None:
            self.cache.changes = peers.changes
        self._instance = self.cache.kind(self._look_up_instance)
        self._tenants = self.cache.kind(self._look_up_tenant)
        self._accounts = self.cache.kind(self._look_up_account)
        self._credentials = self.cache.kind(self._look_up_credential)
        self._all_credentials = self.cache.kind(self._look_up_credentials)
        self._tokens = self.cache.kind(self._look_up_token)

    @property
    def generation(self) -> int:
        """See Directory."""
        return self.cache.generation

    async def instance(self) -> Instance:
        """See Directory."""
        return await self._instance.get(())

    async def _look_up_instance(self, _: tuple[()]) -> Instance:
        return await self._database.read(configuration.find_instance())

    async def change_instance(self, change: Callable[[Instance], Instance]) -> Instance:
        """See Directory."""
        return await self.change(configuration.change_instance(change))

    async def tenant(self, tenant: str) -> Tenant:
        """See Directory."""
        found = await self._tenants.get(tenant)
        if found is None:
            raise NotFound(f"no tenant {tenant}")
        return found

    async def _look_up_tenant(self, tenant: str) -> Tenant | None:
        found = await self._database.read(configuration.find_tenant(tenant))
        if found is None or not found.suppresses:
            self._suppressing.discard(tenant)
        return found

    async def suppresses(self, tenant: str) -> bool:
        """Whether a tenant has anything on its list of suppressions."""
        found = await self._tenants.get(tenant)
        return found is not None and found.suppresses

    def note_suppressing(self, tenant: str) -> None:
        """Something was put on its list: what this process knew before is forgotten, unless it knew that."""
        if tenant not in self._suppressing:
            self._suppressing.add(tenant)
            self._tell_changed()

    async def tenants(self) -> Sequence[Tenant]:
        """See Directory."""
        return await self._all("tenants", {}, read_tenant)

    async def add_tenant(self, tenant: Tenant, first: NewToken | None = None) -> None:
        """See Directory."""
        await self.change(identities.add_tenant(tenant, first))

    async def change_tenant(self, tenant: str, change: Callable[[Tenant], Tenant]) -> Tenant:
        """See Directory."""
        return await self.change(configuration.change_tenant(tenant, change))

    async def delete_tenant(self, tenant: str) -> None:
        """See Directory. Its closed messages and its suppressions go first, some at a time, so that no writer waits long."""
        while keys := await self._database.write(configuration.delete_old_messages(tenant)):
            await self._remove_contents(keys)
        while await self._database.write(configuration.delete_suppressions_of(tenant)):
            pass
        await self.change(configuration.delete_tenant(tenant))

    async def set_default_account(self, tenant: str, account: str) -> None:
        """See Directory."""
        await self.change(configuration.set_default_account(tenant, account))

    async def account(self, tenant: str, account: str | None) -> Account | None:
        """See Directory."""
        return await self._accounts.get((tenant, account))

    async def _look_up_account(self, key: tuple[str, str | None]) -> Account | None:
        return await self._database.read(configuration.find_account(*key, self._cipher))

    async def owned_account(self, owner: str, account: str) -> Account:
        """See Directory."""
        row = await self._database.read(fetch_one("account", {"owner": owner, "account": account}))
        if row is None:
            raise NotFound(f"no account {account}")
        return configuration.open_account(row, self._cipher)

    async def accounts(self, owner: str | None) -> Sequence[Account]:
        """See Directory."""
        return await self._all("accounts", {"owner": owner}, lambda row: configuration.open_account(row, self._cipher))

    async def add_account(self, account: Account, *, default: bool) -> None:
        """See Directory."""
        await self.change(configuration.add_account(account, self._cipher, default=default))

    async def change_account(self, owner: str, account: str, change: Callable[[Account], Account]) -> Account:
        """See Directory."""
        return await self.change(configuration.change_account(owner, account, self._cipher, change))

    async def note_mended(self) -> None:
        """See Directory."""
        await self.change(notify([configuration.CHANGED]))

    async def delete_account(self, owner: str, account: str) -> None:
        """See Directory."""
        await self.change(configuration.delete_account(owner, account))

    async def credential(self, username: str) -> Credential | None:
        """See Directory."""
        return await self._credentials.get(username)

    async def _look_up_credential(self, username: str) -> Credential | None:
        row = await self._database.read(fetch_one("credential", {"username": username}))
        return None if row is None else read_credential(row)

    async def credentials(self, tenant: str | None) -> Sequence[Credential]:
        """See Directory."""
        return await self._all_credentials.get(tenant)

    async def _look_up_credentials(self, tenant: str | None) -> Sequence[Credential]:
        return await self._all("credentials", {"tenant": tenant}, read_credential)

    async def add_credential(self, credential: Credential) -> None:
        """See Directory."""
        await self.change(identities.add_credential(credential))

    async def change_credential(
        self, tenant: str | None, username: str, change: Callable[[Credential], Credential]
    ) -> Credential:
        """See Directory."""
        return await self.change(identities.change_credential(tenant, username, change))

    async def delete_credential(self, tenant: str | None, username: str) -> None:
        """See Directory."""
        await self.change(identities.delete_credential(tenant, username))

    async def token(self, secret_hash: str) -> Token | None:
        """See Directory."""
        return await self._tokens.get(secret_hash)

    async def _look_up_token(self, secret_hash: str) -> Token | None:
        return await self._database.read(identities.find_token(secret_hash))

    async def tokens(self, tenant: str | None) -> Sequence[Token]:
        """See Directory."""
        return await self._all("tokens", {"tenant": tenant}, read_token)

    async def add_token(self, token: Token, secret_hash: str) -> None:
        """See Directory."""
        await self.change(identities.add_token(token, secret_hash))

    async def change_token(self, tenant: str | None, token: str, change: Callable[[Token], Token]) -> Token:
        """See Directory."""
        return await self.change(identities.change_token(tenant, token, change))

    async def rotate_token(self, tenant: str | None, token: str, secret_hash: str, previous_until: int) -> Token:
        """See Directory."""
        return await self.change(identities.rotate_token(tenant, token, secret_hash, previous_until))

    def token_used(self, token: str, at: int) -> None:
        """See Directory."""
        self._used[token] = at

    async def note_uses(self) -> None:
        """Write down which tokens were used; for the janitor."""
        used, self._used = self._used, {}
        if used:
            await self._database.write(identities.note_uses(used))

    async def revoke_token(self, tenant: str | None, token: str) -> None:
        """See Directory."""
        await self.change(identities.delete_token(tenant, token))

    async def change(self, work: Work[T]) -> T:
        """Commit a work that changes the configuration, and forget; even where the caller no longer waits."""
        task = asyncio.get_running_loop().create_task(self._commit(work))
        self._changing.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._changing.discard(task)
        if not task.cancelled():
            task.exception()  # seen, even where nobody waits for it any more

    async def _commit(self, work: Work[T]) -> T:
        try:
            return await self._database.write(work)
        finally:  # a store that went away during the commit may have kept it
            self._tell_changed()

    def _tell_changed(self) -> None:
        if self._peers is not None:
            self._peers.note_change()
        self.cache.forget()

    async def _all(self, statement: str, values: Values, read: Callable[[Row], T]) -> Sequence[T]:
        return [read(row) for row in await self._database.read(fetch(statement, values))]
