"""The message queue: relay.contracts.MessageQueue, each call an item of the group commit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from relay.clock import Clock
from relay.contracts import Accepted
from relay.model.delivery import Claim, LeasedDelivery, NewMessage, QueueHead, Settlement
from relay.model.event import Event
from relay.model.explanation import LimitStanding
from relay.model.limit import Limits, Slots
from relay.model.queue_key import QueueKey
from storage import leasing, limiting, recovering, settling
from storage.accepting import accept_messages
from storage.cache import Cache
from storage.database import Database
from storage.directory import RemoveContents
from storage.group_commit import GroupCommit, Item, Outcome
from storage.ordinary import accept_ordinary, accepted_row, settle_ordinary, settled_row
from storage.refusing import keep_refused
from storage.windows import LENGTHS, Lengths, Limit
from storage.work import Lock, Row, Values, Work, fetch, fetch_one

ReadyCallback = Callable[[str, int], None]
"""Told of a queue key with a delivery that became ready, and when it is due."""
OpenCallback = Callable[[str], None]
"""Told of the key of a limit under which a slot was given back."""
SuppressedCallback = Callable[[str], None]
"""Told of a tenant on whose list of suppressions something was put."""
HeldCallback = Callable[[Sequence[Event]], None]
"""Told of what was held because its holders died: the events."""


@dataclass(frozen=True, slots=True)
class _Accept(Item[Accepted]):
    new: NewMessage
    row: Row | None
    """Where it is ordinary."""


@dataclass(frozen=True, slots=True)
class _Settle(Item[bool]):
    settlement: Settlement
    row: Row | None
    """Where it is ordinary."""


@dataclass(frozen=True, slots=True)
class _Release(Item[None]):
    deliveries: Sequence[LeasedDelivery]


@dataclass(frozen=True, slots=True)
class _Claim(Item[Claim]):
    wanted: leasing.Wanted


class Queue:
    """Satisfies MessageQueue and LimitMeters. Leases are held in the name of `holder` for `lease` µs."""

    def __init__(
        self,
        database: Database,
        *,
        holder: str,
        lease: int,
        clock: Clock,
        cache: Cache,
        on_ready: ReadyCallback,
        on_open: OpenCallback,
        on_held: HeldCallback,
        on_suppressed: SuppressedCallback,
        suppresses: Callable[[str], Awaitable[bool]],
        remove_large: RemoveContents,
        lengths: Lengths = LENGTHS,
    ) -> None:
        """`cache` is the configuration's: it says what limits an account has. `remove_large` is told of messages that were
        replaced, whose large content, beside the rows, is to go; `suppresses` says whether a tenant has a list of
        suppressions."""
        self._database = database
        self.holder = holder
        self._lease = lease
        self._clock = clock
        self._cache = cache
        self._on_ready = on_ready
        self._on_open = on_open
        self._on_held = on_held
        self._on_suppressed = on_suppressed
        self._suppresses = suppresses
        self._remove_large = remove_large
        self._lengths = lengths
        self._group = GroupCommit(database, self._compose)

    def accept(self, new: NewMessage) -> asyncio.Future[Accepted]:
        """See MessageQueue."""
        row = accepted_row(new)
        return asyncio.ensure_future(self._accept(new)) if row is None else self._group.put(_Accept(new, row))

    async def _accept(self, new: NewMessage) -> Accepted:
        accepted = await self._group.put(_Accept(new, None))
        if accepted.replaces is not None:
            await self._remove_large([accepted.replaces])
        return accepted

    async def keep_refused(self, refused: NewMessage) -> bool:
        """See MessageQueue."""
        return await self._database.write(keep_refused(refused, self._lease_values()))

    async def claim(self, queue_key: str, limit: int) -> Claim:
        """See MessageQueue."""
        limits, suspends = await self._cache.get(("queue", queue_key), lambda: self._look_up(queue_key))
        suppresses = await self._suppresses(QueueKey.parse(queue_key).tenant)
        return await self._group.put(_Claim(leasing.Wanted(queue_key, limit, limits, suspends, suppresses)), ahead=True)

    async def _look_up(self, queue_key: str) -> tuple[tuple[Limit, ...], bool]:
        """The limits of a queue, and whether its tenant has suspended anything."""
        limits = await self._database.read(limiting.find_limits(queue_key, self._lengths))
        if limits:
            await self._database.write(limiting.make_limits(limits))
        suspensions = await self._database.read(fetch("suspensions", {"tenant": QueueKey.parse(queue_key).tenant}))
        return limits, bool(suspensions)

    async def claim_expired(self, limit: int) -> Claim:
        """See MessageQueue."""
        return await self._database.write(leasing.claim_expired(limit, self._lease_values()))

    async def claim_overdue(self, queue_key: str, wait: int, limit: int) -> Claim:
        """See MessageQueue."""
        return await self._database.write(leasing.claim_overdue(queue_key, wait, limit, self._lease_values()))

    async def settle(self, settlement: Settlement) -> bool:
        """See MessageQueue."""
        held = await self._group.put(_Settle(settlement, settled_row(settlement, self.holder)), ahead=True)
        if not settlement.spent:
            self._tell_open(settlement.slots)
        if settlement.suppressions:
            self._on_suppressed(settlement.tenant)
        return held

    async def release(self, deliveries: Sequence[LeasedDelivery]) -> None:
        """See MessageQueue."""
        await self._group.put(_Release(deliveries), ahead=True)
        self._tell_open([slots for delivery in deliveries for slots in delivery.slots])

    def _tell_open(self, given_back: Sequence[Slots]) -> None:
        for limit_key in {slots.limit for slots in given_back}:
            self._on_open(limit_key)

    async def renew(self, deliveries: Sequence[LeasedDelivery]) -> frozenset[str]:
        """See MessageQueue."""
        return await self._database.write(leasing.renew(deliveries, self._lease_values()))

    async def recover(self) -> int:
        """See MessageQueue. Whoever listens to the store hears of what became ready."""
        return await self._recover("recover")

    async def release_all(self) -> int:
        """Every lease, where nobody else can hold one; answers how many."""
        return await self._recover("release_all")

    async def release_of(self, holder: str) -> int:
        """The leases of a holder who is dead, and of those named after it (`holder.…`); answers how many."""
        return await self._recover("release_holder", holder)

    async def _recover(self, statement: str, holder: str | None = None) -> int:
        lease = self._lease_values()
        values = {**lease, "holder": holder or self.holder}
        recovered = await self._database.write(recovering.recover(statement, values))
        await self._database.write(limiting.stamp_strays(self._lease_values()))
        for queue_key, due in recovered.ready:
            self._on_ready(queue_key, due)
        if recovered.held:
            self._on_held(recovered.held)
        return len(recovered.ready)

    async def heads(self) -> Sequence[QueueHead]:
        """See MessageQueue."""
        return await self._database.read(leasing.heads(self._lease_values()))

    async def limits(self, queue_key: str) -> Sequence[LimitStanding]:
        """See MessageQueue."""
        limits, _ = await self._cache.get(("queue", queue_key), lambda: self._look_up(queue_key))
        return await self._database.read(limiting.standings(limits, self._lengths, self._lease_values()))

    async def standings(self, limits: Mapping[str, Limits]) -> Sequence[LimitStanding]:
        """See LimitMeters."""
        found = [limiting.limit_of(key, one, self._lengths) for key, one in limits.items()]
        return await self._database.read(limiting.standings(found, self._lengths, self._lease_values()))

    async def open_deliveries(self) -> int:
        """See MessageQueue."""
        row = await self._database.read(fetch_one("open_deliveries"))
        return int(row[0]) if row else 0

    async def prune(self) -> None:
        """Forget the sends that have left every window; for the janitor. Small transactions, each a limit's oldest."""
        for (limit_key,) in await self._database.read(fetch("limit_keys")):
            while await self._database.write(limiting.prune(limit_key, self._lengths.day, self._lease_values())):
                pass

    async def close(self) -> None:
        """Commit what was put in."""
        await self._group.close()

    def _lease_values(self) -> Values:
        clock = self._clock
        return {"holder": self.holder, "lease": self._lease, "now": clock.now(), "boot": clock.boot()}

    def _compose(self, items: Sequence[Item[object]], *, alone: bool) -> Work[Sequence[Outcome]]:
        """One work of a group. Locks of limits come first (storage.limiting), claims last: they see what was accepted and
        given back with them."""
        outcomes: dict[int, Outcome] = {}
        lease = self._lease_values()
        accepts = {at: item for at, item in enumerate(items) if isinstance(item, _Accept)}
        settles = {at: item for at, item in enumerate(items) if isinstance(item, _Settle)}
        releases = [item for item in items if isinstance(item, _Release)]
        claims = {at: item for at, item in enumerate(items) if isinstance(item, _Claim)}
        yield from limiting.begin(_limit_keys(settles.values(), releases, claims.values()))
        outcomes.update((yield from _accept(accepts, lease, ordinary=not alone)))
        outcomes.update((yield from _settle(settles, lease, ordinary=not alone)))
        if releases:
            yield from settling.release([one for item in releases for one in item.deliveries], lease)
        if claims:
            claimed = yield from leasing.claim([item.wanted for item in claims.values()], lease)
            outcomes.update(zip(claims, claimed, strict=True))
        return [outcomes.get(at) for at in range(len(items))]


def _accept(items: Mapping[int, _Accept], lease: Values, *, ordinary: bool) -> Work[dict[int, Outcome]]:
    """By one statement for all that are ordinary, if that is wanted; the others by the general way."""
    outcomes: dict[int, Outcome] = {}
    rows = {at: item.row for at, item in items.items() if item.row is not None} if ordinary else {}
    if rows:
        yield from accept_ordinary([items[at].new for at in rows], [*rows.values()], lease)
        outcomes.update((at, Accepted(items[at].new.message.id)) for at in rows)
    if len(rows) < len(items):
        others = {at: item.new for at, item in items.items() if at not in rows}
        outcomes.update(zip(others, (yield from accept_messages([*others.values()], lease)), strict=True))
    return outcomes


def _settle(items: Mapping[int, _Settle], lease: Values, *, ordinary: bool) -> Work[dict[int, Outcome]]:
    """The same of settlements."""
    outcomes: dict[int, Outcome] = {}
    rows: dict[int, Row] = {}
    if ordinary and len({item.settlement.delivery for item in items.values()}) == len(items):
        rows = {at: item.row for at, item in items.items() if item.row is not None}
    if 0 < len(rows) < len(items):  # two statements, each of which would lock its messages in order
        yield Lock("lock_messages", sorted({(item.settlement.message,) for item in items.values()}))
    if rows:
        yield from settle_ordinary([items[at].settlement for at in rows], [*rows.values()], lease)
        outcomes.update(dict.fromkeys(rows, True))
    if len(rows) < len(items):
        others = {at: item.settlement for at, item in items.items() if at not in rows}
        outcomes.update(zip(others, (yield from settling.settle([*others.values()], lease)), strict=True))
    return outcomes


def _limit_keys(settles: Iterable[_Settle], releases: Iterable[_Release], claims: Iterable[_Claim]) -> set[str]:
    """The limits under which something of a group takes, stamps or gives back a slot."""
    keys = {slots.limit for item in settles for slots in item.settlement.slots}
    keys |= {slots.limit for item in releases for delivery in item.deliveries for slots in delivery.slots}
    return keys | {limit.key for item in claims for limit in item.wanted.limits}
