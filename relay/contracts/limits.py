"""How much of each limit is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from relay.model.explanation import LimitStanding
from relay.model.limit import Limits


class LimitMeters(Protocol):
    """How limits stand, for people."""

    async def standings(self, limits: Mapping[str, Limits]) -> Sequence[LimitStanding]:
        """Of limits by their keys (relay.model.limit), each of which is set, in that order."""
