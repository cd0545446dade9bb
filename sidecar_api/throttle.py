"""How many requests a token may make: at most so many in any minute, stated in every answer.

The header fields are those of draft-ietf-httpapi-ratelimit-headers: `RateLimit-Policy` says what holds, `RateLimit` how many
are left and in how many seconds there will be more. A refused request is not counted.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from relay.clock import MINUTE, SECOND
from sidecar_api.problems import ProblemError

WINDOW = MINUTE


@dataclass(frozen=True, slots=True)
class Standing:
    """How a caller stands after a request: how many are left, and µs until there is one more."""

    limit: int
    left: int
    more_in: int

    @property
    def headers(self) -> Mapping[str, str]:
        """What the answer says of it."""
        return {
            "RateLimit-Policy": f'"requests";q={self.limit};w={WINDOW // SECOND}',
            "RateLimit": f'"requests";r={self.left};t={math.ceil(self.more_in / SECOND)}',
        }


class Throttle:
    """The requests of the last minute, by caller: exact in any window, at eight octets for each."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._made: dict[str, deque[int]] = {}
        self._swept = 0

    def take(self, caller: str, now: int) -> tuple[bool, Standing]:
        """Whether a request may go on, `now` by a clock that never steps back (µs), and how the caller stands then."""
        self._sweep(now)
        made = self._made.setdefault(caller, deque())
        while made and made[0] <= now - WINDOW:
            made.popleft()
        granted = len(made) < self._limit
        if granted:
            made.append(now)
        return granted, Standing(self._limit, self._limit - len(made), made[0] + WINDOW - now)

    def _sweep(self, now: int) -> None:
        """Forget, once a minute, who has made no request in it."""
        if now - self._swept >= WINDOW:
            self._swept = now
            self._made = {caller: made for caller, made in self._made.items() if made[-1] > now - WINDOW}


def too_many(standing: Standing) -> ProblemError:
    """429, with when to try again."""
    return ProblemError(
        429,
        "too_many_requests",
        f"this token has made {standing.limit} requests within a minute; more are taken in a while",
        {"Retry-After": str(math.ceil(standing.more_in / SECOND))},
    )
