"""Who may hand in mail: by AUTH, by network, by being on this machine; and how guessing is slowed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import statistics
import time
from base64 import b64encode
from dataclasses import replace
from ipaddress import ip_network

import pytest

from relay.clock import MINUTE, SECOND, SystemClock
from relay.errors import StoreUnavailable
from relay.ingress.authenticator import Authenticator, TryLater
from relay.ingress.settings import AuthWithoutTls
from relay.ingress.trust import read_client_address
from relay.model.tenant import Credential
from relay.secrets import hash_chosen, hash_generated
from tests.ingress.conftest import Client, OpenADoor, People
from tests.support.clock import FakeClock

HOME = read_client_address("127.0.0.1")
ELSEWHERE = read_client_address("192.0.2.7")
CHOSEN = hash_chosen("correct horse")


def plain(username: str, secret: str) -> str:
    return "AUTH PLAIN " + b64encode(f"\0{username}\0{secret}".encode()).decode()


async def submit(client: Client) -> str:
    answer = await client.envelope()
    assert answer.startswith("354"), answer
    client.send(b"x\r\n.\r\n")
    return await client.hear()


# --- who is it --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "tenant", "answer"),
    [
        ("127.0.0.1", "default", "250"),
        ("::1", "default", "250"),
        ("0.0.0.0", "default", "530"),  # strangers could be there too, or look local through a forwarded port
        ("127.0.0.1", None, "530"),
    ],
)
async def test_loopback(host: str, tenant: str | None, answer: str, open_door: OpenADoor) -> None:
    door = await open_door(host=host, loopback_tenant=tenant)
    client = await door.greeted()
    assert (await client.ask("MAIL FROM:<a@b.example>"))[:3] == answer


async def test_loopback_principal(open_door: OpenADoor) -> None:
    door = await open_door()
    await submit(await door.greeted())
    submission = door.intake.messages[0][0]
    assert (submission.principal.tenant, submission.principal.name) == ("default", "loopback")
    assert (submission.trace.protocol, submission.trace.peer, submission.trace.helo) == (
        "ESMTP",
        "127.0.0.1",
        "client.example",
    )


async def test_network_credential_goes_before_loopback(open_door: OpenADoor) -> None:
    door = await open_door()
    door.people.add("printers", None, ip_network("127.0.0.0/8"))
    client = await door.greeted()
    await submit(client)
    assert door.intake.messages[0][0].principal.name == "printers"
    assert door.intake.messages[0][0].trace.protocol == "ESMTP"
    del door.people.known["printers"]
    await submit(client)
    assert door.intake.messages[1][0].principal.name == "loopback"


async def test_auth_goes_before_the_network(open_door: OpenADoor) -> None:
    door = await open_door()
    door.people.add("printers", None, ip_network("127.0.0.0/8"), tenant="office")
    door.people.add("alice", "secret")
    client = await door.greeted()
    assert (await client.ask(plain("alice", "secret"))).startswith("235 ")
    await submit(client)
    submission = door.intake.messages[0][0]
    assert (submission.principal.tenant, submission.principal.name) == ("acme", "alice")
    assert submission.trace.protocol == "ESMTPA"


@pytest.mark.parametrize("change", ["deleted", "new secret", "other tenant"])
async def test_a_withdrawn_credential_makes_nobody_of_a_client(change: str, open_door: OpenADoor) -> None:
    """Not the loopback tenant's client, either: its mail would go another's way."""
    door = await open_door()
    alice = door.people.add("alice", "secret")
    client = await door.greeted()
    assert (await client.ask(plain("alice", "secret"))).startswith("235 ")
    await submit(client)
    if change == "deleted":
        del door.people.known["alice"]
    elif change == "new secret":
        door.people.add("alice", "another")
    else:
        door.people.known["alice"] = replace(alice, tenant="other")
    for _ in range(2):
        assert (await client.ask("MAIL FROM:<a@b.example>")).startswith("530 5.7.0 ")


async def test_a_changed_credential_holds_for_the_next_message(open_door: OpenADoor) -> None:
    door = await open_door()
    alice = door.people.add("alice", "secret")
    client = await door.greeted()
    await client.ask(plain("alice", "secret"))
    door.people.known["alice"] = replace(alice, allowed_senders=("other@b.example",))
    assert (await client.ask("MAIL FROM:<a@b.example>")).startswith("550 5.7.1 ")


@pytest.mark.parametrize(
    ("policy", "offered"),
    [(AuthWithoutTls.LOOPBACK, True), (AuthWithoutTls.NEVER, False), (AuthWithoutTls.ALWAYS, True)],
)
async def test_auth_in_clear(policy: AuthWithoutTls, offered: bool, open_door: OpenADoor) -> None:
    door = await open_door(auth_without_tls=policy)
    door.people.add("alice", "secret")
    client = await door.connect()
    assert ("250-AUTH PLAIN LOGIN" in await client.greet()) is offered
    assert (await client.ask(plain("alice", "secret")))[:3] == ("235" if offered else "538")


# --- is it the right secret -------------------------------------------------------------------------------------------


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


async def test_too_many_tries_at_the_door(open_door: OpenADoor) -> None:
    door = await open_door(auth_failures_per_minute=1)
    for answers in (["535", "454"], ["454"]):
        client = await door.greeted()
        for answer in answers:
            assert (await client.ask(plain("bob", "x")))[:3] == answer


async def test_unknown_and_wrong_take_the_same_time(open_door: OpenADoor) -> None:
    door = await open_door(auth_failure_delay=0.005, auth_failures_per_minute=10_000)
    door.people.add("alice", "secret")
    took: dict[str, list[float]] = {"alice": [], "bob": []}
    for _ in range(15):
        for username, times in took.items():
            client = await door.greeted()
            began = time.perf_counter()
            assert (await client.ask(plain(username, "wrong"))).startswith("535 5.7.8 ")
            times.append(time.perf_counter() - began)
            client.close()
    unknown, known = min(took["bob"]), min(took["alice"])
    assert unknown >= 0.005
    assert known >= 0.005
    assert abs(unknown - known) < 0.004, statistics.median(took["alice"])


async def test_the_store_is_gone_at_auth(open_door: OpenADoor) -> None:
    door = await open_door()
    door.people.unavailable = StoreUnavailable("postgres://relay:S3cret@db is gone")
    client = await door.greeted()
    assert (await client.ask(plain("alice", "secret"))).startswith("451 4.3.0 ")
    door.people.unavailable = None
    door.people.add("alice", "secret")
    assert (await client.ask(plain("alice", "secret"))).startswith("235 ")


async def test_no_secret_is_logged(open_door: OpenADoor, caplog: pytest.LogCaptureFixture) -> None:
    """However AUTH comes and fails, at the lowest level of every logger."""
    caplog.set_level(logging.DEBUG)
    canary = "c4n4ry-Secret"
    coded = b64encode(f"\0alice\0{canary}".encode()).decode()
    alone = b64encode(canary.encode()).decode()
    door = await open_door(auth_without_tls=AuthWithoutTls.ALWAYS, max_auth_failures=10)
    door.people.add("alice", "other")
    client = await door.greeted()
    for line in (
        f"AUTH PLAIN {coded}",
        f"AUTH NTLM {coded}",
        f"AUTHX PLAIN {coded}",
        f"AUTH PLAIN {coded}!",
        f"AUTH LOGIN {alone} {alone}",
    ):
        await client.ask(line)
    client.say("AUTH LOGIN", b64encode(b"alice").decode(), alone)
    client.say(f"AUTH PLAIN\x00{coded}", "QUIT")
    answers = await client.rest()
    door.people.unavailable = RuntimeError(f"boom {canary[:0]}")
    other = await door.greeted()
    await other.ask(f"AUTH PLAIN {coded}")
    heard = "\n".join([*answers, caplog.text, *door.observer.told])
    assert canary not in heard
    assert coded not in heard
    assert alone not in heard
