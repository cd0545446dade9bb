"""A small asynchronous client of the API: over the Unix socket of a running relay, or a URL with a token.

    async with Client.unix(Path("/run/stagepost/api.sock")) as api:
        sent = await api.call(operations.SUBMIT, json={"from": …, "to": …, "text": …})
        shown = await api.call(operations.SHOW_MESSAGE, sent["id"])

`sidecar_api.operations` has a name for every route, which types what comes back. What is not a success is an ApiError with
the members of the problem (RFC 9457). The command line speaks through this alone.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Generic, Self, TypeVar
from urllib.parse import urlsplit

import aiohttp
import orjson

from sidecar_api.client_errors import ApiError, NotARelay, Unreachable, Untrusted, problem_of, unanswered
from sidecar_api.operations import Item, Listing, Operation, Stream, T
from sidecar_api.received import Received

__all__ = ["Answer", "ApiError", "Client", "Json", "NotARelay", "Query", "Unreachable", "Untrusted"]

Json = Any
"""What JSON gives; its shape is the route's."""
Query = Mapping[str, str | int | Sequence[str] | None] | Sequence[tuple[str, str]]
"""By name, None for what is not said; or pairs."""
Page = TypeVar("Page")

_PIECE = 1024 * 1024
_PASSING = frozenset({429, 502, 503, 504})
"""Statuses of problems that pass."""
_MERGE_PATCH = "application/merge-patch+json"
_RFC822 = "message/rfc822"


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """A success, with what its header fields say."""

    body: T
    status: int
    headers: Mapping[str, str] = field(repr=False)

    @property
    def etag(self) -> str | None:
        """The tag of settings that were read, for `if_match`."""
        return self.headers.get("ETag")

    @property
    def replayed(self) -> bool:
        """Whether the Idempotency-Key had been seen: the answer is the first one's."""
        return self.headers.get("Idempotent-Replayed") == "true"


class Client:
    """Talks to one relay at a URL such as `https://relay.example.com:8025`.

    `timeout` is the longest silence, in seconds. With `ca_file` (PEM) only its authorities are trusted, else the system's.
    ValueError for what is no http or https URL.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout: float = 60,
        socket: Path | None = None,
        ca_file: Path | None = None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"{url} is no URL of a relay, as https://relay.example.com:8025")
        self._token = token
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=timeout)
        self._socket = socket
        self._ca_file = ca_file
        self._base = url.rstrip("/")
        self._where = self._base if socket is None else str(socket)
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def unix(cls, path: Path, *, timeout: float = 60) -> Self:
        """Over a relay's Unix socket, as its admin."""
        return cls("http://relay", timeout=timeout, socket=path)

    async def __aenter__(self) -> Self:
        connector: aiohttp.BaseConnector
        if self._socket is not None:
            connector = aiohttp.UnixConnector(path=str(self._socket))
        elif self._ca_file is not None:
            connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=str(self._ca_file)))
        else:
            connector = aiohttp.TCPConnector()
        self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def call(
        self,
        operation: Operation[T],
        *ids: str,
        query: Query | None = None,
        json: object = None,
        body: bytes | AsyncIterable[bytes] | None = None,
        media: str = _RFC822,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> T:
        """Do it, and what it answers: `json` is a body to be encoded, `body` one of octets, of type `media`.

        ApiError for a problem, Unreachable where there was no answer.
        """
        answer = await self.exchange(
            operation,
            *ids,
            query=query,
            json=json,
            body=body,
            media=media,
            if_match=if_match,
            idempotency_key=idempotency_key,
        )
        return answer.body

    async def exchange(
        self,
        operation: Operation[T],
        *ids: str,
        query: Query | None = None,
        json: object = None,
        body: bytes | AsyncIterable[bytes] | None = None,
        media: str = _RFC822,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> Answer[T]:
        """The same, with what the header fields of the answer say."""
        named = {"If-Match": if_match, "Idempotency-Key": idempotency_key}
        headers = {name: value for name, value in named.items() if value is not None}
        if json is not None:
            headers["Content-Type"] = _MERGE_PATCH if operation.method == "PATCH" else "application/json"
            body = orjson.dumps(json)
        elif body is not None:
            headers["Content-Type"] = media
        return await self._exchange(operation.method, operation.url(*ids), query, body, headers)

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        json: object = None,
        body: bytes | AsyncIterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Json:
        """The same by method and path, for what has no operation: the parsed JSON, or None where there is none."""
        kind = "application/json" if json is not None else _RFC822
        octets = body if json is None else orjson.dumps(json)
        named = {**({} if octets is None else {"Content-Type": kind}), **(headers or {})}
        return (await self._exchange(method, path, query, octets, named)).body

    async def stream(self, operation: Operation[Any], *ids: str, query: Query | None = None) -> AsyncIterator[bytes]:
        """The octets of an answer, in pieces of at most 1 MiB; the same errors."""
        async with self._send(operation.method, operation.url(*ids), query, None, {}) as response:
            async for piece in response.content.iter_chunked(_PIECE):
                yield piece

    async def pages(self, listing: Listing[Page, Item], *ids: str, query: Query | None = None) -> AsyncIterator[Item]:
        """Every item of a listing, page after page; a `limit` in the query is a page's."""
        cursor: str | None = None
        while True:
            more = _parameters({"cursor": cursor})
            page: Json = await self.call(listing, *ids, query=[*_parameters(query), *more])
            for item in page["items"]:
                yield item
            cursor = page["next_cursor"]
            if cursor is None:
                return

    async def follow(
        self, stream: Stream[Item], *ids: str, query: Query | None = None, after: str | None = None
    ) -> AsyncIterator[Item]:
        """Every event of a stream as it comes, from behind `after` on; goes on by itself where the connection ends, without
        losing one or giving one twice. It ends after `limit` events where the query has one.

        ApiError for a problem that no waiting mends, as when the token is revoked; Unreachable if nobody answers at first.
        """
        received = Received(last_id=after)
        asked = dict(_parameters(query))
        limit = int(asked["limit"]) if "limit" in asked else None
        is_connected = False
        while True:
            pause: float | None = None
            try:
                async with self._send(stream.method, stream.url(*ids), asked, None, received.headers) as response:
                    is_connected = True
                    async for event in received.events(response.content.iter_any()):
                        limit = None if limit is None else limit - 1
                        yield event
            except Unreachable:
                if not is_connected:
                    raise
            except ApiError as problem:
                if problem.status not in _PASSING:
                    raise
                pause = problem.retry_after
            if limit is not None:
                if limit <= 0:
                    return
                asked["limit"] = str(limit)
            await asyncio.sleep(received.retry if pause is None else pause)

    async def _exchange(
        self,
        method: str,
        path: str,
        query: Query | None,
        body: bytes | AsyncIterable[bytes] | None,
        headers: Mapping[str, str],
    ) -> Answer[Any]:
        async with self._send(method, path, query, body, headers) as response:
            octets = await response.read()
            parsed = orjson.loads(octets) if octets and response.content_type.endswith("json") else octets or None
            return Answer(parsed, response.status, response.headers)

    @asynccontextmanager
    async def _send(
        self,
        method: str,
        path: str,
        query: Query | None,
        body: bytes | AsyncIterable[bytes] | None,
        headers: Mapping[str, str],
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session is None:
            raise RuntimeError("the client is used inside `async with`")
        sent = dict(headers)
        if self._token is not None:
            sent["Authorization"] = f"Bearer {self._token}"
        data = BytesIO(body) if isinstance(body, bytes) else body  # so that a large one is sent in pieces
        try:
            async with self._session.request(
                method, self._base + path, params=_parameters(query), data=data, headers=sent, allow_redirects=False
            ) as response:
                if not 200 <= response.status <= 299:
                    raise problem_of(response, await response.read())
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as fault:
            raise unanswered(fault, self._where) from fault


def _parameters(query: Query | None) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for name, value in query.items() if isinstance(query, Mapping) else query or ():
        if value is None:
            continue
        values = [value] if isinstance(value, str | int) else value
        pairs += [(name, _word(one)) for one in values]
    return pairs


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
