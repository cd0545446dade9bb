"""The main way, end to end: a legacy client and a REST client hand mail in, a real SMTP server receives it."""

from __future__ import annotations

import asyncio
import base64
import re
import smtplib
from typing import Any

from tests.support.relay_process import RelayProcess
from tests.support.smtp_server import SmtpServer

FAST_RETRY = {"retry": {"schedule": "300ms, 300ms", "jitter": "0%"}}
BODY = (
    b"From: ERP <erp@shop.test>\r\nTo: bob@customer.test\r\nSubject: Invoice 42\r\n"
    b"X-Stagepost-Priority: high\r\nX-Stagepost-Client-Id: inv-42\r\nX-Custom: stays\r\n\r\n"
    b"Dear Bob,\r\n.a line that begins with a dot\r\n\r\nyours\r\n"
)


def _prepare(relay: RelayProcess, sink: SmtpServer) -> tuple[str, str, str]:
    """A tenant with a default account at the sink; its token, and a credential's user name and secret."""
    token = relay.cli("tenants", "add", "acme")["token"]
    relay.cli(
        "accounts",
        "add",
        "main",
        "--tenant",
        "acme",
        "--host",
        "127.0.0.1",
        "--port",
        str(sink.port),
        "--tls",
        "none",
        "--default",
    )
    credential = relay.cli("credentials", "add", "erp", "--tenant", "acme")
    return token, credential["username"], credential["secret"]


def _send(relay: RelayProcess, user: str, secret: str, recipients: list[str], content: bytes) -> str:
    """By smtplib with AUTH; the queue id."""
    with smtplib.SMTP("127.0.0.1", relay.smtp_port, timeout=10) as client:
        client.ehlo()
        client.login(user, secret)
        client.mail("erp@shop.test")
        for recipient in recipients:
            client.rcpt(recipient)
        code, reply = client.data(content)
    assert code == 250, reply
    found = re.fullmatch(rb"2\.0\.0 queued as ([0-9a-z]{16})", reply)
    assert found, reply
    return found[1].decode()


def _until_closed(relay: RelayProcess, token: str, message: str) -> Any:
    """The message, once its events say that every recipient is closed."""
    shown: Any = None
    for _ in range(200):
        shown = relay.request("GET", f"/v1/messages/{message}", token).body
        if shown["state"] not in {"open", "preparing"}:
            return shown
    raise AssertionError(f"still open: {shown}")


async def test_smtp_to_smtp(relay: RelayProcess) -> None:
    """smtplib with AUTH → the same octets at the next hop, `sent` with its reply, a story in the log."""
    async with SmtpServer() as sink:
        relay.options = FAST_RETRY
        await asyncio.to_thread(relay.start)
        token, user, secret = await asyncio.to_thread(_prepare, relay, sink)
        message = await asyncio.to_thread(_send, relay, user, secret, ["bob@customer.test"], BODY)
        [received] = await sink.wait_for(1)
        shown = await asyncio.to_thread(_until_closed, relay, token, message)
        assert await asyncio.to_thread(relay.stop) == 0

    assert received.sender == "erp@shop.test"
    assert received.recipients == ("bob@customer.test",)
    expected = BODY.replace(b"X-Stagepost-Priority: high\r\nX-Stagepost-Client-Id: inv-42\r\n", b"")
    added = received.content.removesuffix(expected)
    assert received.content.endswith(expected)
    assert re.fullmatch(
        rb"Received: from [^\r]+\r\n\tby relay\.test with ESMTPA id %s;\r\n\t[^\r]+\r\n"
        rb"X-Stagepost-ID: %s\r\nDate: [^\r]+\r\nMessage-ID: <%s@relay\.test>\r\n" % ((message.encode(),) * 3),
        added,
    )
    assert shown["state"] == "sent"
    assert shown["client_id"] == "inv-42"
    assert shown["priority"] == "high"
    [recipient] = shown["recipients"]
    assert recipient["state"] == "sent"
    assert recipient["reply"]["code"] == 250
    assert recipient["attempts"] == 1
    story = [line.split(" ")[2] for line in relay.log.splitlines() if message in line]
    assert story == ["accepted", "sent"]


async def test_rest_to_smtp(relay: RelayProcess) -> None:
    """POST /v1/messages with html, text, an attachment and a Bcc → one message to all, Bcc not in its header."""
    draft = {
        "from": "Shöp <shop@shop.test>",
        "to": ["Bob <bob@customer.test>"],
        "bcc": ["archive@shop.test"],
        "subject": "Grüße",
        "text": "plain",
        "html": "<p>rich</p>",
        "attachments": [
            {"filename": "a.txt", "content": base64.b64encode(b"attached").decode(), "content_type": "text/plain"}
        ],
        "metadata": {"order": 7},
    }
    async with SmtpServer() as sink:
        await asyncio.to_thread(relay.start)
        token, _, _ = await asyncio.to_thread(_prepare, relay, sink)
        answer = await asyncio.to_thread(relay.request, "POST", "/v1/messages", token, draft)
        assert answer.status == 202, answer.body
        [received] = await sink.wait_for(1)
        shown = await asyncio.to_thread(_until_closed, relay, token, answer.body["id"])
    assert received.recipients == ("bob@customer.test", "archive@shop.test")
    assert b"archive@shop.test" not in received.content
    assert base64.b64encode(b"attached") in received.content
    assert [r["state"] for r in shown["recipients"]] == ["sent", "sent"]
    assert shown["metadata"] == {"order": 7}


async def test_each_recipient_has_an_outcome_of_its_own(relay: RelayProcess) -> None:
    """250, 550 and 450 end as sent, failed, and deferred then sent; nobody gets the mail twice."""
    async with SmtpServer() as sink:
        sink.to("no@customer.test", "550 5.1.1 no such mailbox")
        sink.to("later@customer.test", "450 4.2.1 try again later", "250 2.1.5 ok")
        relay.options = FAST_RETRY
        await asyncio.to_thread(relay.start)
        token, user, secret = await asyncio.to_thread(_prepare, relay, sink)
        recipients = ["yes@customer.test", "no@customer.test", "later@customer.test"]
        message = await asyncio.to_thread(_send, relay, user, secret, recipients, BODY)
        first, second = await sink.wait_for(2)
        shown = await asyncio.to_thread(_until_closed, relay, token, message)
        events = (await asyncio.to_thread(relay.request, "GET", f"/v1/messages/{message}/events", token)).body["items"]
    assert (first.recipients, second.recipients) == (("yes@customer.test",), ("later@customer.test",))
    assert first.sha256 == second.sha256
    by_address = {r["address"]: r for r in shown["recipients"]}
    assert {address: r["state"] for address, r in by_address.items()} == {
        "yes@customer.test": "sent",
        "no@customer.test": "failed",
        "later@customer.test": "sent",
    }
    assert by_address["no@customer.test"]["reply"] == {"code": 550, "enhanced": "5.1.1", "text": "no such mailbox"}
    assert by_address["later@customer.test"]["attempts"] == 2
    assert shown["state"] == "partial"
    told = [(event["kind"], event["recipient"]) for event in events]
    assert told == [
        ("accepted", None),
        ("sent", "yes@customer.test"),
        ("failed", "no@customer.test"),
        ("deferred", "later@customer.test"),
        ("sent", "later@customer.test"),
    ]


async def test_a_stop_loses_nothing_and_a_start_goes_on(relay: RelayProcess) -> None:
    """Mail deferred before SIGTERM is sent after the next start, by the account as it is then."""
    async with SmtpServer() as sink:
        sink.on("dot", "451 4.3.0 not now", "250 2.0.0 ok")
        relay.options = FAST_RETRY
        await asyncio.to_thread(relay.start)
        token, user, secret = await asyncio.to_thread(_prepare, relay, sink)
        message = await asyncio.to_thread(_send, relay, user, secret, ["bob@customer.test"], BODY)
        await sink.wait_for(1)
        assert await asyncio.to_thread(relay.stop) == 0
        offline = await asyncio.to_thread(relay.cli, "messages", "show", message)
        assert offline["recipients"][0]["state"] == "deferred"
        await asyncio.to_thread(relay.start)
        await sink.wait_for(2)
        shown = await asyncio.to_thread(_until_closed, relay, token, message)
    assert shown["recipients"][0]["state"] == "sent"
