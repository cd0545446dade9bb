"""DotStream against a reader that goes line by line, and DataReader's limits."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from relay.errors import Refusal, Rejected
from relay.ingress.data_reader import PIECE, DataReader, DotStream, Pace
from relay.ingress.faults import ClientGone, ClientTooSlow
from relay.ingress.settings import BareNewlines

FRAGMENTS = [b"\r\n", b"\r", b"\n", b".", b"\r\n.", b"\r\n.\r", b"\r\n..", b"\n.\n", b"x", b"line", b"\x00", b"y" * 70]
TEXTS = st.lists(st.sampled_from(FRAGMENTS), max_size=40).map(b"".join)
CUTS = st.lists(st.integers(1, 40), min_size=1, max_size=20)


def reference(wire: bytes) -> tuple[bytes, bytes]:
    """Content and what is left over, by RFC 5321 §4.5.2 taken literally; CRLF alone ends a line."""
    lines = wire.split(b"\r\n")
    end = lines.index(b".")
    content = b"".join(line.removeprefix(b".") + b"\r\n" for line in lines[:end])
    return content, b"\r\n".join(lines[end + 1 :])


def read(wire: bytes, sizes: list[int], *, normalise: bool = False) -> tuple[list[bytes], bytes, DotStream]:
    """All pieces, with the wire arriving in packets of these sizes, over and over."""
    stream, buffer, pieces, at, turn = DotStream(normalise=normalise), bytearray(), [], 0, 0
    while not stream.ended:
        piece = stream.take(buffer)
        if piece is not None:
            pieces.append(piece)
        elif at < len(wire):
            size = sizes[turn % len(sizes)]
            buffer += wire[at : at + size]
            at, turn = at + size, turn + 1
        else:
            break
    return pieces, bytes(buffer) + wire[at:], stream


@settings(max_examples=400, deadline=None)
@given(TEXTS, CUTS)
@example(b".", [1])
@example(b".\r\n.", [2])
@example(b"\r\n.\r\n.\r\nrest", [1])
def test_same_as_line_by_line(text: bytes, sizes: list[int]) -> None:
    wire = text + b"\r\n.\r\nNOOP\r\n"
    content, rest = reference(wire)
    pieces, left, stream = read(wire, sizes)
    assert stream.ended
    assert (b"".join(pieces), left) == (content, rest)
    assert stream.received == len(wire) - len(rest)
    taken = wire[: stream.received]
    assert stream.bare_newline == bool(re.search(rb"(?<!\r)\n|\r(?!\n)", taken))


@settings(max_examples=200, deadline=None)
@given(TEXTS, CUTS)
def test_normalised_content_has_crlf_alone_and_ends_where_it_ends(text: bytes, sizes: list[int]) -> None:
    wire = text + b"\r\n.\r\nNOOP\r\n"
    pieces, left, stream = read(wire, sizes, normalise=True)
    assert stream.ended
    assert left == reference(wire)[1]
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", b"".join(pieces))


@pytest.mark.parametrize("fill", [b"x", b"\r\n", b"x\r\n", b".\r\nx", b"\r\n..", b"\r\n.\rx"], ids=repr)
@pytest.mark.parametrize("shift", range(8))
def test_pieces_of_a_large_message(fill: bytes, shift: int) -> None:
    """Whatever falls on the border between two pieces, whole packets at a time."""
    wire = b"x" * shift + fill * (3 * PIECE // len(fill)) + b"\r\n.\r\n"
    content, _ = reference(wire)
    pieces, left, stream = read(wire, [150_000])
    assert b"".join(pieces) == content
    assert left == wire[stream.received :]
    assert max(map(len, pieces)) <= PIECE + 2


def test_a_small_message_is_one_piece_however_it_comes() -> None:
    pieces, _, _ = read(b"a\r\n" * 1000 + b".\r\n", [1])
    assert len(pieces) == 1


@pytest.mark.parametrize(
    "end", [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r.\r\n", b"\r\n.\n", b"\r\n.\r", b"\r\n\x00.\r\n"], ids=repr
)
@pytest.mark.parametrize("normalise", [False, True])
def test_nothing_else_ends_a_message(end: bytes, normalise: bool) -> None:
    _, _, stream = read(b"text" + end + b"MAIL FROM:<a@b.example>\r\n", [1], normalise=normalise)
    assert not stream.ended


async def _collect(reader: DataReader) -> bytes:
    content = b""
    async for piece in reader:
        content += piece
    return content


class Packets:
    """What comes: octets, or a fault; each after the same time."""

    def __init__(self, *packets: bytes | Exception, cost: float = 0.0) -> None:
        self.buffer = bytearray()
        self.allowances: list[float] = []
        self._packets = list(packets)
        self._cost = cost

    async def wait(self, seconds: float) -> float:
        self.allowances.append(seconds)
        packet = self._packets.pop(0)
        if isinstance(packet, Exception):
            raise packet
        self.buffer += packet
        return self._cost

    def reader(self, max_size: int = 100, pace: Pace | None = None, *, waited: float = 0.0) -> DataReader:
        pace = pace or Pace(60, 30, 1024)
        return DataReader(
            self.buffer, self.wait, pace, waited=waited, max_size=max_size, bare_newlines=BareNewlines.REFUSE
        )


@pytest.mark.parametrize(
    ("content", "refusal"),
    [
        (b"x" * 98 + b"\r\n", None),
        (b"." + b"x" * 98 + b"\r\n", None),
        (b"x" * 99 + b"\r\n", Refusal.TOO_BIG),
        (b"\r\n" * 51, Refusal.TOO_BIG),
        (b"a\nb\r\n", Refusal.BAD_LINE),
        (b"a\rb\r\n", Refusal.BAD_LINE),
    ],
)
async def test_refusals_come_to_intake_and_stay(content: bytes, refusal: Refusal | None) -> None:
    reader = Packets(content + b".\r\n").reader()
    if refusal is None:
        assert await _collect(reader) == content.removeprefix(b".")
        return
    for _ in range(2):
        with pytest.raises(Rejected) as rejected:
            await anext(reader)
        assert rejected.value.refusal is refusal


async def test_too_big_is_known_before_the_end() -> None:
    packets = Packets(b"x" * PIECE, b"x" * PIECE, b"\r\n.\r\n")
    reader = packets.reader()
    with pytest.raises(Rejected):
        await anext(reader)
    assert not reader.ended
    assert await reader.drain()
    assert reader.ended


async def test_draining_gives_up_far_beyond_the_limit() -> None:
    packets = Packets(*[b"x" * PIECE] * 100)
    assert not await packets.reader().drain()
    assert len(packets.allowances) < 40


@pytest.mark.parametrize("fault", [ClientGone(), ClientTooSlow()])
async def test_a_lost_client_is_lost_for_good(fault: Exception) -> None:
    reader = Packets(b"half", fault).reader()
    for _ in range(2):
        with pytest.raises(type(fault)):
            await anext(reader)
    assert reader.lost is fault


@pytest.mark.parametrize(
    ("waited", "received", "allowed"),
    [
        (0, 0, 30),  # the grace, not the longer idle time
        (29, 0, 1),
        (30, 0, 0),
        (30, 10_240, 10),
        (30, 1_024_000, 60),  # fast enough: silence alone counts
        (1030, 1_024_000, 0),
    ],
)
def test_pace(waited: float, received: int, allowed: float) -> None:
    assert Pace(60, 30, 1024).allowance(waited, received) == allowed


async def test_only_waiting_for_the_client_counts() -> None:
    packets = Packets(b"x", b"x", b"\r\n.\r\n", cost=10.0)
    await _collect(packets.reader(pace=Pace(60, 30, 1)))
    assert packets.allowances == [30, 21, 12]


async def test_waiting_for_the_first_octets_counts() -> None:
    packets = Packets(b"x", b"\r\n.\r\n", cost=10.0)
    await _collect(packets.reader(pace=Pace(60, 30, 1), waited=15.0))
    assert packets.allowances == [15, 6]


async def test_too_slow_on_the_whole() -> None:
    packets = Packets(*[b"x"] * 10, cost=10.0)
    with pytest.raises(ClientTooSlow):
        await _collect(packets.reader(pace=Pace(60, 30, 1)))
    assert packets.allowances == [30, 21, 12, 3]
