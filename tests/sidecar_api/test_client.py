"""The client against the door: over TCP with a token, over the Unix socket without."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from relay.errors import Violation
from sidecar_api import operations
from sidecar_api.client import ApiError, Client, NotARelay, Unreachable
from tests.sidecar_api.conftest import Door

MESSAGE = {"from": "a@a.example", "to": ["b@b.example"], "text": "x"}


async def test_over_tcp_with_a_token(door: Door) -> None:
    async with Client(f"http://127.0.0.1:{door.port}/", token="a-all") as api:
        made = await api.request("POST", "/v1/messages", json=MESSAGE, headers={"Idempotency-Key": "k"})
        assert (await api.request("GET", f"/v1/messages/{made['id']}"))["tenant"] == "a"
        content = b"".join([piece async for piece in api.stream(operations.SHOW_CONTENT, made["id"])])
        assert content == door.intake.content()
        assert await api.request("DELETE", "/v1/accounts/main") is None


async def test_over_the_unix_socket_as_admin(door: Door) -> None:
    raw = b"From: a@a.example\r\nTo: b@b.example\r\n\r\nx\r\n"
    async with Client.unix(door.socket_path) as api:
        for _ in range(5):
            await api.request("POST", "/v1/messages/raw", query={"tenant": "b", "to": ["x@b.example"]}, body=raw)
        items = [
            item async for item in api.pages(operations.LIST_MESSAGES, query={"tenant": "b", "limit": 2, "batch": None})
        ]
        assert len(items) == 5


async def test_a_problem_is_an_error_with_its_members(door: Door) -> None:
    async with Client(f"http://127.0.0.1:{door.port}", token="a-all") as api:
        with pytest.raises(ApiError) as caught:
            await api.request("POST", "/v1/messages", json={**MESSAGE, "to": "nobody"})
        error = caught.value
        assert (error.status, error.code, error.title) == (422, "invalid", "Unprocessable Content")
        assert error.violations == (Violation("/to/0", "address has no @"),)
        assert error.request_id
        door.ill["store"] = "down"
        with pytest.raises(ApiError) as caught:
            await api.request("GET", "/health/ready")
        assert (caught.value.status, caught.value.retry_after) == (503, 5)


async def test_nobody_answers(tmp_path: Path) -> None:
    for client in (Client.unix(tmp_path / "none.sock"), Client("http://127.0.0.1:1")):
        async with client as api:
            with pytest.raises(
                Unreachable, match=r"no answer from \S+: (no such file or directory|connection refused)$"
            ):
                await api.request("GET", "/health/live")


@pytest.mark.parametrize(("scheme", "said"), [("http", "does not speak HTTP"), ("https", "no TLS with")])
async def test_another_protocol_answers(scheme: str, said: str) -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 relay.example.com ESMTP\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with Client(f"{scheme}://127.0.0.1:{port}") as api:
            with pytest.raises(NotARelay, match=said):
                await api.request("GET", "/health/live")
