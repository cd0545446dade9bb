"""Gate: what a scripted server waits at until the test opens it, and tells when it has come there."""

from __future__ import annotations

import asyncio
from typing import Literal


class Gate(asyncio.Event):
    """For `Action(when=…)`; `set()` opens it."""

    def __init__(self) -> None:
        super().__init__()
        self._reached = asyncio.Event()

    async def wait(self) -> Literal[True]:
        """The server's side."""
        self._reached.set()
        return await super().wait()

    async def reached(self, seconds: float = 10) -> None:
        """The test's side: somebody waits here; TimeoutError."""
        await asyncio.wait_for(self._reached.wait(), seconds)
