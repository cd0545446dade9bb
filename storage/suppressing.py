"""Suppressing: the lists of addresses to which tenants must not send (relay.contracts.SuppressionList).

A list is looked into by primary key and never held in memory. Whether a tenant has one at all is kept with the tenant in the
configuration's cache, so that those without pay nothing; who makes the first entry has every cache emptied.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from relay.clock import Clock
from relay.errors import NotFound
from relay.model.suppression import Found, Imported, Suppression, SuppressionFilter, against, keys_of
from storage.configuration import CHANGED, require_tenant
from storage.configuration_rows import read_suppression, write_suppression
from storage.database import Database
from storage.directory import Directory
from storage.work import Values, Work, execute, fetch, fetch_one, notify

LAST = "\U0010ffff"
"""Stands behind every character of an address."""


class SuppressionList:
    """Satisfies relay.contracts.SuppressionList."""

    def __init__(self, database: Database, directory: Directory, clock: Clock) -> None:
        self._database = database
        self._directory = directory
        self._clock = clock

    async def find(self, tenant: str, addresses: Sequence[str]) -> Found:
        """See SuppressionList."""
        return (await self._database.read(find_suppressed({tenant: addresses}, self._now()))).get(tenant, {})

    async def suppressions(self, wanted: SuppressionFilter) -> Sequence[Suppression]:
        """See SuppressionList."""
        return await self._database.read(_list(wanted, self._now()))

    async def suppression(self, tenant: str, address: str) -> Suppression:
        """See SuppressionList."""
        row = await self._database.read(fetch_one("suppression", {**self._now(), "tenant": tenant, "address": address}))
        if row is None:
            raise _not_there(address)
        return read_suppression(row)

    async def put(self, tenant: str, entries: Sequence[Suppression]) -> Imported:
        """See SuppressionList."""
        imported = await self._database.write(_put(tenant, entries, self._now()))
        self._directory.note_suppressing(tenant)
        return imported

    async def remove(self, tenant: str, address: str) -> None:
        """See SuppressionList."""
        if not await self._database.write(execute("delete_suppression", {"tenant": tenant, "address": address})):
            raise _not_there(address)

    def _now(self) -> Values:
        return {"now": self._clock.now()}


def _not_there(address: str) -> NotFound:
    return NotFound(f"{address} is not on the list of suppressions")


def find_suppressed(asked: Mapping[str, Sequence[str]], lease: Values) -> Work[dict[str, Found]]:
    """What stands against addresses, by tenant."""
    keys = {(tenant, key) for tenant, addresses in asked.items() for one in addresses for key in keys_of(one)}
    rows = yield from fetch("suppressed", lease, sorted(keys))
    listed: dict[str, dict[str, Suppression]] = {}
    for one in map(read_suppression, rows):
        listed.setdefault(one.tenant, {})[one.address] = one
    return {tenant: against(asked[tenant], of) for tenant, of in listed.items()}


def note_found(entries: Iterable[Suppression], lease: Values) -> Work[None]:
    """What attempts have found, in the transaction that settles them."""
    found = {(one.tenant, one.address): one for one in entries}
    if found:
        yield from _tell_first({one.tenant for one in found.values()})
        yield from execute("note_suppressions", lease, [write_suppression(found[key]) for key in sorted(found)])


def _put(tenant: str, entries: Sequence[Suppression], now: Values) -> Work[Imported]:
    """Of several entries of one address the last counts."""
    yield from require_tenant(tenant)
    yield from _tell_first({tenant})
    given = {one.address: one for one in entries}
    rows = yield from fetch("suppressed", now, [(tenant, address) for address in sorted(given)])
    there = {one.address: one for one in map(read_suppression, rows)}
    changed = [key for key in given if key in there and not given[key].says_the_same(there[key])]
    added = [key for key in given if key not in there]
    written = [write_suppression(given[key]) for key in sorted([*added, *changed])]
    yield from execute("put_suppressions", given=written)
    return Imported(len(added), len(changed), len(given) - len(added) - len(changed))


def _tell_first(tenants: Collection[str]) -> Work[None]:
    """Have other instances look again at tenants that had nothing on their list, as far as is seen from here."""
    for tenant in sorted(tenants):
        if (yield from fetch_one("suppresses", {"tenant": tenant})) is None:
            yield from notify([CHANGED])


def _list(wanted: SuppressionFilter, now: Values) -> Work[Sequence[Suppression]]:
    values = {
        **now,
        "tenant": wanted.tenant,
        "after": wanted.after,
        "first": wanted.prefix,
        "end": wanted.prefix + LAST,
        "limit": wanted.limit,
    }
    if wanted.reason is None:
        rows = yield from fetch("list_suppressions", values)
    else:
        rows = yield from fetch("list_suppressions_by_reason", {**values, "reason": wanted.reason.value})
    return [read_suppression(row) for row in rows]
