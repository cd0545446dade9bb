"""Ends: clients that vanish, and a door that closes."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from relay.contracts.queue import Accepted
from relay.errors import Refusal
from relay.ingress.data_reader import Pace
from relay.ingress.faults import ClientGone, ClientTooSlow
from relay.intake.submission import Submission
from tests.ingress.conftest import WITHIN, OpenADoor, OpenDoor

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
    await client.closes_with("421 4.4.2")


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
    await idle.closes_with("421 4.3.2")
    await begun.closes_with("421 4.3.2")
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
    await client.closes_with("421 4.3.2")


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


async def test_a_client_that_ends_before_it_is_waited_for_again_is_forgotten(open_door: OpenADoor) -> None:
    """Its end is known when the session comes back from the commit; the connection's own end comes after."""
    door = await open_door()
    door.intake.gate = asyncio.Event()
    client = await door.greeted()
    await client.envelope()
    client.send(b"Subject: x\r\n\r\nx\r\n.\r\n")
    client.writer.write_eof()
    async with asyncio.timeout(WITHIN):
        await door.intake.at_commit.wait()
        (session,) = door.door._sessions
        while not session._reader._eof:  # noqa: ASYNC110 - it comes with a turn of the loop, and tells nobody
            await asyncio.sleep(0)
    door.intake.gate.set()
    await door.until_empty()
