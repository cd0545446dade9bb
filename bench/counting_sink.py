"""A receiving server that knows every message it was given, and when: what counts duplicates and watches limits.

A message is known by the X-Stagepost-ID that the relay put on it; it is received when its final dot is there.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from bench.processes import LOOPBACK
from bench.timed_sink import Arrivals, SinkSession

MESSAGE_ID = re.compile(rb"^X-Stagepost-ID: ([^\r\n]+)", re.IGNORECASE | re.MULTILINE)
HEADER = 4096


@dataclass
class Ledger:
    """What was received: ids in order, and the monotonic time of each."""

    ids: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    last: dict[str, float] = field(default_factory=dict)
    """When each id was received last."""
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, message: str) -> None:
        """One more."""
        moment = time.monotonic()
        self.ids.append(message)
        self.times.append(moment)
        self.last[message] = moment
        self._news.set()

    async def wait_for(self, count: int, seconds: float) -> None:
        """Until so many messages, duplicates not counted, are there; TimeoutError."""
        async with asyncio.timeout(seconds):
            while len(self.last) < count:
                self._news.clear()
                await self._news.wait()

    async def wait_for_all(self, messages: set[str], seconds: float) -> float:
        """When the last of these was received; TimeoutError."""
        async with asyncio.timeout(seconds):
            for message in messages:  # one look at each, whatever the number that comes meanwhile
                while message not in self.last:
                    self._news.clear()
                    await self._news.wait()
        return max(self.last[message] for message in messages)

    @property
    def duplicates(self) -> int:
        """Messages beyond the first of each id."""
        return len(self.ids) - len(self.last)


class CountingSession(SinkSession):
    """Notes each message at its final dot, and answers after `delay` seconds."""

    def __init__(self, ledger: Ledger, delay: float) -> None:
        super().__init__(Arrivals())
        self._ledger = ledger
        self._delay = delay

    def _take_content(self) -> bool:
        before = self._buffer[:HEADER]
        writing, self._transport = self._transport, _Held(self._transport, self._delay)  # type: ignore[assignment]
        try:
            taken = super()._take_content()
        finally:
            self._transport = writing
        if taken:
            found = MESSAGE_ID.search(before)
            self._ledger.note(found[1].decode("ascii") if found else "")
        return taken


class _Held:
    """Writes a moment later."""

    def __init__(self, transport: asyncio.Transport, delay: float) -> None:
        self._transport = transport
        self._delay = delay

    def write(self, data: bytes) -> None:
        if self._delay:
            asyncio.get_running_loop().call_later(self._delay, self._transport.write, data)
        else:
            self._transport.write(data)


@asynccontextmanager
async def counting_sink(port: int, delay: float = 0.0) -> AsyncIterator[Ledger]:
    """Listen on the loopback port until the block ends."""
    ledger = Ledger()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: CountingSession(ledger, delay), LOOPBACK, port, backlog=1000)
    try:
        yield ledger
    finally:
        server.close()
