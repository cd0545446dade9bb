"""The mail log: one line an event, found by one grep, and no word of a stranger can forge or break a line."""

from __future__ import annotations

import asyncio
import io
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.maillog import MAX_VALUE, LogFormat, MailLog
from relay.model.event import Event, EventKind, Facts
from relay.model.message import QueueId
from tests.support.clock import START, FakeClock

ID = QueueId("0123456789abcdef")
_PAIR = re.compile(r' ([a-z_]+)=("(?:[^"\\]|\\.)*"|[^ "]*)')


def event(recipient: str | None = None, **facts: str | int | None) -> Event:
    return Event(EventKind.SENT, START, "acme", ID, recipient, facts)


def written(*events: Event, form: LogFormat = LogFormat.TEXT) -> str:
    stream = io.StringIO()
    log = MailLog(FakeClock(), form, stream)
    log.events(events)
    log.flush()
    return stream.getvalue()


def read_text(line: str) -> tuple[list[str], Facts]:
    """A text line, read back: its first three words and its facts."""
    time, name, kind, rest = re.fullmatch(r"(\S+) (\S+) (\S+)(.*)\n", line).groups()  # type: ignore[union-attr]
    pairs = _PAIR.findall(rest)
    assert "".join(f" {key}={value}" for key, value in pairs) == rest
    return [time, name, kind], {key: json.loads(value) if value[:1] == '"' else value for key, value in pairs}


def test_a_text_line() -> None:
    line = written(event("bob@b.example", reply="250 2.0.0 ok", next_hop="hop.example:25", delay_ms=12, why=None))
    assert line == (
        "2026-01-01T00:00:00.000Z 0123456789abcdef sent tenant=acme to=bob@b.example "
        'reply="250 2.0.0 ok" next_hop=hop.example:25 delay_ms=12\n'
    )


def test_a_json_line_holds_the_same() -> None:
    line = written(event("bob@b.example", reply="250 2.0.0 ok", delay_ms=12, why=None), form=LogFormat.JSON)
    assert json.loads(line) == {
        "time": "2026-01-01T00:00:00.000Z",
        "id": ID,
        "event": "sent",
        "tenant": "acme",
        "to": "bob@b.example",
        "reply": "250 2.0.0 ok",
        "delay_ms": 12,
    }


HOSTILE = [
    "a\r\nb",
    "a\n2026-01-01T00:00:00.000Z 0123456789abcdef sent tenant=acme",
    "a\rb",
    "\x1b[31mred\x1b[0m",
    "\x9b31m",
    "a\u2028b\u2029c",
    "a\x85b",
    "a\x0b\x0cb\x1cc",
    "\u202egnp.exe",
    "a\u200bb",
    'say "hello" to=x',
    "a=b",
    "back\\slash",
    "\x00",
    "\x7f",
    "",
    "é ü 用户",
    "a\ud800b",
    "x" * 5000,
    "\n" * 5000,
]


@pytest.mark.parametrize("form", LogFormat)
@pytest.mark.parametrize("value", HOSTILE)
def test_no_value_forges_or_breaks_a_line(value: str, form: LogFormat) -> None:
    _check(value, form)


@given(st.text(st.characters(codec=None, exclude_categories=()), max_size=100))
def test_no_text_at_all_forges_or_breaks_a_line(value: str) -> None:
    for form in LogFormat:
        _check(value, form)


def _check(value: str, form: LogFormat) -> None:
    line = written(event("bob@b.example", reply=value, after=1), form=form)
    assert len(line.splitlines()) == 1
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\u200b]", line)
    line.encode()
    seen = value[:MAX_VALUE].encode("utf-8", "replace").decode()
    if form is LogFormat.JSON:
        assert json.loads(line)["reply"] == seen
    else:
        words, facts = read_text(line)
        assert words == ["2026-01-01T00:00:00.000Z", ID, "sent"]
        assert facts == {"tenant": "acme", "to": "bob@b.example", "reply": seen, "after": "1"}


def test_one_grep_for_the_id_tells_the_story() -> None:
    story = [
        Event(EventKind.ACCEPTED, START, "acme", ID),
        Event(EventKind.DEFERRED, START, "acme", ID, "a@b"),
        Event(EventKind.SENT, START, "acme", ID, "a@b"),
    ]
    other = Event(EventKind.SENT, START, "acme", QueueId("zzzzzzzzzzzzzzzz"), "a@b", {"reply": f"ok {ID[:-1]}"})
    lines = [line for line in written(*story, other).splitlines() if ID in line]
    assert [line.split()[2] for line in lines] == ["accepted", "deferred", "sent"]


class Counting(io.StringIO):
    """Counts writes, and may fail."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        return super().write(text)


async def test_the_lines_of_one_turn_of_the_loop_leave_in_one_write() -> None:
    stream = Counting()
    log = MailLog(FakeClock(), stream=stream)
    for _ in range(100):
        log.events([event()])
    log.note("account_paused", {"account": "acme/main"})
    assert stream.writes == 0
    await asyncio.sleep(0)
    assert (stream.writes, stream.getvalue().count("\n")) == (1, 101)
    log.events([event()])
    await asyncio.sleep(0)
    assert (stream.writes, stream.getvalue().count("\n")) == (2, 102)


def test_without_a_loop_a_line_is_written_at_once() -> None:
    stream = Counting()
    log = MailLog(FakeClock(), stream=stream)
    log.note("started", {})
    log.note("stopped", {})
    assert [line.split() for line in stream.getvalue().splitlines()] == [
        ["2026-01-01T00:00:00.000Z", "-", "started"],
        ["2026-01-01T00:00:00.000Z", "-", "stopped"],
    ]


def test_where_others_write_too_every_write_is_small_and_ends_with_a_line() -> None:
    class Writes(io.StringIO):
        def __init__(self) -> None:
            super().__init__()
            self.sizes: list[int] = []

        def write(self, text: str) -> int:
            assert text.endswith("\n")
            self.sizes.append(len(text.encode()))
            return super().write(text)

    stream = Writes()
    log = MailLog(FakeClock(), LogFormat.TEXT, stream, whole=512)
    log._lines = [*(f"{number} ü\n" for number in range(200)), "x" * 600 + "\n"]  # what one turn of a loop brought
    log.flush()
    assert stream.getvalue().count("\n") == 201
    assert all(size <= 512 for size in stream.sizes[:-1])
    assert stream.sizes[-1] == 601
