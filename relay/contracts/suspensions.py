"""What is suspended, and the batches that may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from relay.model.message import MessageState


@dataclass(frozen=True, slots=True)
class BatchStanding:
    """How a batch of a tenant stands: its messages by state. One may be suspended before it has any."""

    tenant: str
    batch: str
    suspended: bool
    """By a word of its own or its tenant's."""
    messages: Mapping[MessageState, int]


class Suspensions(Protocol):
    """Stopping and resuming a tenant (`batch` None) or one of its batches. What it stops stays queued, editable, counted."""

    async def suspend(self, tenant: str, batch: str | None, at: int) -> int:
        """From now on nothing of it is attempted, what comes in included. How many of its messages wait; NotFound."""

    async def resume(self, tenant: str, batch: str | None, at: int, *, everything: bool = False) -> int:
        """What waited may go at once, and a batch even while its tenant stays suspended. Batches that were suspended
        themselves stay so when their tenant is resumed, unless `everything` is. How many of its messages wait; NotFound."""

    async def batches(self, tenant: str, after: str, limit: int) -> Sequence[BatchStanding]:
        """A tenant's, by name, those behind `after`. Costs the number of their messages; NotFound."""

    async def finish(self) -> None:
        """Bring to an end what resumptions before a crash or an outage have left."""
