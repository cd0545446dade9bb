"""Who may hand in mail: by AUTH, by network, by being on this machine."""

from __future__ import annotations

import logging
import statistics
import time
from base64 import b64encode
from dataclasses import replace
from ipaddress import ip_network

import pytest

from relay.errors import StoreUnavailable
from relay.ingress.settings import AuthWithoutTls
from tests.ingress.conftest import Client, OpenADoor


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
