"""A small asynchronous client of the API: over the Unix socket of a running relay, or a URL with a token.

    async with Client.unix(Path("/run/stagepost/api.sock")) as api:
        answer = await api.request("POST", "/v1/messages", json={"from": …, "to": …, "text": …})

What is not a success is an ApiError with the members of the problem (RFC 9457). The command line speaks through this alone.
"""

from __future__ import annotations

import errno
from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, Self

import aiohttp
import orjson

from relay.errors import Violation

Json = Any
"""What JSON gives; its shape is the route's."""
Query = Mapping[str, str | int | Sequence[str] | None] | Sequence[tuple[str, str]]
"""By name, None for what is not said; or pairs."""
_PIECE = 1024 * 1024


class ApiError(Exception):
    """The relay's answer where it is none of success. `code` is the stable word of the problem."""

    def __init__(
        self,
        status: int,
        code: str,
        title: str,
        detail: str,
        violations: tuple[Violation, ...] = (),
        *,
        retry_after: int | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(detail or title)
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.violations = violations
        self.retry_after = retry_after
        """Seconds, where the relay says when to try again."""
        self.request_id = request_id


class Unreachable(ConnectionError):
    """Nothing answers where the relay should be; nothing is known of what was asked."""


class Client:
    """Talks to one relay at a URL such as `http://127.0.0.1:8025`; `timeout` is the longest silence, in seconds."""

    def __init__(self, url: str, *, token: str | None = None, timeout: float = 60, socket: Path | None = None) -> None:
        self._token = token
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=timeout)
        self._socket = socket
        self._base = url.rstrip("/")
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def unix(cls, path: Path, *, timeout: float = 60) -> Self:
        """Over a relay's Unix socket, as its admin."""
        return cls("http://relay", timeout=timeout, socket=path)

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector() if self._socket is None else aiohttp.UnixConnector(path=str(self._socket))
        self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        json: object = None,
        body: bytes | AsyncIterable[bytes] | None = None,
        content_type: str = "message/rfc822",
        headers: Mapping[str, str] | None = None,
    ) -> Json:
        """The parsed JSON of the answer (None for 204). `json` or `body` (of `content_type`) is sent.

        ApiError for a problem, Unreachable where there was no answer.
        """
        async with self._send(method, path, query, json, body, content_type, headers) as response:
            octets = await response.read()
            return orjson.loads(octets) if octets else None

    async def stream(self, method: str, path: str, *, query: Query | None = None) -> AsyncIterator[bytes]:
        """The octets of an answer, in pieces of at most 1 MiB; the same errors."""
        async with self._send(method, path, query, None, None, "", None) as response:
            async for piece in response.content.iter_chunked(_PIECE):
                yield piece

    async def pages(self, path: str, *, query: Query | None = None) -> AsyncIterator[Json]:
        """Every item of a listing, page after page."""
        cursor: str | None = None
        while True:
            page = await self.request("GET", path, query=[*_parameters(query), *_parameters({"cursor": cursor})])
            for item in page["items"]:
                yield item
            cursor = page["next_cursor"]
            if cursor is None:
                return

    @asynccontextmanager
    async def _send(
        self,
        method: str,
        path: str,
        query: Query | None,
        json: object,
        body: bytes | AsyncIterable[bytes] | None,
        content_type: str,
        headers: Mapping[str, str] | None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session is None:
            raise RuntimeError("the client is used inside `async with`")
        sent = dict(headers or {})
        if self._token is not None:
            sent["Authorization"] = f"Bearer {self._token}"
        if json is not None:
            body, content_type = orjson.dumps(json), "application/json"
        if body is not None:
            sent["Content-Type"] = content_type
        data = BytesIO(body) if isinstance(body, bytes) else body  # so that a large one is sent in pieces
        try:
            async with self._session.request(
                method, self._base + path, params=_parameters(query), data=data, headers=sent, allow_redirects=False
            ) as response:
                if not 200 <= response.status <= 299:
                    raise _error(response, await response.read())
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as fault:
            if isinstance(getattr(fault, "os_error", fault), PermissionError):
                raise PermissionError(errno.EACCES, "permission denied", str(self._socket or self._base)) from fault
            where = self._socket if self._socket is not None else self._base
            raise Unreachable(f"no answer from {where}: {str(fault) or type(fault).__name__}") from fault


def _parameters(query: Query | None) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for name, value in query.items() if isinstance(query, Mapping) else query or ():
        if value is None:
            continue
        values = [value] if isinstance(value, str | int) else value
        pairs += [(name, str(one)) for one in values]
    return pairs


def _error(response: aiohttp.ClientResponse, octets: bytes) -> ApiError:
    try:
        problem = orjson.loads(octets)
        violations = tuple(Violation(one["path"], one["detail"]) for one in problem.get("violations", ()))
        code, title, detail = problem["code"], problem["title"], problem["detail"]
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):  # not our relay, or a proxy before it
        code, title, detail, violations = "not_a_problem", response.reason or "", "the answer is not of this API", ()
    retry_after = response.headers.get("Retry-After", "")
    return ApiError(
        response.status,
        code,
        title,
        detail,
        violations,
        retry_after=int(retry_after) if retry_after.isdecimal() else None,
        request_id=response.headers.get("X-Request-ID"),
    )
