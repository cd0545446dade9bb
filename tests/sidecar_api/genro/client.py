"""A client as those of genro-mail-proxy are: a base URL, a token in a header field, JSON both ways."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp


@dataclass(frozen=True)
class Proxy:
    """What it can do: ask, as whoever the token says."""

    session: aiohttp.ClientSession
    url: str
    token: str | None = None

    def with_token(self, token: str | None) -> Proxy:
        """The same as somebody else."""
        return Proxy(self.session, self.url, token)

    async def ask(
        self, method: str, path: str, json: object = None, *, query: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        """Status and JSON."""
        headers = {} if self.token is None else {"X-API-Token": self.token}
        async with self.session.request(
            method, f"{self.url}{path}", json=json, params=query, headers=headers
        ) as response:
            assert response.content_type == "application/json", await response.text()
            return response.status, await response.json()

    async def do(self, method: str, path: str, json: object = None, **query: str) -> Any:
        """JSON of a success."""
        status, body = await self.ask(method, path, json, query=query)
        assert status == 200, (status, body)
        return body

    async def add(self, *messages: object, **more: object) -> Any:
        """Hand in messages, of which one is accepted at least."""
        return await self.do("POST", "/commands/add-messages", {"messages": messages, **more})

    async def messages(self, **query: str) -> dict[str, Any]:
        """The listing by client ids, the newest of each."""
        found: dict[str, Any] = {}
        for record in (await self.do("GET", "/messages", **query))["messages"]:
            found.setdefault(record["id"], record)
        return found
