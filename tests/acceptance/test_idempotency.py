"""Fifty repeats at the same moment, by HTTP and by SMTP, into one process and into two: exactly one message.

The control hands in the same without a key, and the same assertion must fail.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable

import aiosmtplib
import pytest

from sidecar_api import operations
from sidecar_api.client import ApiError, Client
from tests.support.relay_process import RelayProcess

REPEATS = 50
QUEUED = re.compile(r"queued as (\w+)")
HandIn = Callable[[RelayProcess, Client, str, str | None], Awaitable[str | None]]
"""Hands in a message to somebody, under a key; answers its id, or None where it is told that the first is on its way."""


async def by_http(_: RelayProcess, client: Client, to: str, key: str | None) -> str | None:
    body = {"from": "ann@example.com", "to": [to], "subject": "Hi", "text": "Hello."}
    try:
        return (await client.call(operations.SUBMIT, json=body, idempotency_key=key))["id"]
    except ApiError as refused:
        if (refused.status, refused.code) != (409, "idempotency_in_flight"):
            raise
        return None


async def by_smtp(relay: RelayProcess, _: Client, to: str, key: str | None) -> str | None:
    named = f"X-Stagepost-Idempotency-Key: {key}\r\n" if key else ""
    content = f"From: ann@example.com\r\nTo: {to}\r\nSubject: Hi\r\n{named}\r\nHello.\r\n".encode()
    async with aiosmtplib.SMTP(hostname="127.0.0.1", port=relay.smtp_port, timeout=30, start_tls=False) as client:
        try:
            _refused, told = await client.sendmail("ann@example.com", [to], content)
        except aiosmtplib.SMTPDataError as refused:
            if refused.code != 451:
                raise
            return None
    found = QUEUED.search(told)
    assert found, told
    return found[1]


async def until_taken(hand_in: HandIn, relay: RelayProcess, client: Client, to: str, key: str | None) -> str:
    """As clients do: again, when it was not now."""
    async with asyncio.timeout(30):
        while (taken := await hand_in(relay, client, to, key)) is None:
            pass
    return taken


async def hand_in_at_once(relay: RelayProcess, client: Client, hand_in: HandIn, to: str, key: str | None) -> None:
    """Fifty times; AssertionError unless all are told of one message, and there is one."""
    told = await asyncio.gather(*(until_taken(hand_in, relay, client, to, key) for _ in range(REPEATS)))
    pages = client.pages(operations.LIST_MESSAGES, query={"recipient": to, "limit": 100})
    kept = [one["id"] async for one in pages]
    assert len(kept) == 1, f"{len(kept)} messages"
    assert set(told) == set(kept)


@pytest.mark.parametrize("workers", [1, 2])
async def test_fifty_repeats_are_one_message(relay: RelayProcess, workers: int) -> None:
    relay.options = {"server": {"workers": str(workers)}}
    relay.start()
    token = (await asyncio.to_thread(relay.cli, "tokens", "add", "t", "--tenant", "default"))["token"]
    async with Client(f"http://127.0.0.1:{relay.api_port}", token=token) as client:
        for name, hand_in in (("http", by_http), ("smtp", by_smtp)):
            await hand_in_at_once(relay, client, hand_in, f"{name}@example.com", name)
            with pytest.raises(AssertionError, match=f"{REPEATS} messages"):  # the control
                await hand_in_at_once(relay, client, hand_in, f"{name}.control@example.com", None)
