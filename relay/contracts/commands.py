"""Who did what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from relay.model.command import Command


@dataclass(frozen=True, slots=True)
class CommandFilter:
    """What is asked of the command log; None asks nothing. `before` is the cursor: the last sequence of the page before."""

    tenant: str | None = None
    operation: str | None = None
    since: int | None = None
    until: int | None = None
    before: int | None = None
    limit: int = 50
    actor: str | None = None


class CommandLog(Protocol):
    """Who did what by the API, kept as long as the configuration says."""

    async def record(self, command: Command) -> None:
        """One more."""

    async def commands(self, wanted: CommandFilter) -> Sequence[Command]:
        """A page, newest first."""

    async def remove_before(self, horizon: int) -> int:
        """Forget what was done before a time (µs); how many."""
