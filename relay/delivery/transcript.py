"""Transcript: what was said in one try, for people who ask why a mail went the way it went.

A line is the milliseconds since the try began, who spoke (`>` we, `<` the server, `*` what happened, `!` why it went no
further), and what: `3 > MAIL FROM:<a@example.org> SIZE=4096`. Secrets are `***`, content is its number of octets. While a
mail is under way it is only noted down; lines are made of it once, at its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic

MAX_LINES = 100
MAX_LINE = 200
_LAST = 20
"""Of more lines than MAX_LINES the first and so many of the last are kept: the end says what came of it."""


class Transcript:
    """Of one try, whatever connections it took."""

    __slots__ = ("_began", "_notes")

    def __init__(self) -> None:
        self._began = monotonic()
        self._notes: list[tuple[float, str, Sequence[str]]] = []

    def sent(self, commands: Sequence[str]) -> None:
        """Commands that went out in one write."""
        self._notes.append((monotonic(), ">", commands))

    def heard(self, replies: Sequence[str]) -> None:
        """Replies that came together."""
        self._notes.append((monotonic(), "<", replies))

    def note(self, text: str) -> None:
        """Something that nobody said."""
        self._notes.append((monotonic(), "*", (text,)))

    def failed(self, why: str) -> None:
        """What ended it."""
        self._notes.append((monotonic(), "!", (why,)))

    def lines(self) -> tuple[str, ...]:
        """All of it, within bounds."""
        began = self._began
        lines = [
            f"{int((at - began) * 1000)} {who} {text}"[:MAX_LINE] for at, who, texts in self._notes for text in texts
        ]
        if len(lines) > MAX_LINES:
            first = MAX_LINES - _LAST - 1
            lines[first:-_LAST] = [f"… {len(lines) - MAX_LINES + 1} lines left out"]
        return tuple(lines)
