"""Limits: deadlines, lengths, connections."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path

import pytest

from relay.errors import Refusal, Rejected
from relay.ingress.faults import ClientTooSlow
from relay.ingress.listener import Listener, bind
from tests.ingress.conftest import WITHIN, OpenADoor

LONG = "x" * 3000
CROWD = min(300, int(Path("/proc/sys/net/core/somaxconn").read_text()))


# --- deadlines --------------------------------------------------------------------------------------------------------


async def test_a_silent_client(open_door: OpenADoor) -> None:
    door = await open_door(command_timeout=0.05)
    client = await door.connect()
    await client.hear()
    await client.closes_with("421 4.4.2")


async def test_octets_do_not_extend_the_time_for_a_command(open_door: OpenADoor) -> None:
    door = await open_door(command_timeout=0.3)
    client = await door.connect()
    await client.hear()

    async def drip() -> None:
        while True:
            client.send(b"N")
            await asyncio.sleep(0.02)

    dripping = asyncio.ensure_future(drip())
    try:
        await client.closes_with("421 4.4.2")
    finally:
        dripping.cancel()


async def test_every_command_starts_the_time_anew(open_door: OpenADoor) -> None:
    """The timer is moved, not made anew: it must neither fire early nor be forgotten."""
    door = await open_door(command_timeout=1)
    client = await door.connect()
    await client.hear()
    began = asyncio.get_running_loop().time()
    while asyncio.get_running_loop().time() - began < 2:
        assert (await client.ask("NOOP")).startswith("250 ")
        await asyncio.sleep(0.05)
    await client.closes_with("421 4.4.2")


async def test_a_session_without_mail_ends(open_door: OpenADoor) -> None:
    door = await open_door(session_timeout=0.2)
    client = await door.connect()
    await client.hear()
    answers = [await client.ask("NOOP")]
    for _ in range(30):
        await asyncio.sleep(0.02)
        answers.append(await client.hear() if client.reader.at_eof() else await client.ask("NOOP"))
        if not answers[-1].startswith("250 "):
            break
    assert answers[-1].startswith("421 4.4.2")


@pytest.mark.parametrize("limit", [{"data_timeout": 0.05}, {"data_grace": 0.05}, {"command_timeout": 0.05}])
async def test_a_message_that_stops_coming(limit: dict[str, float], open_door: OpenADoor) -> None:
    if "command_timeout" in limit:
        limit = {"data_timeout": 0.3, **limit}  # a command's time is not a message's
    door = await open_door(**limit)
    client = await door.greeted()
    await client.envelope()
    client.send(b"half a message\r\n")
    await client.closes_with("421 4.4.2")
    assert door.intake.messages == []
    assert isinstance(door.intake.faults[0], ClientTooSlow)


@pytest.mark.parametrize("together", [False, True])
async def test_a_message_that_never_begins(together: bool, open_door: OpenADoor) -> None:
    """Its first octets have a message's time, not a command's, whether DATA came alone or behind MAIL and RCPT."""
    door = await open_door(data_grace=0.05)
    client = await door.greeted()
    if together:
        await client.envelope()
    else:
        for line in ("MAIL FROM:<a@b.example>", "RCPT TO:<c@d.example>", "DATA"):
            await client.ask(line)
    await client.closes_with("421 4.4.2")
    assert door.intake.messages == []


async def test_a_message_that_drips(open_door: OpenADoor) -> None:
    door = await open_door(data_grace=0.1, min_data_rate=1_000_000)
    client = await door.greeted()
    await client.envelope()

    async def drip() -> None:
        while True:
            client.send(b"x")
            await asyncio.sleep(0.01)

    dripping = asyncio.ensure_future(drip())
    try:
        await client.closes_with("421 4.4.2")
    finally:
        dripping.cancel()
    assert door.intake.messages == []


async def test_a_slow_commit_is_not_the_clients_fault(open_door: OpenADoor) -> None:
    door = await open_door(command_timeout=0.05, data_timeout=0.05)
    door.intake.gate = asyncio.Event()
    client = await door.greeted()
    await client.envelope()
    client.send(b"x\r\n.\r\n")
    await door.intake.at_commit.wait()
    await asyncio.sleep(0.2)
    door.intake.gate.set()
    assert await client.hear() == "250 2.0.0 queued as Q1"


async def test_a_client_that_reads_nothing(open_door: OpenADoor) -> None:
    """Its replies are not kept for ever, nor is it."""
    door = await open_door(command_timeout=0.2, max_junk=10**9)
    client = await door.connect()
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport that reads
    for _ in range(400):
        client.send(b"VRFY x\r\n" * 1000)
    await door.until_empty()


async def test_what_is_said_while_replies_are_not_read_is_answered(open_door: OpenADoor) -> None:
    """A client that sends on while the door waits for it to read, and then reads: nothing more has to come from it."""
    door = await open_door()
    client = await door.greeted()
    (session,) = door.door._sessions
    session.pause_writing()  # as a transport does whose buffer is full
    assert (await client.ask("NOOP")).startswith("250 ")
    client.say("NOOP")
    async with asyncio.timeout(WITHIN):
        while not session._reader.buffer:  # noqa: ASYNC110 - it comes with a turn of the loop, and tells nobody
            await asyncio.sleep(0)
    session.resume_writing()
    assert (await client.hear()).startswith("250 ")


# --- lines ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("NOOP " + "x" * 505, "250 2.0.0"),  # 512 with CRLF
        ("NOOP " + "x" * 506, "500 5.5.2"),
        ("NOOP " + LONG, "500 5.5.2"),
        ("MAIL FROM:<a@b.example> AUTH=" + "x" * 900, "250 2.1.0"),
        ("MAIL FROM:<a@b.example> AUTH=" + "x" * 1000, "500 5.5.2"),
        ("AUTH PLAIN " + "x" * 2035, "501 5.5.2"),
        ("AUTH PLAIN " + "x" * 2036, "500 5.5.2"),
        ("x" * 60_000, "500 5.5.2"),
    ],
    ids=lambda text: f"{text[:6]}{len(text)}",
)
@pytest.mark.parametrize("packet", [10**6, 700])
async def test_line_length(line: str, answer: str, packet: int, open_door: OpenADoor) -> None:
    door = await open_door()
    client = await door.greeted()
    wire = f"{line}\r\n".encode()
    for start in range(0, len(wire), packet):
        client.send(wire[start : start + packet])
        await client.writer.drain()
    assert (await client.hear())[:9] == answer
    assert (await client.ask("NOOP")).startswith("250 ")


async def test_a_line_without_end(open_door: OpenADoor) -> None:
    door = await open_door()
    client = await door.greeted()
    client.send(b"x" * 300_000)
    lines = await client.rest()
    assert all(line.startswith("421 4.7.0") for line in lines)
    await door.until_empty()


async def test_a_long_auth_response(open_door: OpenADoor) -> None:
    door = await open_door()
    client = await door.greeted()
    assert (await client.ask("AUTH PLAIN")).startswith("334 ")
    assert (await client.ask("x" * 4000)).startswith("500 5.5.2 ")
    assert (await client.ask("NOOP")).startswith("250 ")


# --- connections ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "reply"),
    [
        ("max_connections", "421 4.3.2 too many connections, try again later"),
        ("max_connections_per_client", "421 4.7.0 too many connections from your address"),
    ],
)
async def test_too_many_connections(limit: str, reply: str, open_door: OpenADoor) -> None:
    door = await open_door(**{limit: 2})
    first, _ = await door.greeted(), await door.greeted()
    refused = await door.connect()
    assert await refused.rest() == [reply]
    assert door.observer.told.count("refused 127.0.0.1") == 1
    assert (await first.ask("QUIT")).startswith("221 ")
    assert await first.rest() == []
    await door.until(1)
    await door.greeted()


async def test_sessions_are_counted_back(open_door: OpenADoor) -> None:
    door = await open_door()
    for _ in range(20):
        client = await door.greeted()
        client.writer.transport.abort()
    await door.until_empty()
    assert door.door._count._by_client == {}  # type: ignore[attr-defined]  # of one door
    assert door.observer.told.count("closed 127.0.0.1") == 20


async def test_a_socket_that_is_taken() -> None:
    (sock,) = bind("127.0.0.1", 0)
    sock.listen()
    with sock, pytest.raises(OSError, match="in use"):
        bind("127.0.0.1", sock.getsockname()[1])


async def test_implicit_tls_needs_a_certificate(open_door: OpenADoor) -> None:
    door = await open_door()
    (sock,) = bind("127.0.0.1", 0)
    with sock, pytest.raises(ValueError, match="certificate"):
        await door.door.start([Listener(sock, implicit_tls=True)])


async def test_how_things_stand_here_is_not_the_clients_fault(open_door: OpenADoor) -> None:
    """Who asks again and again while mail is not taken is not cut off for it."""
    door = await open_door(max_junk=3)
    client = await door.greeted()
    door.intake.refusal = Rejected(Refusal.STORE_DOWN)
    for _ in range(20):
        assert (await client.ask("MAIL FROM:<a@b.example>")).startswith("451 4.3.0 ")
    door.intake.refusal = None
    assert (await client.ask("MAIL FROM:<a@b.example>")).startswith("250 ")


async def test_a_crowd_that_comes_at_once_is_heard(open_door: OpenADoor) -> None:
    """Nobody's connection is dropped by the system while the door is busy with something else: here, with this test."""
    door = await open_door(max_connections=10)
    with contextlib.ExitStack() as open_ones:
        for _ in range(CROWD):
            open_ones.enter_context(socket.create_connection(("127.0.0.1", door.port), timeout=1))
