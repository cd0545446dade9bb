"""The message queue: relay.contracts.MessageQueue, each call an item of the group commit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from relay.clock import Clock
from relay.contracts import Accepted
from relay.model.delivery import Claim, LeasedDelivery, NewMessage, QueueHead, Settlement
from storage import leasing, settling
from storage.accepting import accept_messages
from storage.database import Database
from storage.group_commit import GroupCommit, Item, Outcome
from storage.work import Values, Work, fetch_one

ReadyCallback = Callable[[str, int], None]
"""Told of a queue key with a delivery that became ready, and when it is due."""


@dataclass(frozen=True, slots=True)
class _Accept(Item[Accepted]):
    new: NewMessage


@dataclass(frozen=True, slots=True)
class _Settle(Item[bool]):
    settlement: Settlement


@dataclass(frozen=True, slots=True)
class _Release(Item[None]):
    deliveries: Sequence[LeasedDelivery]


@dataclass(frozen=True, slots=True)
class _Claim(Item[Claim]):
    wanted: leasing.Wanted


class Queue:
    """Satisfies MessageQueue. Leases are held in the name of `holder` for `lease` µs."""

    def __init__(self, database: Database, *, holder: str, lease: int, clock: Clock, on_ready: ReadyCallback) -> None:
        self._database = database
        self._holder = holder
        self._lease = lease
        self._clock = clock
        self._on_ready = on_ready
        self._group = GroupCommit(database, self._compose)

    async def accept(self, new: NewMessage) -> Accepted:
        """See MessageQueue."""
        return await self._group.put(_Accept(new))

    async def claim(self, queue_key: str, limit: int) -> Claim:
        """See MessageQueue."""
        return await self._group.put(_Claim(leasing.Wanted(queue_key, limit)))

    async def settle(self, settlement: Settlement) -> bool:
        """See MessageQueue."""
        return await self._group.put(_Settle(settlement))

    async def release(self, deliveries: Sequence[LeasedDelivery]) -> None:
        """See MessageQueue."""
        await self._group.put(_Release(deliveries))

    async def renew(self, deliveries: Sequence[LeasedDelivery]) -> frozenset[str]:
        """See MessageQueue."""
        return await self._database.write(leasing.renew(deliveries, self._lease_values()))

    async def recover(self) -> int:
        """See MessageQueue. Whoever listens to the store hears of what became ready."""
        return await self._recover("recover")

    async def release_former_life(self) -> int:
        """Before the first claim: what this instance held when it last ended. In SQLite, what anybody held."""
        return await self._recover("release_all" if self._database.dialect == "sqlite" else "release_holder")

    async def _recover(self, statement: str) -> int:
        ready = await self._database.write(leasing.recover(statement, self._lease_values()))
        for queue_key, due in ready:
            self._on_ready(queue_key, due)
        return len(ready)

    async def heads(self) -> Sequence[QueueHead]:
        """See MessageQueue."""
        return await self._database.read(leasing.heads(self._lease_values()))

    async def open_deliveries(self) -> int:
        """See MessageQueue."""
        row = await self._database.read(fetch_one("open_deliveries"))
        return int(row[0]) if row else 0

    async def close(self) -> None:
        """Commit what was put in."""
        await self._group.close()

    def _lease_values(self) -> Values:
        clock = self._clock
        return {"holder": self._holder, "lease": self._lease, "now": clock.now(), "boot": clock.boot()}

    def _compose(self, items: Sequence[Item[object]]) -> Work[Sequence[Outcome]]:
        """One work of a group. Claims come last: they see what was accepted and given back with them."""
        outcomes: dict[int, Outcome] = {}
        lease = self._lease_values()
        accepts = {at: item for at, item in enumerate(items) if isinstance(item, _Accept)}
        settles = {at: item for at, item in enumerate(items) if isinstance(item, _Settle)}
        releases = [item for item in items if isinstance(item, _Release)]
        claims = {at: item for at, item in enumerate(items) if isinstance(item, _Claim)}
        if accepts:
            accepted = yield from accept_messages([item.new for item in accepts.values()], lease)
            outcomes.update(zip(accepts, accepted, strict=True))
        if settles:
            settled = yield from settling.settle([item.settlement for item in settles.values()], self._holder)
            outcomes.update(zip(settles, settled, strict=True))
        if releases:
            yield from settling.release([one for item in releases for one in item.deliveries], self._holder)
        if claims:
            claimed = yield from leasing.claim([item.wanted for item in claims.values()], lease)
            outcomes.update(zip(claims, claimed, strict=True))
        return [outcomes.get(at) for at in range(len(items))]
