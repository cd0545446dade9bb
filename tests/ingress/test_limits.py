"""Limits and ends: deadlines, connection caps, clients that vanish, and a door that closes."""

from __future__ import annotations

import asyncio
import resource
from dataclasses import replace

import pytest

from relay.contracts import Accepted
from relay.errors import Refusal
from relay.ingress.data_reader import Pace
from relay.ingress.faults import ClientGone, ClientTooSlow
from relay.ingress.listener import Listener, SmtpDoor, bind
from relay.ingress.settings import DoorSettings
from relay.intake.submission import Submission
from tests.ingress.conftest import WITHIN, Client, OpenADoor, OpenDoor

LONG = "x" * 3000


async def closed_with(client: Client, code: str) -> None:
    lines = await client.rest()
    assert [line[:9] for line in lines] == [code]


# --- deadlines --------------------------------------------------------------------------------------------------------


async def test_a_silent_client(open_door: OpenADoor) -> None:
    door = await open_door(command_timeout=0.05)
    client = await door.connect()
    await client.hear()
    await closed_with(client, "421 4.4.2")


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
        await closed_with(client, "421 4.4.2")
    finally:
        dripping.cancel()


async def test_every_command_starts_the_time_anew(open_door: OpenADoor) -> None:
    """The timer is moved, not made anew: it must neither fire early nor be forgotten."""
    door = await open_door(command_timeout=0.4)
    client = await door.connect()
    await client.hear()
    began = asyncio.get_running_loop().time()
    while asyncio.get_running_loop().time() - began < 0.8:
        assert (await client.ask("NOOP")).startswith("250 ")
        await asyncio.sleep(0.05)
    await closed_with(client, "421 4.4.2")


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
    await closed_with(client, "421 4.4.2")
    assert door.intake.messages == []
    assert isinstance(door.intake.faults[0], ClientTooSlow)


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
        await closed_with(client, "421 4.4.2")
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


@pytest.mark.parametrize("limit", ["max_connections", "max_connections_per_client"])
async def test_too_many_connections(limit: str, open_door: OpenADoor) -> None:
    door = await open_door(**{limit: 2})
    first, _ = await door.greeted(), await door.greeted()
    refused = await door.connect()
    assert await refused.rest() == ["421 4.7.0 too many connections"]
    assert door.observer.told.count("refused 127.0.0.1") == 1
    assert (await first.ask("QUIT")).startswith("221 ")
    assert await first.rest() == []
    await door.until(1)
    await door.greeted()


async def test_the_connection_limit_stays_below_the_descriptors() -> None:
    few = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    many = DoorSettings(hostname="relay.example", max_connections=10**9)
    door = SmtpDoor(None, None, many, None)  # type: ignore[arg-type]  # nothing of it is used
    assert door._max_connections <= few * 0.7


async def test_sessions_are_counted_back(open_door: OpenADoor) -> None:
    door = await open_door()
    for _ in range(20):
        client = await door.greeted()
        client.writer.transport.abort()
    await door.until_empty()
    assert door.door._by_client == {}
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


# --- clients that vanish ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["close", "reset", "half-close"])
async def test_gone_within_a_message(end: str, open_door: OpenADoor) -> None:
    door = await open_door()
    client = await door.greeted()
    await client.envelope()
    client.send(b"half a message\r\n.")
    await client.writer.drain()
    if end == "reset":
        client.reset()
    elif end == "half-close":
        client.writer.write_eof()
    else:
        client.close()
    async with asyncio.timeout(WITHIN):
        await door.intake.faulted.wait()
    await door.until_empty()
    assert isinstance(door.intake.faults[0], (ClientGone, asyncio.CancelledError))
    assert door.intake.messages == []


async def test_gone_within_a_message_whatever_intake_makes_of_it(open_door: OpenADoor) -> None:
    """Intake may wrap what its content raised: the client is gone all the same, and nothing went wrong here."""
    door = await open_door()
    accept = door.intake.accept

    async def wrapping(submission: Submission) -> Accepted:
        try:
            return await accept(submission)
        except ClientTooSlow as fault:
            raise RuntimeError("content is not complete") from fault

    door.intake.accept = wrapping  # type: ignore[method-assign]  # this one case
    door.door._context = replace(door.door._context, pace=Pace(0.02, 0.02, 1024))
    client = await door.greeted()
    await client.envelope()
    await closed_with(client, "421 4.4.2")


async def test_half_closed_and_still_answered(open_door: OpenADoor) -> None:
    """`printf … | nc`: all is said, then the client only listens. A commit that is slow is not cancelled by it."""
    door = await open_door()
    door.intake.gate = asyncio.Event()
    client = await door.connect()
    client.say("EHLO c", "MAIL FROM:<a@b.example>", "RCPT TO:<c@d.example>", "DATA", "x", ".", "QUIT")
    client.writer.write_eof()
    async with asyncio.timeout(WITHIN):
        await door.intake.at_commit.wait()
    door.intake.gate.set()
    lines = await client.rest()
    assert lines[-2:] == ["250 2.0.0 queued as Q1", "221 2.0.0 bye"]


async def test_gone_before_the_commit(open_door: OpenADoor) -> None:
    """Nobody hears the 250: a commit that has not begun is not begun."""
    door = await open_door()
    door.intake.gate = asyncio.Event()
    client = await door.greeted()
    await client.envelope()
    client.send(b"x\r\n.\r\n")
    async with asyncio.timeout(WITHIN):
        await door.intake.at_commit.wait()
    client.reset()
    await door.until_empty()
    assert isinstance(door.intake.faults[0], asyncio.CancelledError)


async def test_intake_cancelled_from_within_is_our_fault(open_door: OpenADoor) -> None:
    door = await open_door()
    door.intake.gate = asyncio.Event()
    waiting = asyncio.get_running_loop().create_future()
    door.intake.gate.wait = lambda: waiting  # type: ignore[method-assign,assignment,return-value]  # a future to cancel
    client = await door.greeted()
    await client.envelope()
    client.send(b"x\r\n.\r\n")
    await door.intake.at_commit.wait()
    waiting.cancel()
    assert (await client.hear()).startswith("451 4.3.0 ")
    assert (await client.ask("NOOP")).startswith("250 ")


# --- the door closes --------------------------------------------------------------------------------------------------


async def test_idle_sessions_are_told(open_door: OpenADoor) -> None:
    door = await open_door()
    idle, begun = await door.greeted(), await door.greeted()
    await begun.ask("MAIL FROM:<a@b.example>")
    await door.door.stop(WITHIN)
    await closed_with(idle, "421 4.3.2")
    await closed_with(begun, "421 4.3.2")
    with pytest.raises(OSError, match=r"Connect call failed|refused"):
        await door.connect()


@pytest.mark.parametrize("read", [False, True], ids=["still coming", "being committed"])
async def test_a_message_under_way_may_end(read: bool, open_door: OpenADoor) -> None:
    door = await open_door()
    door.intake.gate = asyncio.Event()
    client = await door.greeted()
    await client.envelope()
    client.send(b"x\r\n.\r\n" if read else b"x\r\n")
    if read:
        await door.intake.at_commit.wait()
    stopping = asyncio.ensure_future(door.door.stop(WITHIN))
    await asyncio.sleep(0)
    client.send(b"" if read else b".\r\n")
    door.intake.gate.set()
    assert await client.rest() == ["250 2.0.0 queued as Q1", "421 4.3.2 service shutting down"]
    await stopping


async def test_the_deadline_ends_what_does_not_end(open_door: OpenADoor, caplog: pytest.LogCaptureFixture) -> None:
    door = await open_door()
    client = await door.greeted()
    await client.envelope()
    await door.door.stop(0.05)
    assert await client.rest() == []
    assert "1 SMTP sessions did not end in time" in caplog.text
    assert door.intake.messages == []


async def test_who_comes_while_the_door_closes(open_door: OpenADoor) -> None:
    door = await open_door()
    await door.door.stop(WITHIN)
    assert door.door.admit("127.0.0.1") is Refusal.SHUTTING_DOWN


async def test_stop_is_heard_while_a_secret_is_waited_for(open_door: OpenADoor) -> None:
    door = await open_door(auth_failure_delay=100.0)
    client = await door.greeted()
    client.say("AUTH PLAIN AGJvYgB3cm9uZw==")
    await _until_read(door)
    await door.door.stop(WITHIN)
    await closed_with(client, "421 4.3.2")


async def _until_read(door: OpenDoor) -> None:
    """What a client said has been taken: a second client, who came later, has been answered."""
    later = await door.greeted()
    assert (await later.ask("QUIT")).startswith("221 ")


async def test_what_is_refused_is_told(open_door: OpenADoor) -> None:
    door = await open_door()
    door.people.add("alice", "secret")
    door.intake.max_size = 5
    client = await door.greeted()
    await client.ask("AUTH PLAIN AGFsaWNlAHdyb25n")
    await client.ask("MAIL FROM:<bad>")
    assert (await client.envelope()).startswith("354")
    client.send(b"123456\r\n.\r\n")
    await client.hear()
    assert door.observer.told == [
        "opened 127.0.0.1",
        "auth failed 127.0.0.1 alice",
        "rejected 127.0.0.1 loopback <> 553",
        "rejected 127.0.0.1 loopback <a@b.example> 552",
    ]
