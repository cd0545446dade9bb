"""Hint: the delay that a reply asks for in its text, since SMTP has no field for it. Pure; its test is a table.

Only a duration that follows right on a word of waiting is one: "try again in 5 minutes", and not "50 messages in 60 seconds
are too many, try again later".
"""

from __future__ import annotations

import re

from relay.clock import DAY, HOUR, MILLISECOND, MINUTE, SECOND

_UNITS = {"d": DAY, "h": HOUR, "m": MINUTE, "s": SECOND}
_WORDS = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "ten": 10, "fifteen": 15, "thirty": 30}
_UNIT = r"(milliseconds?|msecs?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d)\b"
_AMOUNT = rf"(\d{{1,6}}|{'|'.join(_WORDS)})\s?{_UNIT}"
_MORE = re.compile(rf"(?:\s?,?\s?(?:and\s)?){_AMOUNT}")

# Each of the two parts is bounded, so that the whole takes time in proportion to the text.
_ASKED = re.compile(
    r"\b(?:try(?:ing)?(?: it| this)? again|again|retry(?:ing)?|re-?send(?:ing)?|come back|reconnect(?:ing)?|wait"
    r"|gr[ea]y-?list(?:ed|ing)?|deferred|delayed|postponed|blocked|back ?off|hold off|available|accepted)\b"
    r"(?:[\s,;:=(\-]|later|please|at least|another|about|approx(?:imately|\.)?|time|delay|your|this|message|mail|email"
    r"|in|after|for|by|is|be|once){0,24}"
    rf"(?:(?P<clock>\d{{1,3}}(?::\d\d){{1,2}})\b|(?P<amount>{_AMOUNT})|(?<=[\s=:])(?P<bare>\d{{1,6}})(?!\S))"
)
_BARE = re.compile(r"\bretry[-_ ]?after\b")


def asked_delay(text: str) -> int | None:
    """The delay in µs; None where the text asks for none."""
    text = text.lower()
    for match in _ASKED.finditer(text):
        if clock := match["clock"]:
            return _read_clock(clock)
        if match["amount"]:
            return _read_amounts(text, match.start("amount"))
        if _BARE.match(text, match.start()):  # as HTTP's field of that name: seconds
            return int(match["bare"]) * SECOND
    return None


def _read_clock(clock: str) -> int:
    """`00:04:59`, or minutes and seconds."""
    total = 0
    for part in clock.split(":"):
        total = total * 60 + int(part)
    return total * SECOND


def _read_amounts(text: str, at: int) -> int:
    """One or more: `1 hour and 30 minutes`."""
    total = 0
    while found := _MORE.match(text, at):
        total += _read_amount(found[1], found[2])
        at = found.end()
    return total


def _read_amount(number: str, unit: str) -> int:
    amount = _WORDS.get(number) or int(number)
    return amount * (MILLISECOND if unit.startswith(("ms", "milli")) else _UNITS[unit[0]])
