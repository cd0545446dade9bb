"""Transcript: what was said in one try, for people who ask why a mail went the way it went.

A line is the milliseconds since the try began, who spoke (`>` we, `<` the server, `*` what happened, `!` why it went no
further), and what: `3 > MAIL FROM:<a@example.org> SIZE=4096`. Secrets are `***`, content is its number of octets. While a
mail is under way it is only noted down; lines are made of it once, at its end.
"""

from __future__ import annotations

from time import monotonic

from relay.model.reply import Reply

MAX_LINES = 100
MAX_LINE = 200
_LAST = 20
"""Of more lines than MAX_LINES the first and so many of the last are kept: the end says what came of it."""


class Transcript:
    """Of one try, whatever connections it took."""

    __slots__ = ("_began", "_notes")

    def __init__(self) -> None:
        self._began = monotonic()
        self._notes: list[tuple[float, str, bytes | Reply | str]] = []

    def sent(self, commands: bytes) -> None:
        """Commands that went out in one write, each with its CRLF."""
        self._notes.append((monotonic(), ">", commands))

    def heard(self, reply: Reply) -> None:
        """A reply."""
        self._notes.append((monotonic(), "<", reply))

    def note(self, text: str) -> None:
        """Something that nobody said."""
        self._notes.append((monotonic(), "*", text))

    def failed(self, why: str) -> None:
        """What ended it."""
        self._notes.append((monotonic(), "!", why))

    def lines(self) -> tuple[str, ...]:
        """All of it, within bounds."""
        lines: list[str] = []
        for at, who, said in self._notes:
            start = f"{int((at - self._began) * 1000)} {who} "
            if isinstance(said, bytes):
                lines += [start + command for command in said[:-2].decode("utf-8", "replace").split("\r\n")]
            else:
                lines.append(f"{start}{said!s}")
        if len(lines) > MAX_LINES:
            first = MAX_LINES - _LAST - 1
            lines[first:-_LAST] = [f"… {len(lines) - MAX_LINES + 1} lines left out"]
        return tuple([line[:MAX_LINE] for line in lines])
