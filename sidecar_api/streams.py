"""Streams: answers that do not end by themselves; how many there may be, and what has them look up."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from relay.clock import MILLISECOND, SECOND
from sidecar_api.auth import Caller
from sidecar_api.problems import ProblemError

_AGAIN = {"Retry-After": "15"}


@dataclass(frozen=True, slots=True)
class StreamTerms:
    """Times in µs."""

    heartbeat: int = 15 * SECOND
    """Something is sent at least so often, and at least so often it is asked whether the caller may still read."""
    pace: int = 20 * MILLISECOND
    """Between looks while events keep coming: what comes meanwhile is sent together."""
    retry: int = 2 * SECOND
    """After which a client is to come again."""
    patience: int = 30 * SECOND
    """What was sent must have left by then, but for what fits into the buffers, or the client is cut off."""
    per_caller: int = 10
    total: int = 250
    """Of this process."""


class Streams:
    """Those that are open."""

    def __init__(self, terms: StreamTerms) -> None:
        self.terms = terms
        self.closing = False
        """The relay stops: they are to end."""
        self._open: set[asyncio.Event] = set()
        self._of: Counter[str] = Counter()

    @contextlib.contextmanager
    def enter(self, caller: Caller) -> Iterator[asyncio.Event]:
        """A place for one more, and the event that wakes it; ProblemError 429 or 503. The command line always finds one."""
        if caller.has_token and self._of[caller.name] >= self.terms.per_caller:
            detail = f"this token has {self.terms.per_caller} streams open: end one of them"
            raise ProblemError(429, "too_many_streams", detail, _AGAIN)
        if self.closing or (caller.has_token and len(self._open) >= self.terms.total):
            raise ProblemError(503, "too_many_streams", "no more streams can be opened now, try again later", _AGAIN)
        wake = asyncio.Event()
        self._open.add(wake)
        self._of[caller.name] += 1
        try:
            yield wake
        finally:
            self._open.discard(wake)
            self._of[caller.name] -= 1
            if not self._of[caller.name]:
                del self._of[caller.name]

    def close(self) -> None:
        """Have all of them end."""
        self.closing = True
        for wake in self._open:
            wake.set()
