"""Transcript: what was said in one try, for people who ask why a mail went the way it went.

A line is the milliseconds since the try began, who spoke (`>` we, `<` the server, `*` what happened, `!` why it went no
further), and what: `3 > MAIL FROM:<a@example.org> SIZE=4096`. Secrets are `***`, content is its number of octets. While a
mail is under way it is only noted down; lines are made of it once, at its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic

Note = tuple[float, str, Sequence[str]]
"""When (by `monotonic`), who, and what was said at once: commands in one write, replies that came together."""
WE = ">"
THEY = "<"

MAX_LINES = 100
MAX_LINE = 200
_LAST = 20
"""Of more lines than MAX_LINES the first and so many of the last are kept: the end says what came of it."""


class Transcript:
    """Of one try, whatever connections it took."""

    __slots__ = ("_began", "_notes", "add")

    def __init__(self) -> None:
        self._began = monotonic()
        self._notes: list[Note] = []
        self.add = self._notes.append
        """Note something down, at the time given."""

    def happened(self, text: str) -> None:
        """Something that nobody said."""
        self.add((monotonic(), "*", (text,)))

    def failed(self, why: str) -> None:
        """What ended it."""
        self.add((monotonic(), "!", (why,)))

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
