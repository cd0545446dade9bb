"""Throttle: how often a client may try a secret. One number for each address, in a table of bounded size.

The generic cell rate algorithm: the number is the time at which the client's bucket would be full again. A try moves it on
by one interval; a try whose bucket is empty has to wait. No timer, no history.
"""

from __future__ import annotations

from collections import OrderedDict

from relay.clock import MINUTE


class Throttle:
    """Times in µs of any clock that does not step."""

    def __init__(self, per_minute: int, *, max_keys: int = 10_000) -> None:
        self._interval = MINUTE // max(1, per_minute)
        self._burst = max(1, per_minute) * self._interval
        self._max_keys = max_keys
        self._full_at: OrderedDict[str, int] = OrderedDict()

    def take(self, key: str, now: int, longest: int) -> int | None:
        """Count a try: µs it has to wait first, or None where that is more than `longest` (and the try is not counted)."""
        full_at = max(self._full_at.pop(key, now), now) + self._interval
        wait = max(0, full_at - self._burst - now)
        refused = wait > longest
        self._full_at[key] = full_at - self._interval if refused else full_at
        while len(self._full_at) > self._max_keys:
            # The one that has been quiet longest; should it come back it starts with a full bucket.
            self._full_at.popitem(last=False)
        return None if refused else wait

    def give_back(self, key: str) -> None:
        """The try had the right secret: it does not count."""
        if key in self._full_at:
            self._full_at[key] -= self._interval

    def __len__(self) -> int:
        return len(self._full_at)
