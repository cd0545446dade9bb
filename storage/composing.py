"""Composing: one work of what shares a transaction of the queue."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from relay.contracts.queue import Accepted
from relay.model.delivery import Claim, LeasedDelivery, NewMessage, Settlement
from storage import claiming, limiting, settling
from storage.accepting import accept_messages
from storage.group_commit import Item, Outcome
from storage.ordinary import accept_ordinary, claim_ordinary, settle_ordinary
from storage.work import Lock, Row, Values, Work


@dataclass(frozen=True, slots=True)
class Accepting(Item[Accepted]):
    """A message is to come in."""

    new: NewMessage
    row: Row | None
    """Where it is ordinary."""


@dataclass(frozen=True, slots=True)
class Settling(Item[bool]):
    """What an attempt brought is to be written; answered whether its lease was still held."""

    settlement: Settlement
    row: Row | None
    """Where it is ordinary."""


T = TypeVar("T", Accepting, Settling)


@dataclass(frozen=True, slots=True)
class Releasing(Item[None]):
    """Leases are to be given back untried."""

    deliveries: Sequence[LeasedDelivery]


@dataclass(frozen=True, slots=True)
class Claiming(Item[Claim]):
    """What is due in a queue is wanted."""

    wanted: claiming.Wanted
    limit: Callable[[], int] | None
    """Asked when it is its turn; None: as wanted."""

    def by_now(self) -> claiming.Wanted:
        """It, when it is its turn."""
        return self.wanted if self.limit is None else replace(self.wanted, limit=self.limit())


def compose(items: Sequence[Item[object]], lease: Values, *, ordinary: bool, at_once: bool) -> Work[Sequence[Outcome]]:
    """Locks of limits come first (storage.limiting), claims last.

    `lease`: holder, length, and the clocks. `ordinary`: what is so goes by the one statement (storage.ordinary); `at_once`:
    claims as well."""
    accepts, settles, releases, claims = _sort(items)
    outcomes: list[Outcome] = [None] * len(items)
    if limit_keys := _limit_keys(settles.values(), releases.values(), claims.values()):
        yield from limiting.begin(limit_keys)
    if accepts:
        yield from _accept(accepts, lease, outcomes, ordinary=ordinary)
    if settles:
        yield from _settle(settles, lease, outcomes, ordinary=ordinary)
    if releases:
        yield from settling.release([one for item in releases.values() for one in item.deliveries], lease)
    if claims:
        wants = [item.by_now() for item in claims.values()]
        claim = claim_ordinary if ordinary and at_once and _are_ordinary(wants) else claiming.claim
        _note(claims, (yield from claim(wants, lease)), outcomes)
    return outcomes


def _sort(
    items: Sequence[Item[object]],
) -> tuple[dict[int, Accepting], dict[int, Settling], dict[int, Releasing], dict[int, Claiming]]:
    """Each kind by itself, by its places."""
    accepts: dict[int, Accepting] = {}
    settles: dict[int, Settling] = {}
    releases: dict[int, Releasing] = {}
    claims: dict[int, Claiming] = {}
    for at, item in enumerate(items):
        match item:
            case Accepting():
                accepts[at] = item
            case Settling():
                settles[at] = item
            case Claiming():
                claims[at] = item
            case Releasing():
                releases[at] = item
    return accepts, settles, releases, claims


def _accept(items: Mapping[int, Accepting], lease: Values, outcomes: list[Outcome], *, ordinary: bool) -> Work[None]:
    """By one statement for all that are ordinary, if that is wanted; the others by the general way."""
    taken, rows, others = _part(items, ordinary=ordinary)
    if taken:
        yield from accept_ordinary([item.new for item in taken.values()], rows, lease)
        for at, item in taken.items():
            outcomes[at] = Accepted(item.new.message.id)
    if others:
        accepted = yield from accept_messages([item.new for item in others.values()], lease)
        _note(others, accepted, outcomes)


def _settle(items: Mapping[int, Settling], lease: Values, outcomes: list[Outcome], *, ordinary: bool) -> Work[None]:
    """The same of settlements."""
    ordinary = ordinary and len({item.settlement.delivery for item in items.values()}) == len(items)
    taken, rows, others = _part(items, ordinary=ordinary)
    if taken and others:  # two statements, each of which would lock its messages in order
        yield Lock("lock_messages", sorted({(item.settlement.message,) for item in items.values()}))
    if taken:
        yield from settle_ordinary([item.settlement for item in taken.values()], rows, lease)
        for at in taken:
            outcomes[at] = True
    if others:
        settled = yield from settling.settle([item.settlement for item in others.values()], lease)
        _note(others, settled, outcomes)


def _part(items: Mapping[int, T], *, ordinary: bool) -> tuple[Mapping[int, T], Sequence[Row], Mapping[int, T]]:
    """Those that are ordinary, if that is wanted, with their rows; and the others."""
    rows = [item.row for item in items.values() if item.row is not None] if ordinary else []
    if not rows:
        return {}, rows, items
    if len(rows) == len(items):
        return items, rows, {}
    taken: dict[int, T] = {}
    others: dict[int, T] = {}
    for at, item in items.items():
        (others if item.row is None else taken)[at] = item
    return taken, rows, others


def _are_ordinary(wants: Sequence[claiming.Wanted]) -> bool:
    return all(want.is_ordinary for want in wants) and len({want.queue_key for want in wants}) == len(wants)


def _note(items: Iterable[int], answers: Sequence[Outcome], outcomes: list[Outcome]) -> None:
    """The answers to items, by their places."""
    for at, answer in zip(items, answers, strict=True):
        outcomes[at] = answer


def _limit_keys(settles: Iterable[Settling], releases: Iterable[Releasing], claims: Iterable[Claiming]) -> set[str]:
    """The limits under which something of a group takes, stamps or gives back a slot."""
    keys: set[str] = set()
    for settle in settles:
        if settle.row is None:  # else it has none
            keys |= {slots.limit for slots in settle.settlement.slots}
    for release in releases:
        keys |= {slots.limit for delivery in release.deliveries for slots in delivery.slots}
    for claim in claims:
        keys |= {limit.key for limit in claim.wanted.limits}
    return keys
