"""The mail log: one line for each event, so that one grep for a queue id tells what happened to a message.

Text lines read `time id kind key=value …`; JSON lines hold the same keys. Values that hold anything but plain printable
characters are quoted as JSON, so nothing a client or server says can forge a line. Lines of one turn of the event loop
leave in one write: at thousands of messages a second a write each would cost as much as the delivery.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import TextIO

import orjson

from relay.clock import Clock, rfc3339
from relay.model.event import Event, Facts

MAX_VALUE = 1000
_PLAIN = re.compile(rf"[!#-<>-\[\]-~]{{1,{MAX_VALUE}}}")
# What JSON lets pass unescaped and terminals or readers of lines act on: DEL and C1, blanks without width, line
# separators, changes of writing direction.
_ACTIVE = re.compile(r"[\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


class LogFormat(StrEnum):
    """How a line is written."""

    TEXT = "text"
    JSON = "json"


class MailLog:
    """Writes lines to a stream (standard error, which systemd's journal keeps)."""

    def __init__(
        self,
        clock: Clock,
        form: LogFormat = LogFormat.TEXT,
        stream: TextIO | None = None,
        whole: int | None = None,
    ) -> None:
        """`whole`: the most octets that go into one write; None: any number."""
        self._clock = clock
        self._whole = whole
        self._form = _as_json if form is LogFormat.JSON else _as_text
        self._stream = stream or sys.stderr
        self._lines: list[str] = []

    def events(self, events: Iterable[Event]) -> None:
        """What happened to messages and recipients."""
        for event in events:
            facts: Facts = {"tenant": event.tenant, "to": event.recipient, **event.facts}
            self._add(event.at, event.message or "-", event.kind.value, facts)

    def rejected(self, door: str, peer: str, by: str, sender: str, reply: str, left_out: int = 0) -> None:
        """A message that was refused at a door: it has no id, and is the client's still. `left_out`: so many more were."""
        facts: Facts = {
            "door": door,
            "peer": peer,
            "by": by,
            "from": sender,
            "reply": reply,
            "left_out": left_out or None,
        }
        self._add(self._clock.now(), "-", "rejected", facts)

    def note(self, kind: str, facts: Facts) -> None:
        """Something of the instance: an account that opened its breaker, a login that failed."""
        self._add(self._clock.now(), "-", kind, facts)

    def flush(self) -> None:
        """Write what waits."""
        lines, self._lines = self._lines, []
        if not lines:
            return
        for piece in ("".join(lines),) if self._whole is None else _pieces(lines, self._whole):
            self._stream.write(piece)
            self._stream.flush()

    def _add(self, at: int, name: str, kind: str, facts: Facts) -> None:
        line = self._form(at, name, kind, facts)
        is_first = not self._lines
        self._lines.append(line)
        if is_first:
            try:
                asyncio.get_running_loop().call_soon(self.flush)
            except RuntimeError:  # no loop: a command-line tool
                self.flush()


def _pieces(lines: Iterable[str], most: int) -> Iterator[str]:
    """As many lines together as fit into `most` octets; at least one."""
    piece, size = "", 0
    for line in lines:
        octets = len(line.encode())
        if piece and size + octets > most:
            yield piece
            piece, size = "", 0
        piece += line
        size += octets
    yield piece


def _as_text(at: int, name: str, kind: str, facts: Facts) -> str:
    shown = [
        f"{key}={value if type(value) is int else _show(value)}" for key, value in facts.items() if value is not None
    ]
    return f"{rfc3339(at)} {name} {kind} {' '.join(shown)}\n"


@lru_cache(maxsize=1024)
def _show(value: str | int) -> str:
    """As it is where it is plain, else quoted. Kept, since most values of a line stood in the line before."""
    text = str(value)
    return text if _PLAIN.fullmatch(text) else _dumps(_clean(text))


def _as_json(at: int, name: str, kind: str, facts: Facts) -> str:
    line: Mapping[str, str | int] = {
        "time": rfc3339(at),
        "id": name,
        "event": kind,
        **{key: _clean(value) for key, value in facts.items() if value is not None},
    }
    return _dumps(line) + "\n"


def _dumps(value: object) -> str:
    return _ACTIVE.sub(lambda match: f"\\u{ord(match[0]):04x}", orjson.dumps(value).decode())


def _clean(value: str | int) -> str | int:
    return value if isinstance(value, int) else value[:MAX_VALUE].encode("utf-8", "replace").decode()
