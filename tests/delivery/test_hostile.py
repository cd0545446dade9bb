"""Servers that answer anything: no recipient is ever sent without a 2yz to the dot, nothing outlasts its timeouts, and
memory stays bounded."""

from __future__ import annotations

import asyncio
import re
import tracemalloc
from collections import Counter
from dataclasses import dataclass, field
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.clock import SystemClock
from relay.contracts.content import ContentStore
from relay.delivery.connection import Connector
from relay.delivery.courier import Courier
from relay.delivery.pool import Pool
from relay.delivery.timeouts import Timeouts
from relay.model.delivery import Attempt, Verdict
from tests.delivery.post import Contents, account_at, make_delivery

STEP = 0.03
SHORT = Timeouts(connect=1, greeting=STEP, mail=STEP, rcpt=STEP, data=STEP, body=STEP, dot=STEP, reset=STEP, quit=STEP)
LONGEST = 5.0
"""Seconds for a whole attempt: some ten steps, and a machine that is busy with something else."""
TWO = ("one@receiver.test", "two@receiver.test")


@dataclass(slots=True)
class Hostile:
    """Says one of its `answers` at the connection and each time that something comes; `None` closes. Then it is silent."""

    answers: list[bytes | None]
    said: bytes = b""
    heard: bytes = b""
    flood: bytes = b""
    """Said for ever once the answers are used up."""
    _sessions: dict[asyncio.StreamWriter, asyncio.Event] = field(default_factory=dict)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ended = self._sessions[writer] = asyncio.Event()
        answers = iter(self.answers)
        try:
            while (answer := next(answers, b"")) is not None:
                if answer:
                    self.said += answer
                    writer.write(answer)
                    await writer.drain()
                elif self.flood:
                    await self._drown(writer)
                data = await reader.read(1 << 16)
                if not data:
                    break
                self.heard += data
        except OSError:
            pass
        finally:
            writer.close()
            ended.set()

    async def _drown(self, writer: asyncio.StreamWriter) -> None:
        for _ in range(32 * 16):
            writer.write(self.flood)
            await writer.drain()

    async def end(self) -> None:
        """Drop every connection."""
        for writer, ended in self._sessions.items():
            writer.transport.abort()
            await ended.wait()


async def attempt_with(hostile: Hostile) -> Attempt:
    """One attempt, which must end by itself."""
    server = await asyncio.start_server(hostile.serve, "127.0.0.1", 0)
    pool = Pool(Connector(ehlo_name="relay.test", timeouts=SHORT), SystemClock())
    courier = Courier(pool, cast("ContentStore", Contents()), SystemClock())
    try:
        async with asyncio.timeout(LONGEST):
            account = account_at(server.sockets[0].getsockname()[1], host="127.0.0.1")
            return await courier.deliver(make_delivery(*TWO), account)
    finally:
        async with asyncio.timeout(LONGEST):
            await courier.close()
        server.close()
        await hostile.end()
        await server.wait_closed()


_LINE = re.compile(rb"([0-9]{3})(?:([ -]).*)?\r?", re.DOTALL)


def replies_in(said: bytes) -> list[int]:
    """The codes of the whole replies in what was said, up to the first line that is none."""
    found: list[int] = []
    for line in said.split(b"\n")[:-1]:
        if (match := _LINE.fullmatch(line)) is None:
            break
        if match[2] != b"-":
            found.append(int(match[1]))
    return found


def may_be_sent(hostile: Hostile) -> list[bool]:
    """By the recipients: somewhere MAIL, both RCPT, DATA and the dot were answered in a row as a mail needs it.

    Where that row begins is left open: what nobody asked for before the first mail, the library throws away.
    """
    allowed = [False, False]
    if not hostile.heard.partition(b"DATA\r\n")[2].endswith((b"\r\n.\r\n", b"\r\n.\r\nQUIT\r\n")):
        return allowed
    codes = replies_in(hostile.said)
    for at in range(len(codes) - 4):
        mail, *rcpt, data, dot = codes[at : at + 5]
        if mail // 100 == 2 and data == 354 and dot // 100 == 2:
            allowed = [known or code // 100 == 2 for known, code in zip(allowed, rcpt, strict=True)]
    return allowed


PIPELINED: list[bytes | None] = [
    b"220 receiver.test\r\n",
    b"250-receiver.test\r\n250-PIPELINING\r\n250 8BITMIME\r\n",
    b"250 ok\r\n250 one\r\n250 two\r\n354 go\r\n",
    b"250 queued\r\n",
]
STEPWISE: list[bytes | None] = [
    b"220 receiver.test\r\n",
    b"250 receiver.test\r\n",
    b"250 ok\r\n",
    b"250 one\r\n",
    b"250 two\r\n",
    b"354 go\r\n",
    b"250 queued\r\n",
]
NOISE = st.one_of(
    st.sampled_from(
        [
            *(
                b"250 ok\r\n",
                b"354 go\r\n",
                b"250 ok\n",
                b"250 ok\r",
                b"25",
                b"250",
                b"250-more\r\n",
                b"250-a\r\n550 b\r\n",
            ),
            *(b"450 4.2.0 later\r\n", b"550 5.1.1 no\r\n", b"421 4.3.2 bye\r\n", b"530 5.7.0 who\r\n", b"999 what\r\n"),
            *(
                b"\r\n",
                b"\n",
                b"\x00",
                b"\xff\xfe",
                b"250\r\n",
                b"250\t\r\n",
                b"2500 ok\r\n",
                b"+OK\r\n",
                b" 250 ok\r\n",
            ),
            *(
                b"200 \xe2\x80\xa8250 ok\r\n",
                b"250 ok\r\n" * 9,
                b"250-x\r\n" * 5000,
                b"2" * 40_000,
                b"354 go\r\n250 ok\r\n",
            ),
        ]
    ),
    st.binary(max_size=40),
)


@st.composite
def hostile_answers(draw: st.DrawFn) -> list[bytes | None]:
    """A good server's answers with up to four of them spoilt."""
    answers = list(draw(st.sampled_from([PIPELINED, STEPWISE])))
    for _ in range(draw(st.sampled_from([0, 1, 1, 1, 2, 2, 3, 4]))):
        place = st.integers(0, len(answers) - 1)
        at = max(draw(place), draw(place))  # late ones more often: what is spoilt early is over early
        old = answers[at] or b""
        cut = draw(st.integers(0, len(old)))
        noise = draw(NOISE)
        kind = draw(
            st.sampled_from(["replace", "insert", "cut", "before", "within", "after", "split", "drop", "close", "swap"])
        )
        changes: dict[str, list[bytes | None]] = {
            "replace": [noise],
            "insert": [noise, old],
            "cut": [old[:cut]],
            "before": [noise + old],
            "within": [old[:cut] + noise + old[cut:]],
            "after": [old + noise],
            "split": [old[:cut], old[cut:]],
            "drop": [],
            "close": [old[:cut], None],
            "swap": [answers[-1], old],
        }
        answers[at : at + 1] = changes[kind]
        if not answers:
            return [None]
    return answers


@pytest.mark.parametrize(("examples", "least"), [(60, 1), pytest.param(500, 5, marks=pytest.mark.long)])
def test_hostile_replies(examples: int, least: int) -> None:
    seen: Counter[Verdict | str] = Counter()

    @settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        derandomize=True,
        database=None,
    )
    @given(hostile_answers())
    def whatever_it_says(answers: list[bytes | None]) -> None:
        hostile = Hostile(answers)
        attempt = asyncio.run(attempt_with(hostile))
        allowed = may_be_sent(hostile)
        for outcome in attempt.outcomes:
            assert outcome.verdict is not Verdict.SENT or allowed[outcome.position], (answers, hostile.heard)
        assert attempt.fault is not None or len(attempt.outcomes) == len(TWO)
        seen.update(outcome.verdict for outcome in attempt.outcomes)
        seen["fault"] += attempt.fault is not None

    whatever_it_says()
    assert min(seen[one] for one in (Verdict.SENT, Verdict.DEFERRED, Verdict.UNKNOWN, "fault")) >= least, seen


def test_the_oracle_knows_a_good_server_and_a_bad_one() -> None:
    """The control: what is sent may be sent, and one refusal more may not."""
    for good in (PIPELINED, STEPWISE):
        hostile = Hostile(list(good))
        assert {one.verdict for one in asyncio.run(attempt_with(hostile)).outcomes} == {Verdict.SENT}
        assert may_be_sent(hostile) == [True, True]
        for at in range(2, len(good)):
            bad = Hostile(
                [
                    (one or b"").replace(b"250", b"550").replace(b"354", b"554") if n == at else one
                    for n, one in enumerate(good)
                ]
            )
            asyncio.run(attempt_with(bad))
            assert may_be_sent(bad) != [True, True]


@pytest.mark.parametrize("steps", range(len(STEPWISE)))
@pytest.mark.parametrize(
    "flood", [b"x" * 65536, b"250-x\r\n" * 9000, b"250 x\r\n" * 9000], ids=["a line", "a reply", "replies"]
)
def test_floods_are_cut_short(steps: int, flood: bytes) -> None:
    """32 MiB at each step: nobody keeps them."""
    hostile = Hostile(STEPWISE[:steps], flood=flood)
    tracemalloc.start()
    try:
        attempt = asyncio.run(attempt_with(hostile))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * 2**20
    assert not any(outcome.verdict is Verdict.SENT for outcome in attempt.outcomes) or steps == len(STEPWISE) - 1
