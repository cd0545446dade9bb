"""Content codings: bodies that come compressed, the bound on what becomes of them, answers that go compressed."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Sequence

import pytest
from aiohttp import web

from sidecar_api.coding import Inflated, read_all, takes_gzip
from sidecar_api.problems import ProblemError
from tests.sidecar_api.conftest import Door

TEXT = b'{"from": "a@a.example", "to": "b@b.example", "text": "' + b"x" * 5000 + b'"}'
RAW = b"From: a@a.example\nTo: b@b.example\n\n" + b"y" * 100_000 + b"\n"


def _raw_deflate(octets: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-15)
    return deflater.compress(octets) + deflater.flush()


class Body:
    """A body that arrives in the pieces given."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = list(pieces)

    async def readany(self) -> bytes:
        """The next."""
        return self._pieces.pop(0) if self._pieces else b""


def _in_pieces(octets: bytes, size: int) -> Body:
    return Body([octets[at : at + size] for at in range(0, len(octets), size)])


GZIP = gzip.compress(TEXT)
ZLIB = zlib.compress(TEXT)
CODED = {
    "gzip": ("gzip", GZIP),
    "two members": ("gzip", gzip.compress(TEXT[:99]) + gzip.compress(TEXT[99:])),
    "zlib": ("deflate", ZLIB),
    "without a frame": ("deflate", _raw_deflate(TEXT)),
}
DAMAGED = {
    "not gzip": ("gzip", b"{}"),
    "an octet short": ("gzip", GZIP[:-1]),
    "cut off": ("gzip", GZIP[:20]),
    "garbage behind": ("gzip", GZIP + b"more"),
    "wrong sum": ("gzip", GZIP[:-8] + b"\0" * 8),
    "zlib, more behind": ("deflate", ZLIB + b"x"),
    "not deflate": ("deflate", b"\xff\xff\xff"),
    "zlib cut off": ("deflate", ZLIB[:-3]),
}


@pytest.mark.parametrize("size", [1, 7, 100_000])
@pytest.mark.parametrize(("coding", "octets"), CODED.values(), ids=CODED)
async def test_what_was_compressed_comes_out(coding: str, octets: bytes, size: int) -> None:
    assert await read_all(Inflated(_in_pieces(octets, size), coding), len(TEXT)) == TEXT
    with pytest.raises(web.HTTPRequestEntityTooLarge):
        await read_all(Inflated(_in_pieces(octets, size), coding), len(TEXT) - 1)


async def test_nothing_compressed_is_nothing() -> None:
    assert await read_all(Inflated(Body([]), "gzip"), 10) == b""
    assert await read_all(Inflated(Body([gzip.compress(b"")]), "gzip"), 10) == b""


@pytest.mark.parametrize(("coding", "octets"), DAMAGED.values(), ids=DAMAGED)
async def test_what_is_damaged_is_400(coding: str, octets: bytes) -> None:
    with pytest.raises(ProblemError) as caught:
        await read_all(Inflated(_in_pieces(octets, 50), coding), 100_000)
    assert (caught.value.problem.status, caught.value.problem.code) == (400, "malformed_encoding")


async def test_a_bomb_stops_at_the_bound_with_little_memory() -> None:
    deflater = zlib.compressobj(wbits=31)
    bomb = b"".join([*(deflater.compress(bytes(1_000_000)) for _ in range(200)), deflater.flush()])
    assert len(bomb) < 200_000
    tracemalloc.start()
    try:
        with pytest.raises(web.HTTPRequestEntityTooLarge):
            await read_all(Inflated(_in_pieces(bomb, 65536), "gzip"), 2_000_000)
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("coding", "octets"), CODED.values(), ids=CODED)
async def test_a_message_may_come_compressed(door: Door, coding: str, octets: bytes) -> None:
    answer = await door.ask("POST", "/v1/messages", json=octets, headers={"Content-Encoding": coding})
    assert answer.status == 202
    assert b"x" * 500 in door.intake.content().replace(b"=\r\n", b"").replace(b"\r\n", b"")


async def test_a_raw_message_may_come_compressed(door: Door) -> None:
    headers = {"Content-Type": "message/rfc822", "Content-Encoding": "gzip"}
    answer = await door.ask("POST", "/v1/messages/raw", data=gzip.compress(RAW), headers=headers)
    assert answer.status == 202
    assert door.intake.content().endswith(RAW.partition(b"\n\n")[2].replace(b"\n", b"\r\n"))
    cut = await door.ask("POST", "/v1/messages/raw", data=gzip.compress(RAW)[:-9], headers=headers)
    assert (cut.status, cut.json["code"]) == (400, "malformed_encoding")
    bomb = await door.ask("POST", "/v1/messages/raw", data=gzip.compress(RAW * 100), headers=headers)
    assert bomb.status == 413
    assert len(door.intake.submissions) == 1


async def test_faults_of_a_coding(door: Door) -> None:
    bomb = gzip.compress(b'{"text": "' + b" " * 3_000_000 + b'"}')
    large = await door.ask("POST", "/v1/messages", json=bomb, headers={"Content-Encoding": "gzip"})
    assert (large.status, large.json["code"]) == (413, "too_large")
    for coding in ("br", "gzip, gzip", "zstd", "compress"):
        unknown = await door.ask("POST", "/v1/messages", json=TEXT, headers={"Content-Encoding": coding})
        assert (unknown.status, unknown.json["code"]) == (415, "unsupported_encoding")
        assert unknown.headers["Accept-Encoding"] == "gzip, deflate"
        assert unknown.paths == {"Content-Encoding"}
    for coding in ("identity", "Identity", ""):
        plain = await door.ask("POST", "/v1/messages", json=TEXT, headers={"Content-Encoding": coding})
        assert plain.status == 202


async def test_an_answer_goes_compressed_to_who_asks_for_it(door: Door) -> None:
    asked = {"Accept-Encoding": "gzip"}
    plain = await door.ask("GET", "/openapi.json", None, headers={"Accept-Encoding": "identity"})
    small = await door.ask("GET", "/openapi.json", None, headers=asked)
    assert plain.body == small.body  # the client decodes it
    assert "Content-Encoding" not in plain.headers
    assert small.headers["Content-Encoding"] == "gzip"
    assert int(small.headers["Content-Length"]) < len(plain.body) / 3
    assert "Accept-Encoding" in small.headers["Vary"]
    assert "Accept-Encoding" in plain.headers["Vary"]
    tiny = await door.ask("GET", "/health/live", None, headers=asked)
    assert "Content-Encoding" not in tiny.headers


async def test_the_content_of_a_message_is_left_as_it_is(door: Door) -> None:
    await door.ask("POST", "/v1/messages/raw", data=RAW, headers={"Content-Type": "message/rfc822"})
    shown = await door.ask("GET", "/v1/messages/q000001/content", headers={"Accept-Encoding": "gzip"})
    assert shown.status == 200
    assert "Content-Encoding" not in shown.headers
    assert shown.headers["X-Request-ID"]


async def test_a_compressed_answer_has_a_tag_of_its_own_that_is_known_again(door: Door) -> None:
    long = "n" * 190
    for number in range(8):
        door.directory.by_tenant[f"t{number}"] = door.directory.by_tenant["a"]
    path, asked = "/v1/tenants/a", {"Accept-Encoding": "gzip"}
    await door.ask("PATCH", path, "admin", json={"name": long})
    plain = (await door.ask("GET", path, "admin", headers={"Accept-Encoding": "identity"})).headers["ETag"]
    coded = plain[:-1] + '-gzip"'
    assert (await door.ask("GET", path, "admin", headers={**asked, "If-None-Match": coded})).status == 304
    changed = await door.ask("PATCH", path, "admin", json={"name": "new"}, headers={"If-Match": coded})
    assert changed.status == 200


@pytest.mark.parametrize(
    ("accepted", "takes"),
    [
        ("", False),
        ("gzip", True),
        ("GZIP", True),
        ("x-gzip", True),
        ("deflate, gzip;q=1.0, *;q=0.5", True),
        ("gzip;q=0", False),
        ("*", True),
        ("*;q=0", False),
        ("identity", False),
        ("gzip;q=0.5, identity", False),
        ("gzip;q=nonsense", False),
        ("br", False),
    ],
)
def test_who_takes_gzip(accepted: str, takes: bool) -> None:
    assert takes_gzip(accepted) is takes
