"""The dialogue by itself, on a transport that does what the test says: moments that no real server hits at will."""

from __future__ import annotations

import asyncio

import pytest

from relay.delivery.dialogue import ConnectionLost, Dialogue, NoReply
from relay.delivery.replies import BadReply, Closing, DialogueError, Unasked

OK = b"250 2.0.0 ok\r\n"


class Pipe(asyncio.Transport):
    """A transport that keeps what is written; `sizes` are the answers to how much of it has not left yet."""

    def __init__(self, *sizes: int) -> None:
        super().__init__()
        self.written = b""
        self.sizes = list(sizes)
        self.closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return self.sizes.pop(0)

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = True


async def test_an_alarm_of_an_earlier_wait_ends_no_later_one() -> None:
    loop, dialogue = asyncio.get_running_loop(), Dialogue(Pipe())
    dialogue.command(("MAIL",))
    loop.call_soon(dialogue.data_received, OK)
    await dialogue.reply(0.01)
    dialogue.command(("RCPT",))
    loop.call_later(0.05, dialogue.data_received, OK)

    assert (await dialogue.reply(5)).code == 250


async def test_a_shorter_patience_is_not_bound_by_an_earlier_alarm() -> None:
    loop, dialogue = asyncio.get_running_loop(), Dialogue(Pipe())
    dialogue.command(("MAIL",))
    loop.call_soon(dialogue.data_received, OK)
    await dialogue.reply(60)
    dialogue.command(("RCPT",))

    with pytest.raises(NoReply):
        await dialogue.reply(0.01)


async def test_slow_is_not_stuck() -> None:
    """What trickles out starts the patience anew; what does not ends it."""
    dialogue = Dialogue(Pipe(100, 90, 90, 80, 80, 80))
    dialogue.pause_writing()

    with pytest.raises(NoReply):
        await dialogue.stream(b"x", 0.01)
    transport = dialogue._transport
    assert isinstance(transport, Pipe)
    assert transport.sizes == []


async def test_the_stream_goes_on_when_the_peer_takes_more() -> None:
    dialogue = Dialogue(Pipe(100, 100))
    dialogue.pause_writing()
    asyncio.get_running_loop().call_soon(dialogue.resume_writing)

    await dialogue.stream(b"x", 5)


async def test_nothing_is_written_to_a_connection_about_to_close() -> None:
    """Between the server's close and our hearing of it a write would vanish: it must not count as sent."""
    transport = Pipe()
    dialogue = Dialogue(transport)
    transport.close()

    with pytest.raises(ConnectionLost):
        dialogue.command(("x",))
    with pytest.raises(ConnectionLost):
        dialogue.end_content(b".\r\n", ".")
    with pytest.raises(ConnectionLost):
        await dialogue.stream(b"x\r\n", 5)
    assert transport.written == b""


async def test_replies_before_the_loss_are_read_first() -> None:
    dialogue = Dialogue(Pipe())
    dialogue.command(("MAIL", "RCPT"))
    dialogue.data_received(OK)
    dialogue.connection_lost(None)

    assert (await dialogue.reply(5)).code == 250
    with pytest.raises(ConnectionLost):
        await dialogue.reply(5)


async def test_writing_that_goes_on_is_no_reply() -> None:
    loop, dialogue = asyncio.get_running_loop(), Dialogue(Pipe())
    dialogue.end_content(b".\r\n", ".")
    loop.call_soon(dialogue.resume_writing)
    loop.call_later(0.01, dialogue.data_received, OK)

    assert (await dialogue.reply(5)).code == 250


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"421 4.4.2 idle too long\r\n", Closing),
        (b"250 2.0.0 ok\r\n", Unasked),
        (b"250 2.0.0 ok\r\n421 4.4.2 idle too long\r\n", BadReply),
        (b"421", BadReply),
    ],
)
async def test_who_is_told_of_what_is_said_unasked(said: bytes, error: type[DialogueError]) -> None:
    dialogue, told = Dialogue(Pipe()), []
    dialogue.on_broken = lambda: told.append(dialogue.is_usable)
    dialogue.data_received(said)

    assert told == [False]
    with pytest.raises(DialogueError) as raised:
        dialogue.command(("MAIL",))
    assert type(raised.value) is error
