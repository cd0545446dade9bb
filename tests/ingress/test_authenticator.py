"""Authenticator: is it the right secret, and how is guessing slowed?"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from ipaddress import ip_network

import pytest

from relay.clock import MINUTE, SECOND, SystemClock
from relay.ingress.authenticator import Authenticator, TryLater
from relay.ingress.trust import read_client_address
from relay.model.tenant import Credential
from relay.secrets import hash_chosen, hash_generated
from tests.ingress.behind import People
from tests.support.clock import FakeClock

HOME = read_client_address("127.0.0.1")
ELSEWHERE = read_client_address("192.0.2.7")
CHOSEN = hash_chosen("correct horse")


def authenticator(people: People, clock: FakeClock | SystemClock, *, per_minute: int = 10) -> Authenticator:
    return Authenticator(people, clock, failure_delay=1.0, failures_per_minute=per_minute)


async def outcome(task: asyncio.Task[object], clock: FakeClock) -> object:
    """What came of it, moving the clock as long as it sleeps."""
    while not task.done():
        if clock.sleeping_until:
            clock.advance(clock.sleeping_until[0] - clock.now())
        await asyncio.sleep(0)
    return task.result()


@pytest.mark.parametrize(
    ("username", "secret", "right"),
    [
        ("alice", "secret", True),
        ("alice", "Secret", False),
        ("alice", "", False),
        ("Alice", "secret", False),
        ("bob", "secret", False),
        ("", "secret", False),
        ("alice\x00", "secret", False),
        ("a" * 5000, "secret", False),
        ("alice", "s" * 5000, False),
        ("printers", "secret", False),
        ("at-home", "secret", False),
    ],
)
async def test_secrets(username: str, secret: str, right: bool) -> None:
    people, clock = People(), FakeClock()
    people.add("alice", "secret")
    people.add("printers", None, ip_network("192.0.2.0/24"))
    people.add("at-home", "secret", ip_network("127.0.0.0/8"))
    door = authenticator(people, clock)
    began = clock.boot()
    found = await outcome(asyncio.ensure_future(door.authenticate(username, secret, ELSEWHERE, 0)), clock)
    assert (found is not None) is right
    # Every failure takes the same time, whatever its reason; the right secret takes none.
    assert clock.boot() - began == (0 if right else SECOND)


async def test_the_delay_doubles_on_a_connection() -> None:
    clock = FakeClock()
    door = authenticator(People(), clock)
    for failures, seconds in enumerate((1, 2, 4)):
        began = clock.boot()
        await outcome(asyncio.ensure_future(door.authenticate("bob", "x", HOME, failures)), clock)
        assert clock.boot() - began == seconds * SECOND


def hashes(door: Authenticator) -> bool:
    """Whether it has begun to hash, off the loop."""
    return door._hashers is not None


@pytest.mark.parametrize("changed_to", [hash_generated("another"), hash_chosen("another")], ids=["generated", "chosen"])
async def test_a_slow_hash_is_remembered_and_follows_a_change(changed_to: str) -> None:
    people = People()
    alice = people.add("alice", "")
    people.known["alice"] = replace(alice, secret_hash=CHOSEN)
    clock = FakeClock()
    door = authenticator(people, clock)
    assert await door.authenticate("alice", "correct horse", HOME, 0)
    hashers, door._hashers = door._hashers, None
    assert await door.authenticate("alice", "correct horse", HOME, 0)
    assert not hashes(door)
    assert not any(b"horse" in entry for entry in door._verified)
    people.known["alice"] = replace(alice, secret_hash=changed_to)
    trying = asyncio.ensure_future(door.authenticate("alice", "correct horse", HOME, 0))
    await clock.until_slept(clock.now() + SECOND)
    assert await outcome(trying, clock) is None
    clock.advance(2 * MINUTE)
    people.known["alice"] = replace(alice, secret_hash=CHOSEN)
    assert await door.authenticate("alice", "correct horse", HOME, 0)
    assert hashes(door)  # what was remembered is old
    door.close()
    assert hashers is not None
    hashers.shutdown()


async def test_only_so_many_slow_hashes_wait() -> None:
    people = People()
    people.known["alice"] = Credential("alice", "acme", CHOSEN)
    door = authenticator(people, FakeClock(), per_minute=1000)
    tries = [asyncio.ensure_future(door.authenticate("alice", "correct horse", HOME, 0)) for _ in range(40)]
    await asyncio.wait(tries, return_when=asyncio.FIRST_COMPLETED)
    refused = [task for task in tries if task.done() and isinstance(task.exception(), TryLater)]
    assert len(refused) == 40 - 32
    door.close()
    await asyncio.wait(tries)


async def test_guessing_from_one_address_does_not_hold_up_another() -> None:
    people, clock = People(), FakeClock()
    people.add("alice", "secret")
    door = authenticator(people, clock)
    guesses = [asyncio.ensure_future(door.authenticate("alice", f"guess{n}", ELSEWHERE, 0)) for n in range(50)]
    await asyncio.sleep(0)
    assert await door.authenticate("alice", "secret", HOME, 0) is not None
    for task in guesses:
        with contextlib.suppress(TryLater):
            assert await outcome(task, clock) is None
    refused = sum(isinstance(task.exception(), TryLater) for task in guesses)
    # Ten at once, one more within the longest wait of ten seconds; the others were not even checked.
    assert refused == 50 - 11


async def test_a_right_secret_is_not_counted() -> None:
    people, clock = People(), FakeClock()
    people.add("alice", "secret")
    door = authenticator(people, clock, per_minute=2)
    for _ in range(100):
        assert await door.authenticate("alice", "secret", HOME, 0)
