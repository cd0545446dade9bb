"""Reply: what an SMTP server answers (RFC 5321 §4.2) with its enhanced status code (RFC 3463)."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ENHANCED = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?:[ \t]+|$)")
# Controls (C1 among them: U+009B begins a terminal's command), line separators, and what UTF-8 cannot hold.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
MAX_TEXT = 1000


@dataclass(frozen=True, slots=True)
class Reply:
    """`code` 200–599, `enhanced` such as `5.1.1` or None, `text` on one line."""

    code: int
    enhanced: str | None
    text: str

    @property
    def is_positive(self) -> bool:
        """2yz: the requested action has been completed."""
        return 200 <= self.code <= 299

    @property
    def is_transient(self) -> bool:
        """4yz: try again later."""
        return 400 <= self.code <= 499

    @property
    def is_permanent(self) -> bool:
        """5yz: do not repeat."""
        return 500 <= self.code <= 599

    def __str__(self) -> str:
        """As it stands on the wire, on one line."""
        start = f"{self.code} {self.enhanced}" if self.enhanced else f"{self.code}"
        return f"{start} {self.text}" if self.text else start


def read_reply(code: int, text: str) -> Reply:
    """A reply from the wire: the lines' texts joined by `\\n`; the enhanced code is taken off the front of each line.

    Control characters become spaces and the text is cut at MAX_TEXT, since it goes to logs and reports.
    """
    enhanced: str | None = None
    lines = []
    for line in text.split("\n"):
        if match := _ENHANCED.match(line):
            enhanced = enhanced or match[1]
            line = line[match.end() :]
        if not line.isprintable():  # most are, and this is told sooner
            line = _UNPRINTABLE.sub(" ", line)
        if line := line.strip():
            lines.append(line)
    return Reply(code, enhanced, " ".join(lines)[:MAX_TEXT])
