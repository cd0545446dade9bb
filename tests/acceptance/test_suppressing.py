"""Suppressions at both doors of a relay that runs: accepted, recorded, and not sent; without the entry all is sent."""

from __future__ import annotations

import asyncio
import smtplib

import pytest

from tests.support.relay_process import RelayProcess
from tests.support.smtp_server import SmtpServer

CONTENT = b"From: erp@shop.test\r\nSubject: Invoice\r\n\r\nDear customer\r\n"


def by_smtp(relay: RelayProcess, username: str, secret: str, *to: str) -> str:
    with smtplib.SMTP("127.0.0.1", relay.smtp_port, timeout=10) as client:
        client.login(username, secret)
        client.mail("erp@shop.test")
        assert [client.rcpt(one)[0] for one in to] == [250] * len(to), "accepted, on the list or not"
        code, reply = client.data(CONTENT)
    assert code == 250
    return reply.decode().rpartition(" ")[2]


def prepare(relay: RelayProcess, sink: SmtpServer, *, listed: bool) -> tuple[str, str, str]:
    """A tenant; its token, and a credential's user name and secret."""
    token = relay.cli("tenants", "add", "acme")["token"]
    way = ("--host", "127.0.0.1", "--port", str(sink.port), "--tls", "none", "--default")
    relay.cli("accounts", "add", "main", "--tenant", "acme", *way)
    if listed:
        relay.cli("suppressions", "add", "gone@customer.test", "--tenant", "acme")
    credential = relay.cli("credentials", "add", "erp", "--tenant", "acme")
    return token, credential["username"], credential["secret"]


@pytest.mark.parametrize("listed", [True, False], ids=["listed", "not listed"])
async def test_both_doors_accept_and_leave_out_who_is_on_the_list(relay: RelayProcess, listed: bool) -> None:
    async with SmtpServer() as sink:
        await asyncio.to_thread(relay.start)
        token, *login = await asyncio.to_thread(lambda: prepare(relay, sink, listed=listed))
        first = await asyncio.to_thread(by_smtp, relay, *login, "ann@customer.test", "Gone@Customer.test")
        body = {"from": "erp@shop.test", "to": ["bob@customer.test", "gone@customer.test"], "text": "x"}
        second = await asyncio.to_thread(relay.request, "POST", "/v1/messages", token, body)
        received = await sink.wait_for(2)
        sent_to = sorted(address.lower() for message in received for address in message.recipients)
        gone = [] if listed else ["gone@customer.test"] * 2
        assert sent_to == ["ann@customer.test", "bob@customer.test", *gone]
        for queue_id in (first, second.body["id"]):
            shown = await asyncio.to_thread(relay.request, "GET", f"/v1/messages/{queue_id}", token)
            assert (shown.body["recipients"][1]["state"] == "suppressed") is listed
