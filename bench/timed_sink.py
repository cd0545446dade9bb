"""A receiving server that notes when each DATA command arrives, for which smtp-sink has no option.

Messages are told apart by their recipient: bench.latency gives every message an address of its own.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from bench.processes import LOOPBACK

END_OF_DATA = b"\r\n.\r\n"
EHLO_REPLY = b"250-sink.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 104857600\r\n"


class Arrivals:
    """Recipient address to the monotonic time of the DATA command of its message."""

    def __init__(self) -> None:
        self.times: dict[str, float] = {}
        self._news = asyncio.Event()

    def note(self, recipients: list[str], moment: float) -> None:
        """The first arrival counts: a later one is a retry."""
        for recipient in recipients:
            self.times.setdefault(recipient, moment)
        self._news.set()

    async def wait_for(self, recipient: str) -> float:
        """The arrival of one message, however late."""
        while recipient not in self.times:
            self._news.clear()
            await self._news.wait()
        return self.times[recipient]


class SinkSession(asyncio.Protocol):
    """Just enough of RFC 5321 and RFC 2920 to receive from a relay that behaves."""

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals
        self._buffer = b""
        self._recipients: list[str] = []
        self._in_data = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self._transport.write(b"220 sink.example ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        """Take commands and content as they come, pipelined or not."""
        moment = time.monotonic()
        self._buffer += data
        while self._take_content() if self._in_data else self._take_command(moment):
            pass

    def _take_content(self) -> bool:
        _, dot, rest = self._buffer.partition(END_OF_DATA)
        if not dot:
            return False
        self._buffer, self._in_data, self._recipients = rest, False, []
        self._transport.write(b"250 2.0.0 thrown away\r\n")
        return True

    def _take_command(self, moment: float) -> bool:
        line, newline, rest = self._buffer.partition(b"\r\n")
        if not newline:
            return False
        self._buffer = rest
        self._obey(line, moment)
        return True

    def _obey(self, line: bytes, moment: float) -> None:
        verb = line[:4].upper()
        if verb == b"DATA":
            self._arrivals.note(self._recipients, moment)
            self._in_data = True
            self._buffer = b"\r\n" + self._buffer  # lets a dot on the very first line end an empty message
            self._transport.write(b"354 go on\r\n")
        elif verb == b"EHLO":
            self._transport.write(EHLO_REPLY)
        elif verb == b"QUIT":
            self._transport.write(b"221 2.0.0 bye\r\n")
            self._transport.close()
        else:
            if verb == b"RCPT":
                self._recipients.append(line.partition(b"<")[2].partition(b">")[0].decode("ascii"))
            elif verb in (b"MAIL", b"RSET"):
                self._recipients = []
            self._transport.write(b"250 2.0.0 ok\r\n")


@asynccontextmanager
async def timed_sink(port: int) -> AsyncIterator[Arrivals]:
    """Listen on the loopback port until the block ends."""
    arrivals = Arrivals()
    server = await asyncio.get_running_loop().create_server(lambda: SinkSession(arrivals), LOOPBACK, port)
    try:
        yield arrivals
    finally:
        server.close()
