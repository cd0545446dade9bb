"""Notices: what instances on one store tell each other (storage.store.Store.heard)."""

from __future__ import annotations

from collections.abc import Sequence


def ready_notes(ready: Sequence[tuple[str, int]]) -> list[str]:
    """What other instances are told of deliveries (queue key, due) that became ready: the earliest of each queue."""
    earliest: dict[str, int] = {}
    for queue_key, due in ready:
        earliest[queue_key] = min(due, earliest.get(queue_key, due))
    return [f"ready {due} {queue_key}" for queue_key, due in earliest.items()]
