"""SMTP smuggling: what looks like an end of data elsewhere is none here, however the packets fall (CVE-2023-51764)."""

from __future__ import annotations

import pytest

from relay.ingress.settings import BareNewlines
from tests.ingress.conftest import Certificates, Client, OpenADoor

ENDS = [
    b"\n.\n",
    b"\n.\r\n",
    b"\n.\r",
    b"\r.\r",
    b"\r.\n",
    b"\r.\r\n",
    b"\r\n.\n",
    b"\r\n.\r",
    b"\r\n\x00.\r\n",
    b"\r\n.\x00\r\n",
    b"\r\r\n.\r",
    b"\n\n.\n\n",
    b"\r\n.\r\r\n",
    b"\r\n .\r\n",
]
SMUGGLED = b"MAIL FROM:<evil@b.example>\r\nRCPT TO:<victim@d.example>\r\nDATA\r\nevil\r\n.\r\n"


@pytest.mark.parametrize("bare_newlines", list(BareNewlines))
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("end", ENDS, ids=repr)
async def test_one_message_or_a_refusal(
    end: bytes, secure: bool, bare_newlines: BareNewlines, open_door: OpenADoor, certificates: Certificates
) -> None:
    """Split at every point from the suspicious sequence's first octet to behind its last; and octet by octet."""
    door = await open_door(tls=certificates.server, bare_newlines=bare_newlines, max_junk=1000)
    client = await door.connect(certificates.client if secure else None)
    await client.greet()
    wire = b"Subject: one\r\n\r\ntext" + end + SMUGGLED
    first = wire.index(end)
    cuts = [[at] for at in range(first, first + len(end) + 2)] + [list(range(first, first + len(end) + 8))]
    for cut in cuts:
        before = len(door.intake.messages)
        answer = await _send(client, wire, cut)
        taken = len(door.intake.messages) - before
        assert (answer[:3], taken) in {("250", 1), ("550", 0)}, answer
        # The content's own dot was the last one: what follows it is this command, and nothing else.
        assert (await client.ask("NOOP")).startswith("250 2.0.0 ok")
    assert all(message.envelope.sender == "a@b.example" for message, _ in door.intake.messages)


async def _send(client: Client, wire: bytes, cuts: list[int]) -> str:
    assert (await client.envelope()).startswith("354")
    for start, stop in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        client.send(wire[start:stop])
        await client.writer.drain()
    return await client.hear()
