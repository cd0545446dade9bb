"""Notices: what instances on one store tell each other (storage.store.Store.heard)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from relay.model.delivery import Settlement
from relay.model.health import AccountHealth
from relay.model.message import DeliveryState

ACCOUNT = "account"
LONGEST_AILMENT = 200
"""Characters: what NOTIFY and a pipe carry in one piece is bounded."""


def ready_notes(ready: Sequence[tuple[str, int]]) -> list[str]:
    """What other instances are told of deliveries (queue key, due) that became ready: the earliest of each queue."""
    earliest: dict[str, int] = {}
    for queue_key, due in ready:
        if queue_key not in earliest or due < earliest[queue_key]:
            earliest[queue_key] = due
    return [f"ready {due} {queue_key}" for queue_key, due in earliest.items()]


def settled_notes(settlements: Collection[Settlement], holder: str) -> list[str]:
    """What they are told of settlements by `holder`: first how accounts are, so that nobody tries what a pause keeps
    back."""
    ready: list[tuple[str, int]] = []
    notes: list[str] = []
    for one in settlements:
        if one.health is not None:
            notes.append(health_note(holder, one.health))
        if one.state is DeliveryState.READY:
            ready.append((one.queue_key, one.due))
        if one.parts:
            ready += [(part.queue_key, one.due) for part in one.parts]
    return notes + ready_notes(ready) if ready else notes


def instance_of(holder: str) -> str:
    """The instance whose process holds leases by this name."""
    return holder.partition(".")[0]


def health_note(holder: str, health: AccountHealth) -> str:
    """How an account is, as `holder` has found it."""
    ailment = " ".join(health.ailment.split())[:LONGEST_AILMENT]
    return f"{ACCOUNT} {instance_of(holder)} {health.faults} {health.paused_until} {health.account_key} {ailment}"


def read_health(told: str, holder: str) -> AccountHealth | None:
    """The same, behind its first word, for another process of that instance. None for all others: they stand elsewhere
    in the network, and what ails the one need not ail them."""
    instance, faults, until, account_key, ailment = told.split(" ", 4)
    return AccountHealth(account_key, int(faults), int(until), ailment) if instance == instance_of(holder) else None
