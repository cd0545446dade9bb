"""Database: what the store asks of SQLite or PostgreSQL; each is one class in one file, the only one to know its driver."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from storage.statements import Dialect
from storage.work import T, Work


class Hearing(Protocol):
    """Takes what the other instances on the store notify."""

    def began(self) -> None:
        """From now on everything is heard; what came before may have been missed."""

    def heard(self, payload: str) -> None:
        """Another instance's notification."""

    def ended(self) -> None:
        """Nothing is heard until it begins again."""


class Peers(Protocol):
    """The other processes of this instance, on a store that their parent had opened before them."""

    def tell(self, payloads: Sequence[str]) -> None:
        """Have them hear something, after the commit that it is about; from any thread. Of no use where there is NOTIFY."""

    def listen(self, hearing: Hearing) -> None:
        """Hear what they tell, on the running loop."""

    def note_change(self) -> None:
        """The configuration has changed: when this returns all of them can know."""

    def changes(self) -> int:
        """How often any of them has changed it."""


class Database(Protocol):
    """Runs works. Its driver's errors come out as StoreUnavailable (try again) or StoreError (do something first)."""

    @property
    def dialect(self) -> Dialect:
        """Which of the two it is."""

    @property
    def groups_at_most(self) -> int:
        """How many transactions of a group commit may run at once where some wait for locks. As a rule it is one: two take
        half as much each, and need twice what a commit costs (on PostgreSQL a third more of the server's CPU)."""

    @property
    def claims_at_once(self) -> bool:
        """Whether one statement can claim with all that an attempt needs (storage.ordinary)."""

    async def equip(self) -> None:
        """Make what statements need and what is the connections' own, once the schema is there."""

    async def write(self, work: Work[T]) -> T:
        """One transaction: durable when this returns, not undone by the caller's cancellation."""

    async def read(self, work: Work[T]) -> T:
        """One snapshot, which no writer waits for."""

    async def listen(self, hearing: Hearing) -> None:
        """Begin to hear the other instances, where there may be any."""

    async def close(self) -> None:
        """End what runs and close every connection."""
