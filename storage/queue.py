"""The message queue: relay.contracts.MessageQueue, each call an item of the group commit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from relay.clock import Clock
from relay.contracts.queue import Accepted
from relay.model.delivery import Claim, LeasedDelivery, NewMessage, QueueHead, Settlement
from relay.model.event import Event
from relay.model.explanation import LimitStanding
from relay.model.limit import Limits, Slots
from relay.model.queue_key import QueueKey
from storage import claiming, leasing, limiting, recovering
from storage.cache import Cache
from storage.composing import Accepting, Claiming, Releasing, Settling, compose
from storage.database import Database
from storage.directory import RemoveContents
from storage.group_commit import GroupCommit, Item, Outcome
from storage.ordinary import accepted_row, settled_row
from storage.refusing import keep_refused
from storage.windows import LENGTHS, Lengths, Limit
from storage.work import Values, Work, fetch, fetch_one

ReadyCallback = Callable[[str, int], None]
"""Told of a queue key with a delivery that became ready, and when it is due."""
OpenCallback = Callable[[str], None]
"""Told of the key of a limit under which a slot was given back."""
SuppressedCallback = Callable[[str], None]
"""Told of a tenant on whose list of suppressions something was put."""
HeldCallback = Callable[[Sequence[Event]], None]
"""Told of what was held because its holders died: the events."""


@dataclass(frozen=True, slots=True)
class _Terms:
    """On which the mail of a queue goes."""

    limits: tuple[Limit, ...]
    suspends: bool
    """Whether its tenant has suspended anything."""
    suppresses: bool
    """Whether its tenant has a list of suppressions."""


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
        self._terms = cache.kind(self._look_up)
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
        return asyncio.ensure_future(self._accept(new)) if row is None else self._group.put(Accepting(new, row))

    async def _accept(self, new: NewMessage) -> Accepted:
        accepted = await self._group.put(Accepting(new, None))
        if accepted.replaces is not None:
            await self._remove_large([accepted.replaces])
        return accepted

    async def keep_refused(self, refused: NewMessage) -> bool:
        """See MessageQueue."""
        return await self._database.write(keep_refused(refused, self._lease_values()))

    async def claim(self, queue_key: str, limit: int | Callable[[], int]) -> Claim:
        """See MessageQueue."""
        terms = await self._terms.get(queue_key)
        first, later = (limit, None) if isinstance(limit, int) else (0, limit)
        wanted = claiming.Wanted(queue_key, first, terms.limits, terms.suspends, terms.suppresses)
        return await self._group.put(Claiming(wanted, later), ahead=True)

    async def _look_up(self, queue_key: str) -> _Terms:
        tenant = QueueKey.parse(queue_key).tenant
        limits = await self._database.read(limiting.find_limits(queue_key, self._lengths))
        if limits:
            await self._database.write(limiting.make_limits(limits))
        suspensions = await self._database.read(fetch("suspensions", {"tenant": tenant}))
        return _Terms(limits, bool(suspensions), await self._suppresses(tenant))

    async def claim_expired(self, limit: int) -> Claim:
        """See MessageQueue."""
        return await self._database.write(leasing.claim_expired(limit, self._lease_values()))

    async def claim_overdue(self, queue_key: str, wait: int, limit: int) -> Claim:
        """See MessageQueue."""
        return await self._database.write(leasing.claim_overdue(queue_key, wait, limit, self._lease_values()))

    def settle(self, settlement: Settlement) -> asyncio.Future[bool]:
        """See MessageQueue."""
        settling = self._group.put(Settling(settlement, settled_row(settlement)), ahead=True)
        if settlement.slots or settlement.suppressions:
            settling.add_done_callback(partial(self._tell_settled, settlement))
        return settling

    def _tell_settled(self, settlement: Settlement, settling: asyncio.Future[bool]) -> None:
        if settling.cancelled() or settling.exception() is not None:
            return
        if not settlement.spent:
            self._tell_open(settlement.slots)
        if settlement.suppressions:
            self._on_suppressed(settlement.tenant)

    async def release(self, deliveries: Sequence[LeasedDelivery]) -> None:
        """See MessageQueue."""
        await self._group.put(Releasing(deliveries), ahead=True)
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
        terms = await self._terms.get(queue_key)
        return await self._database.read(limiting.standings(terms.limits, self._lengths, self._lease_values()))

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
        return compose(items, self._lease_values(), ordinary=not alone, at_once=self._database.claims_at_once)
