"""Received: what a client has of a stream of events (Server-Sent Events, WHATWG HTML §9.2.6), and where it is to go on."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Mapping
from typing import Any

import orjson

LONGEST_EVENT = 1024 * 1024
"""Octets; no event of a relay is near that."""


class Received:
    """Over all connections of one client to one stream."""

    def __init__(self, last_id: str | None = None, retry: float = 2.0) -> None:
        self.last_id = last_id
        self.retry = retry
        """Seconds to wait before a connection is made again."""

    @property
    def headers(self) -> Mapping[str, str]:
        """By which the relay goes on where it was left."""
        return {} if self.last_id is None else {"Last-Event-ID": self.last_id}

    async def events(self, octets: AsyncIterable[bytes]) -> AsyncIterator[Any]:
        """The JSON of each event. What is cut off in the middle of one is none: it comes again."""
        data, last_id, rest = b"", self.last_id, b""
        async for piece in octets:
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                name, _, value = line.rstrip(b"\r").partition(b":")
                value = value.removeprefix(b" ")
                if name == b"data":
                    data += value
                elif name == b"id":
                    last_id = value.decode()
                elif name == b"retry" and value.isdigit():
                    self.retry = int(value) / 1000
                elif not name and not value and not line.startswith(b":"):
                    self.last_id = last_id
                    if data:
                        yield orjson.loads(data)
                        data = b""
            if len(rest) > LONGEST_EVENT:
                raise ConnectionError("this is no stream of events")
