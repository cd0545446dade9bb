"""The door before the real intake and store: what Python's own client hands in is what the next hop gets."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_network
from pathlib import Path

import pytest

from relay.clock import SystemClock
from relay.ingress.listener import Listener, SmtpDoor, bind
from relay.ingress.settings import DoorSettings
from relay.intake.accept import IntakeSettings
from relay.model.message import RecipientState
from relay.model.tenant import Credential
from relay.secrets import generate_secret, hash_chosen, hash_generated
from tests.ingress.conftest import Certificates
from tests.support.core import ACME, Core, running_core
from tests.support.smtp_server import SmtpServer

CONTENT = b"Subject: x\r\n\r\n.dots\r\n..\r\n" + b"long " * 500 + b"\r\n\xc3\xa9\r\n"
BIG = 2_000_000


@pytest.fixture
async def next_hop() -> AsyncIterator[SmtpServer]:
    async with SmtpServer() as server:
        yield server


@pytest.fixture
async def core(tmp_path: Path, next_hop: SmtpServer) -> AsyncIterator[Core]:
    async with running_core(tmp_path, settings=IntakeSettings("relay.test", max_size=3_000_000)) as core:
        await core.add_account(next_hop.port)
        yield core


@pytest.fixture
async def port(core: Core, certificates: Certificates) -> AsyncIterator[int]:
    settings = DoorSettings(hostname="relay.test")
    door = SmtpDoor(core.intake, core.store.directory, settings, SystemClock(), tls=certificates.server)
    (sock,) = bind("127.0.0.1", 0)
    await door.start([Listener(sock)])
    yield int(sock.getsockname()[1])
    await door.stop(10)


def in_clear(port: int) -> smtplib.SMTP:
    return smtplib.SMTP("127.0.0.1", port, timeout=20)


@pytest.mark.parametrize("hashing", [hash_generated, hash_chosen], ids=["generated", "chosen"])
async def test_smtplib_over_starttls(
    hashing: Callable[[str], str], core: Core, port: int, next_hop: SmtpServer, certificates: Certificates
) -> None:
    secret = generate_secret()
    await core.store.directory.add_credential(Credential("erp@acme", ACME, hashing(secret)))
    content = CONTENT + b"y" * 76 * (BIG // 76) + b"\r\n"

    def send(context: ssl.SSLContext) -> None:
        with in_clear(port) as client:
            client._host = "relay.example"  # type: ignore[attr-defined]  # the name on the certificate
            client.starttls(context=context)
            client.login("erp@acme", secret)
            assert (
                client.sendmail("ann@acme.example", ["bob@b.example", "eve@e.example"], content, ["BODY=8BITMIME"])
                == {}
            )
            for _ in range(3):
                assert client.sendmail("ann@acme.example", ["bob@b.example"], CONTENT) == {}

    await asyncio.to_thread(send, certificates.client)
    received = await next_hop.wait_for(4)
    assert sorted(len(one.recipients) for one in received) == [1, 1, 1, 2]
    assert all(one.content.endswith(content if len(one.recipients) == 2 else CONTENT) for one in received)
    assert all(b"with ESMTPSA id " in one.content for one in received)


async def test_nobody_relays_without_a_credential(core: Core, port: int, next_hop: SmtpServer) -> None:
    def attempt() -> tuple[int, bytes]:
        with in_clear(port) as client:
            client.ehlo()
            return client.mail("ann@acme.example")

    code, text = await asyncio.to_thread(attempt)
    assert (code, text) == (530, b"5.7.0 authentication required")
    assert next_hop.messages == []


async def test_two_hundred_and_fifty_names_what_is_in_the_queue(core: Core, port: int) -> None:
    core.dispatcher.set_active(False)
    await core.store.directory.add_credential(Credential("erp", ACME, hash_generated("secret")))

    def send() -> str:
        with in_clear(port) as client:
            client.login("erp", "secret")
            client.mail("ann@acme.example")
            client.rcpt("bob@b.example")
            client.rcpt("bob@B.example")
            code, text = client.data(CONTENT)
            assert code == 250
            return text.decode().removeprefix("2.0.0 queued as ")

    queue_id = await asyncio.to_thread(send)
    detail = await core.store.archive.message(ACME, queue_id)  # type: ignore[arg-type]  # as it came over the wire
    assert [one.state for one in detail.recipients] == [RecipientState.QUEUED]
    assert detail.message.sender == "ann@acme.example"


@pytest.mark.parametrize(
    ("content", "reply"),
    [
        (b"X-Stagepost-Priority: 9\r\n\r\n" + b"x" * BIG, (550, b"5.6.0 X-Stagepost-Priority: must be 0 to 3")),
        (b"x" * 3_000_001, (552, b"5.3.4 message exceeds the size limit of 3000000 octets")),
        (b"Received: by x\r\n" * 50 + b"\r\n", (554, b"5.4.6 ")),
    ],
    ids=["control", "size", "loop"],
)
async def test_refusals_of_intake_leave_the_session_whole(
    content: bytes, reply: tuple[int, bytes], core: Core, port: int, next_hop: SmtpServer
) -> None:
    await core.store.directory.add_credential(Credential("erp", ACME, hash_generated("secret")))

    def send() -> tuple[int, bytes]:
        with in_clear(port) as client:
            client.login("erp", "secret")
            client.mail("ann@acme.example")
            client.rcpt("bob@b.example")
            answer = client.data(content)
            assert client.sendmail("ann@acme.example", ["bob@b.example"], CONTENT) == {}
            return answer

    code, text = await asyncio.to_thread(send)
    assert (code, text[: len(reply[1])]) == reply
    assert len(await next_hop.wait_for(1)) == 1


async def test_a_correction_by_client_id_and_a_repeat_by_key(core: Core, port: int, next_hop: SmtpServer) -> None:
    await core.store.directory.add_credential(Credential("net", ACME, networks=(ip_network("127.0.0.0/8"),)))
    await core.store.suspensions.suspend(ACME, "spring", 1)
    head = b"X-Stagepost-Client-Id: c\r\nX-Stagepost-Batch: spring\r\n"
    key = b"X-Stagepost-Idempotency-Key: k\r\nSubject: k\r\n\r\nk\r\n"

    def hand_in(*contents: bytes) -> list[tuple[int, bytes]]:
        with in_clear(port) as client:
            client.ehlo()
            answers = []
            for content in contents:
                client.mail("ann@acme.example")
                client.rcpt("bob@b.example")
                answers.append(client.data(content))
            return answers

    wrong, right, first, again = await asyncio.to_thread(
        hand_in, head + b"Subject: wrong\r\n\r\n", head + b"Subject: right\r\n\r\n", key, key
    )
    assert {wrong[0], right[0]} == {250}
    assert first == again
    await core.store.suspensions.resume(ACME, "spring", 2)
    await core.log.wait_for("sent", count=2)
    assert sorted(m.content.split(b"Subject: ")[1].split()[0] for m in next_hop.messages) == [b"k", b"right"]
    ((code, text),) = await asyncio.to_thread(hand_in, head + b"Subject: late\r\n\r\n")
    assert (code, b"client id" in text) == (550, True)
