"""Pieces: what is answered, and what is taken, does not hang on how a client's octets fall into packets, nor on when they
come. They are handed to the session itself, so that each cut falls where it is wanted."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

import pytest

from tests.ingress.behind import People
from tests.ingress.conftest import Client, OpenADoor, OpenDoor

AUTH = "AGFsaWNlAHNlY3JldA=="
WRONG = "AGFsaWNlAHdyb25n"
MESSAGE = "Subject: one\r\n\r\n..\r\ntext\r\n.x\r\n.\r\n"
CONVERSATIONS = {
    "messages": [
        *(
            "EHLO c.example",
            "MAIL FROM:<a@b.example>",
            "RCPT TO:<c@d.example>",
            "RCPT TO:<bad>",
            "RCPT TO:<e@d.example>",
        ),
        *("DATA", MESSAGE, "MAIL FROM:<>", "RCPT TO:<c@d.example>", "DATA", ".\r\n", "RSET", "NOOP", "QUIT"),
    ],
    "auth": [
        *("EHLO c.example", f"AUTH PLAIN {WRONG}", "AUTH PLAIN", AUTH, "MAIL FROM:<a@b.example>", f"AUTH PLAIN {AUTH}"),
        *("RCPT TO:<c@d.example>", "DATA", MESSAGE, "MAIL FROM:<a@b.example>", "RSET", "QUIT"),
    ],
    "auth in three steps": [
        *("EHLO c.example", "AUTH LOGIN", "*", "AUTH LOGIN", "%%%", "AUTH LOGIN", "YWxpY2U=", "c2VjcmV0"),
        *("MAIL FROM:<a@b.example>", "RCPT TO:<c@d.example>", "DATA", MESSAGE, "QUIT"),
    ],
    "errors": [
        *(
            "NOOP",
            "MAIL FROM:<a@b.example>",
            "RCPT TO:<c@d.example>",
            "DATA",
            "what",
            "HELO c",
            "DATA",
            "DATA x",
            "VRFY",
        ),
        *("NOOP " + "x" * 600, "x" * 3000, "MAIL FROM:<a@b.example> SIZE=1", "RCPT TO:<c@d.example>", "DATA", MESSAGE),
        *("EXPN x", "QUIT"),
    ],
    "a bare line feed": [
        *("EHLO c", "MAIL FROM:<a@b.example>", "RCPT TO:<c@d.example>", "DATA", "x\n.\r\ny\r\n.\r\n"),
        *("NOOP", "NOOP\nQUIT"),
    ],
    "the end of it": ["EHLO c", "GET / HTTP/1.1", "NOOP", "NOOP"],
}


def wire_of(conversation: list[str]) -> list[bytes]:
    """What the client says, one thing after the other; a message has its end with it."""
    return [(one if one.endswith(".\r\n") else f"{one}\r\n").encode() for one in conversation]


async def answers(door: OpenDoor, pieces: Iterator[tuple[bytes, int]]) -> tuple[list[str], list[bytes]]:
    """To a client whose octets come so, each with so many turns of the loop behind it; and the content of what was taken."""
    before = len(door.intake.messages)
    client: Client = await door.connect()
    hearing = asyncio.ensure_future(client.rest())
    while not door.door._sessions:  # noqa: ASYNC110 - it comes with a turn of the loop
        await asyncio.sleep(0)
    (session,) = door.door._sessions
    for piece, turns in pieces:
        for _ in range(turns):
            await asyncio.sleep(0)
        if session.transport is None or session.transport.is_closing():
            break
        session.data_received(piece)
    heard = [line.partition(" queued as ")[0] for line in await hearing]
    await door.until_empty()
    return heard, [content for _, content in door.intake.messages[before:]]


def step_by_step(wire: list[bytes]) -> Iterator[tuple[bytes, int]]:
    """Each line once the one before has been answered for sure."""
    for one in wire:
        yield one, 200


def cut(wire: list[bytes], seed: int) -> Iterator[tuple[bytes, int]]:
    """The same octets in pieces of any size."""
    chance = random.Random(seed)
    octets = b"".join(wire)
    at, most = 0, chance.choice((1, 2, 5, 40, 400, 4000))
    while at < len(octets):
        size = chance.randint(1, most)
        yield octets[at : at + size], chance.choice((0, 0, 1, 3))
        at += size


@pytest.mark.parametrize("name", CONVERSATIONS)
@pytest.mark.parametrize("asks", [False, True], ids=["", "asks at each MAIL"])
async def test_however_it_is_cut(name: str, asks: bool, open_door: OpenADoor, monkeypatch: pytest.MonkeyPatch) -> None:
    door = await open_door(auth_failures_per_minute=10**6, max_errors=20)
    door.people.add("alice", "secret")
    if asks:  # what may have changed unheard
        monkeypatch.setattr(People, "generation", -1)
    wire = wire_of(CONVERSATIONS[name])
    expected = await answers(door, step_by_step(wire))
    assert expected[0][-1][:3] in {"221", "421", "500"}
    for seed in range(50):
        assert await answers(door, cut(wire, seed)) == expected, seed


@pytest.mark.parametrize("line", ["MAIL FROM:<a@b.example>", f"AUTH PLAIN {AUTH}"])
async def test_a_command_that_has_to_wait_comes_as_soon_as_replies_are_read_again(
    line: str, open_door: OpenADoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transport says both within one turn of the loop: the session, which waits to be let write, has work by then."""
    monkeypatch.setattr(People, "generation", -1)
    door = await open_door()
    door.people.add("alice", "secret")
    client = await door.greeted()
    (session,) = door.door._sessions
    session.pause_writing()
    assert (await client.ask("NOOP")).startswith("250 ")
    session.resume_writing()
    session.data_received(f"{line}\r\n".encode())
    assert (await client.hear())[:3] in {"250", "235"}
