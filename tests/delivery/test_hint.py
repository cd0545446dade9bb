"""Hints: what servers really write, what only looks like it, and that no text takes long."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.clock import DAY, HOUR, MINUTE, SECOND
from relay.delivery.hint import asked_delay


@pytest.mark.parametrize(
    ("text", "delay"),
    [
        ("Greylisted, please try again in 300 seconds", 300 * SECOND),
        ("<bob@b.example>: Recipient address rejected: Greylisted for 5 minutes", 5 * MINUTE),
        ("Greylisted for 300 seconds (see http://isg.ee.ethz.ch/tools/postgrey/help/b.example.html)", 300 * SECOND),
        ("Greylisting in action, please come back in 00:04:59", 4 * MINUTE + 59 * SECOND),
        ("greylisted, retry after 15 minutes", 15 * MINUTE),
        ("please try again later in 5 min", 5 * MINUTE),
        ("Try again in 1 hour", HOUR),
        ("too busy, try again in 1 hour and 30 minutes", HOUR + 30 * MINUTE),
        ("Rate limit exceeded. Retry in 45s.", 45 * SECOND),
        ("rate limited, retry-after: 120", 120 * SECOND),
        ("retry after 90", 90 * SECOND),
        ("Retry-After=60 too many", 60 * SECOND),
        ("please wait 60 seconds before trying again", MINUTE),
        ("you must wait at least another 10 mins", 10 * MINUTE),
        ("message deferred for 2 hours", 2 * HOUR),
        ("temporarily blocked for 1 day", DAY),
        ("Please try again in five minutes", 5 * MINUTE),
        ("try again in an hour", HOUR),
        ("Try this again in 20m", 20 * MINUTE),
        ("please resend your message in 30 minutes", 30 * MINUTE),
        ("service available in 10 minutes", 10 * MINUTE),
        ("4.7.1 retry delay: 30 sec", 30 * SECOND),
        ("come back in 250ms", SECOND // 4),
        ("try again in 0 seconds", 0),
    ],
)
def test_what_a_reply_asks_for(text: str, delay: int) -> None:
    assert asked_delay(text) == delay


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Try again later, closing connection. (EHLO) 12-20020a05600c.1 - gsmtp",
        "Server busy. Please try again later from [192.0.2.1]. (S77719)",
        "Greylisted, see http://postgrey.schweikert.ch/help/b.example.html",
        "50 messages in 60 seconds are too many, try again later",
        "Try again later. You have sent 20 messages in 60 minutes",
        "try again within 24 hours",
        "try again in a few minutes",
        "limit of 100 messages per 60 minutes reached",
        "retry timeout exceeded",
        "retry 3 times",
        "try again; id 300",
        "again 12 monkeys",
        "wait 5 messages",
        "Timeout after 300 seconds",
        "mailbox will be deleted in 30 days",
    ],
)
def test_what_asks_for_nothing(text: str) -> None:
    assert asked_delay(text) is None


@given(st.text(max_size=1000))
def test_any_text_is_read(text: str) -> None:
    found = asked_delay(text)
    assert found is None or found >= 0


@pytest.mark.parametrize(
    "piece", ["wait ", "again in ", "retry " + " " * 30, "in after for ", "1:", "9" * 6, "try again in 1 "]
)
def test_no_text_takes_long(piece: str) -> None:
    begin = time.thread_time()
    asked_delay((piece * 1000)[:1000])
    assert time.thread_time() - begin < 0.05
