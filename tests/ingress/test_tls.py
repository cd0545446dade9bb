"""STARTTLS (RFC 3207) and TLS from the first octet (RFC 8314)."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

import pytest

from relay.errors import Refusal
from relay.ingress.settings import AuthWithoutTls
from tests.ingress.conftest import Certificates, Client, OpenADoor

PLAIN = "AUTH PLAIN AGFsaWNlAHNlY3JldA=="


async def test_plain_text_behind_starttls_is_dropped(open_door: OpenADoor, certificates: Certificates) -> None:
    """What a man in the middle puts behind STARTTLS is no command of the session that follows (CVE-2024-34083)."""
    door = await open_door(tls=certificates.server)
    client = await door.greeted()
    client.say("STARTTLS", "EHLO evil", "MAIL FROM:<evil@b.example>")
    assert (await client.hear()).startswith("220 2.0.0 ")
    await client.start_tls(certificates.client)
    assert (await client.ask("MAIL FROM:<a@b.example>")).startswith("503 5.5.1 ")
    assert (await client.ask("EHLO c")).startswith("250 ")
    assert (await client.ask("MAIL FROM:<a@b.example>")).startswith("250 2.1.0 ")


async def test_a_message_over_starttls(open_door: OpenADoor, certificates: Certificates) -> None:
    door = await open_door(tls=certificates.server, auth_without_tls=AuthWithoutTls.NEVER)
    door.people.add("alice", "secret")
    client = await door.greeted()
    await client.ask("STARTTLS")
    await client.start_tls(certificates.client)
    assert "250-AUTH PLAIN LOGIN" in await _ehlo(client)
    assert (await client.ask(PLAIN)).startswith("235 ")
    content = b"x" * 76 + b"\r\n"
    assert (await client.envelope()).startswith("354")
    client.send(content * 10_000 + b".\r\n")
    assert await client.hear() == "250 2.0.0 queued as Q1"
    submission, got = door.intake.messages[0]
    assert got == content * 10_000
    assert submission.principal.tenant == "acme"
    assert submission.trace.protocol == "ESMTPSA"
    assert submission.trace.tls == "TLSv1.3"
    assert (await client.ask("QUIT")).startswith("221 ")
    assert await client.rest() == []


async def test_implicit_tls(open_door: OpenADoor, certificates: Certificates) -> None:
    door = await open_door(tls=certificates.server, auth_without_tls=AuthWithoutTls.NEVER, loopback_tenant=None)
    door.people.add("alice", "secret")
    client = await door.connect(certificates.client)
    lines = await client.greet()
    assert "250-AUTH PLAIN LOGIN" in lines
    assert "250-STARTTLS" not in lines
    assert (await client.ask("STARTTLS")).startswith("503 5.5.1 ")
    assert (await client.ask("MAIL FROM:<a@b.example>")).startswith(str(Refusal.AUTH_REQUIRED.reply()))
    assert (await client.ask(PLAIN)).startswith("235 ")
    assert (await client.ask("MAIL FROM:<a@b.example>")).startswith("250 2.1.0 ")


async def _ehlo(client: Client) -> list[str]:
    client.say("EHLO c")
    return await client.hear_reply()


@pytest.mark.parametrize("greeting", [b"EHLO c\r\n", b"GET / HTTP/1.1\r\n\r\n", b""], ids=["smtp", "http", "nothing"])
async def test_plain_text_at_implicit_tls(greeting: bytes, open_door: OpenADoor, certificates: Certificates) -> None:
    """No session comes of it, and nothing is left of it."""
    door = await open_door(tls=certificates.server, handshake_timeout=0.05 if not greeting else 10)
    reader, writer = await asyncio.open_connection(door.host, door.tls_port)
    writer.write(greeting)
    async with asyncio.timeout(10):
        with contextlib.suppress(ConnectionError):
            assert b"220" not in await reader.read()
    writer.close()
    await door.until_empty()


async def test_old_tls_is_refused(open_door: OpenADoor, certificates: Certificates) -> None:
    door = await open_door(tls=certificates.server)
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await door.connect(old)
    await door.until_empty()


async def test_a_client_gone_in_the_handshake(open_door: OpenADoor, certificates: Certificates) -> None:
    door = await open_door(tls=certificates.server)
    client = await door.greeted()
    assert (await client.ask("STARTTLS")).startswith("220 ")
    client.close()
    await door.until_empty()
    assert door.observer.told == ["opened 127.0.0.1", "closed 127.0.0.1"]


async def test_a_handshake_does_not_hold_up_the_end(open_door: OpenADoor, certificates: Certificates) -> None:
    door = await open_door(tls=certificates.server)
    client = await door.greeted()
    assert (await client.ask("STARTTLS")).startswith("220 ")
    await door.door.stop(10)
    assert await client.rest() == []
