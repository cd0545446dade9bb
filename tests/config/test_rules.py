"""Rules for replies: what a line says, which replies it fits, and what is wrong with one that is none."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from relay.clock import HOUR, MINUTE
from relay.config import examine, load
from relay.config.rules import read_rule, read_rules
from relay.model.delivery import Category, Phase
from relay.model.reply import read_reply
from relay.model.reply_rule import MAIL_PHASES, ReplyRule, RuleOutcome

DEFERRED, FAILED, FAULT = RuleOutcome.DEFERRED, RuleOutcome.FAILED, RuleOutcome.FAULT


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (
            "4.7.1 greylist* -> deferred policy 5m",
            ReplyRule(
                DEFERRED, enhanced=("4", "7", "1"), words=("greylist",), category=Category.POLICY, delay=5 * MINUTE
            ),
        ),
        (
            "RCPT 550 Mailbox * Full -> Deferred",
            ReplyRule(DEFERRED, phases=frozenset({Phase.RCPT}), code="550", words=("mailbox", "full")),
        ),
        ("45x -> fault rate 1h", ReplyRule(FAULT, code="45x", category=Category.RATE, delay=HOUR)),
        ("550 5.7.* -> failed", ReplyRule(FAILED, code="550", enhanced=("5", "7", "*"))),
        ("quota exceeded->fault", ReplyRule(FAULT, words=("quota exceeded",))),
        (
            "dot  spam -> failed content",
            ReplyRule(FAILED, frozenset({Phase.DOT}), words=("spam",), category=Category.CONTENT),
        ),
        ("not 550 of us -> deferred 90s", ReplyRule(DEFERRED, words=("not 550 of us",), delay=90_000_000)),
    ],
)
def test_what_a_line_says(line: str, rule: ReplyRule) -> None:
    assert read_rule(line) == rule


@pytest.mark.parametrize(
    ("line", "phase", "reply", "fits"),
    [
        ("4.7.1 greylist* -> deferred", Phase.RCPT, "451 4.7.1 <b@x>: Recipient rejected: Greylisted, see x", True),
        ("4.7.1 greylist* -> deferred", Phase.RCPT, "451 4.7.0 greylisted", False),
        ("4.7.1 greylist* -> deferred", Phase.RCPT, "451 greylisted", False),
        ("4.7.1 greylist* -> deferred", Phase.RCPT, "451 4.7.1 later", False),
        ("4.7.* -> deferred", Phase.DOT, "421 4.7.28 later", True),
        ("5xx -> deferred", Phase.RCPT, "550 no", True),
        ("55x -> deferred", Phase.RCPT, "541 no", False),
        ("rcpt no -> deferred", Phase.RCPT, "550 NO", True),
        ("rcpt no -> deferred", Phase.DATA, "550 no", False),
        ("mailbox * full -> deferred", Phase.RCPT, "552 the mailbox of bob is full", True),
        ("mailbox * full -> deferred", Phase.RCPT, "552 full mailbox", False),
        ("mailbox * full -> deferred", Phase.RCPT, "552 mailbox", False),
        ("a*a -> deferred", Phase.RCPT, "550 a", False),
    ],
)
def test_which_replies_it_fits(line: str, phase: Phase, reply: str, fits: bool) -> None:
    assert read_rule(line).fits(read_reply(int(reply[:3]), reply[4:]), phase) is fits


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("4.7.1 greylist deferred", "has no ->"),
        ("a -> b -> failed", "has two ->"),
        (" -> failed", "it would fit every reply"),
        ("* -> failed", "nothing but *"),
        ("550 ->", "says nothing after ->"),
        ("550 -> defered", "defered is not an outcome: say deferred, failed, fault"),
        ("550 -> sent", "sent is not an outcome"),
        ("550 -> deferred greylist", "greylist is neither a category (mailbox, mailbox_full, policy,"),
        ("550 -> failed policy 5m", "what has failed is not tried again"),
        ("550 -> deferred 5", "5 is not a delay"),
        ("550 -> deferred 5 m", "5 is not a delay"),
        ("550 -> deferred 400d", "must lie between 1s and 30d"),
        ("550 -> deferred 5m rate", "rate is neither a category"),
        ("250 queued -> failed", "250 is no refusal"),
        ("2.1.5 -> failed", "2.1.5 is no refusal"),
        ("4.7 greylist -> failed", "4.7 is not an enhanced code such as"),
        ("auth 535 -> failed", "auth comes before any mail"),
    ],
)
def test_what_is_wrong_with_a_line(line: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=re.escape(wrong)):
        read_rule(line)


def test_a_file_with_rules(tmp_path: Path) -> None:
    file = tmp_path / "config.ini"
    file.write_text("[replies]\nrules =\n    # mine\n    4.7.1 greylist -> deferred 5m\n    550 -> failed other\n")
    first, second = load(file, {}).replies.rules
    assert (first.delay, first.phases) == (5 * MINUTE, MAIL_PHASES)
    assert second.category is Category.OTHER


def test_a_fault_names_the_rule_and_what_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "config.ini"
    file.write_text("[replies]\nrules =\n    4.7.1 -> deferred\n    550 full -> later\n")
    [fault] = examine(file, {}).faults
    assert fault.startswith(
        f"{file}: [replies] rules: rule 2 (550 full -> later): later is not an outcome: say deferred"
    )
    assert "\n" not in fault


def test_matching_takes_time_in_proportion() -> None:
    rule = read_rules("*".join(["a"] * 300) + "b -> failed")[0]
    begin = time.thread_time()
    assert not rule.fits(read_reply(550, "a" * 1000), Phase.RCPT)
    assert time.thread_time() - begin < 0.05
