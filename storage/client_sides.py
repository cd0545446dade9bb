"""Client sides in the store (relay.contracts.ClientSides): their secrets are ciphertext."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from relay.model.client_side import NO_CLIENT_SIDE, ClientAuth, ClientSide
from storage.cipher import Cipher
from storage.configuration import begin_change, require_tenant
from storage.database import Database
from storage.directory import Directory
from storage.work import Row, Values, Work, execute, fetch, fetch_one


class ClientSides:
    """Satisfies relay.contracts.ClientSides."""

    def __init__(self, database: Database, directory: Directory, cipher: Cipher) -> None:
        self._database = database
        self._directory = directory
        self._cipher = cipher
        self._known = directory.cache.kind(self._look_up)

    async def client_side(self, tenant: str) -> ClientSide:
        """See ClientSides."""
        return await self._known.get(tenant)

    async def _look_up(self, tenant: str) -> ClientSide:
        return await self._database.read(_find(tenant, self._cipher))

    async def client_sides(self) -> Mapping[str, ClientSide]:
        """See ClientSides."""
        rows = await self._database.read(fetch("client_sides"))
        return {row[0]: _read(row, self._cipher) for row in rows}

    async def change_client_side(self, tenant: str, change: Callable[[ClientSide], ClientSide]) -> ClientSide:
        """See ClientSides."""
        return await self._directory.change(_change(tenant, self._cipher, change))


def _find(tenant: str, cipher: Cipher) -> Work[ClientSide]:
    row = yield from fetch_one("client_side", {"tenant": tenant})
    return NO_CLIENT_SIDE if row is None else _read(row, cipher)


def _change(tenant: str, cipher: Cipher, change: Callable[[ClientSide], ClientSide]) -> Work[ClientSide]:
    yield from begin_change()
    yield from require_tenant(tenant)
    current = yield from _find(tenant, cipher)
    changed = change(current)
    if changed != current:
        yield from execute("put_client_side", _write(tenant, changed, cipher))
    return changed


def _place(tenant: str) -> tuple[str, ...]:
    return "client_sides", "secret", tenant, tenant


def _read(row: Row, cipher: Cipher) -> ClientSide:
    tenant, base_url, sync_path, attachment_path, auth, login, sealed, active = row
    secret = None if sealed is None else cipher.open(sealed, *_place(tenant))
    return ClientSide(base_url, sync_path, attachment_path, ClientAuth(auth), login, secret, bool(active))


def _write(tenant: str, side: ClientSide, cipher: Cipher) -> Values:
    return {
        "tenant": tenant,
        "base_url": side.base_url,
        "sync_path": side.sync_path,
        "attachment_path": side.attachment_path,
        "auth": side.auth.value,
        "login": side.user,
        "secret": None if side.secret is None else cipher.seal(side.secret, *_place(tenant)),
        "active": int(side.active),
    }
