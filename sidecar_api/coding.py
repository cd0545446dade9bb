"""Content codings (RFC 9110 §8.4) both ways: bodies that come compressed are decoded as they are read, answers go compressed
to who asks for it.

Nothing is decoded ahead of its reader, and never more than a piece of 64 KiB at a time: a bomb costs no more memory than
what its reader takes before it says 413. (aiohttp's own decoding is off: it inflates whatever stands in its buffer.)
"""

from __future__ import annotations

import asyncio
import zlib
from functools import lru_cache
from typing import Protocol

from aiohttp import hdrs, web

from sidecar_api.problems import ProblemError

WORTHWHILE = 1024
"""Octets below which an answer is not compressed: it would fit into one packet anyway."""
EXPANSION = 1032
"""At most so many octets come of one (deflate)."""
CODINGS = "gzip, deflate"
_PIECE = 64 * 1024
_TURN = 16
"""Pieces before the event loop gets a turn for others."""
_COMPRESSIBLE = ("application/json", "application/problem+json", "application/x-ndjson", "text/")
_GZIP, _ZLIB, _RAW_DEFLATE = 31, 15, -15
_UNKNOWN = "this content coding is not known here; send gzip, deflate, or the body as it is"


class Pieces(Protocol):
    """A body, piece by piece."""

    async def readany(self) -> bytes:
        """The next octets; none at the end."""


class Inflated:
    """A compressed body, decoded as it is read. ProblemError 400 where it is cut off or not of its coding."""

    def __init__(self, body: Pieces, coding: str) -> None:
        self._body = body
        self._coding = coding
        self._decoder: zlib._Decompress | None = None
        self._begun = False
        self._input = b""
        self._count = 0

    async def readany(self) -> bytes:
        """See Pieces; at most 64 KiB."""
        self._count += 1
        if self._count % _TURN == 0:
            await asyncio.sleep(0)
        while True:
            if self._decoder is not None and (piece := self._inflate(self._decoder)):
                return piece
            if not self._input:
                self._input = await self._body.readany()
                if not self._input:
                    return self._end()
            if self._decoder is None:
                self._decoder = self._begin()

    def _begin(self) -> zlib._Decompress:
        """gzip may be of several members (RFC 1952 §2.2); what calls itself deflate may lack its frame."""
        if self._begun and self._coding == "deflate":
            raise _malformed("goes on after its end")
        self._begun = True
        if self._coding == "gzip":
            return zlib.decompressobj(_GZIP)
        return zlib.decompressobj(_ZLIB if self._input[0] & 0x0F == 8 else _RAW_DEFLATE)

    def _inflate(self, decoder: zlib._Decompress) -> bytes:
        try:
            piece = decoder.decompress(self._input, _PIECE)
        except zlib.error:
            raise _malformed(f"is not {self._coding}") from None
        if decoder.eof:
            self._decoder, self._input = None, decoder.unused_data
        else:
            self._input = decoder.unconsumed_tail
        return piece

    def _end(self) -> bytes:
        if self._decoder is not None:
            raise _malformed("is cut off")
        return b""


def _malformed(what: str) -> ProblemError:
    return ProblemError(400, "malformed_encoding", f"the body {what}", at=hdrs.CONTENT_ENCODING)


def coding_of(request: web.Request) -> str | None:
    """How the body is compressed: gzip, deflate, or None; ProblemError 415 for any other."""
    given = request.headers.get(hdrs.CONTENT_ENCODING)
    if given is None:
        return None
    coding = given.strip().lower().removeprefix("x-")
    if coding in {"", "identity"}:
        return None
    if coding not in {"gzip", "deflate"}:
        raise ProblemError(
            415, "unsupported_encoding", _UNKNOWN, {"Accept-Encoding": CODINGS}, at=hdrs.CONTENT_ENCODING
        )
    return coding


async def read_all(body: Pieces, largest: int) -> bytes:
    """All of a body; 413 as soon as it is more than `largest` octets."""
    pieces: list[bytes] = []
    size = 0
    while piece := await body.readany():
        size += len(piece)
        if size > largest:
            pieces.clear()
            raise web.HTTPRequestEntityTooLarge(max_size=largest, actual_size=size)
        pieces.append(piece)
    return b"".join(pieces)


def compress(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Have an answer sent compressed, where that is asked for and worth it. To be called before `prepare`."""
    if isinstance(response, web.Response):
        body = response.body
        if not isinstance(body, bytes) or len(body) < WORTHWHILE:
            return
    content_type = response.content_type
    if not content_type.startswith(_COMPRESSIBLE) or content_type == "text/event-stream":
        return
    response.headers.add(hdrs.VARY, hdrs.ACCEPT_ENCODING)
    if hdrs.CONTENT_ENCODING in response.headers or not takes_gzip(request.headers.get(hdrs.ACCEPT_ENCODING, "")):
        return
    response.enable_compression(web.ContentCoding.gzip)
    if tag := response.headers.get(hdrs.ETAG):  # other octets, another strong tag (RFC 9110 §8.8.3.3)
        response.headers[hdrs.ETAG] = f'{tag[:-1]}-gzip"'


@lru_cache(maxsize=64)
def takes_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding field lets gzip be sent, and does not like the plain octets better."""
    weights = dict(_weight(one) for one in accepted.split(","))
    gzip = weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0)))
    return gzip > 0 and gzip >= weights.get("identity", 0.0)


def _weight(one: str) -> tuple[str, float]:
    coding, _, parameters = one.partition(";")
    name, _, value = parameters.partition("=")
    try:
        weight = float(value) if name.strip().lower() == "q" else 1.0
    except ValueError:
        weight = 0.0
    return coding.strip().lower(), weight
