"""Rules for replies, as they are written in the configuration: one a line, `WHAT THE SERVER SAID -> WHAT IT MEANS`.

    [PHASE] [CODE] [ENHANCED] [TEXT] -> OUTCOME [CATEGORY] [DELAY]

PHASE is mail, rcpt, data or dot; CODE such as 550, 45x or 4xx; ENHANCED such as 4.7.1 or 5.7.*; TEXT is found anywhere in
the reply, in letters of either case, with * for anything between. OUTCOME is deferred, failed or fault (the account's).
"""

from __future__ import annotations

import re
from typing import NoReturn

from relay.clock import DAY, SECOND, read_duration, show_duration
from relay.model.delivery import Category, Phase
from relay.model.reply_rule import MAIL_PHASES, ReplyRule, RuleOutcome

ARROW = "->"
FORM = "[PHASE] [CODE] [ENHANCED] [TEXT] -> OUTCOME [CATEGORY] [DELAY]"
LONGEST_DELAY = 30 * DAY
_CODE = re.compile(r"[0-9][0-9x]{2}|xxx", re.ASCII)
_ENHANCED = re.compile(r"([0-9]+|\*)\.([0-9]+|\*)\.([0-9]+|\*)", re.ASCII)
_CATEGORIES = {each.value: each for each in Category if each not in (Category.NONE, Category.EXPIRED)}
_OUTCOMES = {each.value: each for each in RuleOutcome}
_PHASES = {each.value: frozenset({each}) for each in Phase}


def read_rules(text: str) -> tuple[ReplyRule, ...]:
    """The rules in their order; ValueError names the first line at fault and what is wrong in it."""
    lines = [line.strip() for line in text.splitlines()]
    rules = []
    for number, line in enumerate((line for line in lines if line), 1):
        try:
            rules.append(read_rule(line))
        except ValueError as fault:
            raise ValueError(f"rule {number} ({line}): {fault}") from None
    return tuple(rules)


def read_rule(line: str) -> ReplyRule:
    """One of them; ValueError."""
    said, arrow, means = line.partition(ARROW)
    if not arrow:
        _wrong("has no ->")
    if ARROW in means:
        _wrong("has two ->")
    phases, code, enhanced, words = _read_said(said.split())
    outcome, category, delay = _read_means(means.split())
    return ReplyRule(outcome, phases, code, enhanced, words, category, delay)


def _read_said(parts: list[str]) -> tuple[frozenset[Phase], str, tuple[str, str, str] | None, tuple[str, ...]]:
    if not parts:
        _wrong("says nothing before ->: it would fit every reply")
    phases, code, enhanced = MAIL_PHASES, "xxx", None
    if (named := _PHASES.get(parts[0].lower())) is not None:
        if not named <= MAIL_PHASES:
            _wrong(
                f"{parts[0]} comes before any mail, where a refusal is always the account's fault; use rcpt or the like"
            )
        phases = named
        parts = parts[1:]
    if parts and _CODE.fullmatch(parts[0].lower()):
        code = parts[0].lower()
        if code[0] not in "45x":
            _wrong(f"{parts[0]} is no refusal: only 4xx and 5xx replies can be given another meaning")
        parts = parts[1:]
    if parts and (match := _ENHANCED.fullmatch(parts[0])):
        enhanced = (match[1], match[2], match[3])
        if enhanced[0] not in ("4", "5", "*"):
            _wrong(f"{parts[0]} is no refusal: an enhanced code begins with 4, 5 or *")
        parts = parts[1:]
    elif parts and re.match(r"[0-9*]+\.", parts[0]):
        _wrong(f"{parts[0]} is not an enhanced code such as 4.7.1 or 5.7.*")
    words = tuple(word.strip() for word in " ".join(parts).lower().split("*") if word.strip())
    if parts and not words:
        _wrong("its text is nothing but *: leave it away")
    return phases, code, enhanced, words


def _read_means(parts: list[str]) -> tuple[RuleOutcome, Category | None, int | None]:
    if not parts:
        _wrong("says nothing after ->")
    if (outcome := _OUTCOMES.get(parts[0].lower())) is None:
        _wrong(f"{parts[0]} is not an outcome: say {', '.join(_OUTCOMES)}")
    category, delay = None, None
    for part in parts[1:]:
        if delay is None and part[0].isdigit():
            delay = _read_delay(part, outcome)
        elif category is None and delay is None and (found := _CATEGORIES.get(part.lower())) is not None:
            category = found
        else:
            _wrong(f"{part} is neither a category ({', '.join(_CATEGORIES)}) nor, at the end, a delay such as 5m")
    return outcome, category, delay


def _read_delay(text: str, outcome: RuleOutcome) -> int:
    if outcome is RuleOutcome.FAILED:
        _wrong(f"what has failed is not tried again: take {text} away, or say deferred")
    try:
        delay = read_duration(text)
    except ValueError:
        _wrong(f"{text} is not a delay such as 30s, 5m or 1h")
    if not SECOND <= delay <= LONGEST_DELAY:
        _wrong(f"the delay {text} must lie between 1s and {show_duration(LONGEST_DELAY)}")
    return delay


def _wrong(what: str) -> NoReturn:
    raise ValueError(what)
