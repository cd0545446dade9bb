"""The readers of control values, by table: every one takes text and gives a value or says what is wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.clock import DAY, HOUR, MINUTE, SECOND, rfc3339
from relay.intake.controls import (
    CONTROL_NAMES,
    MAX_AHEAD,
    MAX_METADATA,
    read_account,
    read_batch,
    read_control_headers,
    read_identifier,
    read_metadata,
    read_priority,
    read_tags,
    read_time,
)
from relay.model.control import Controls
from relay.model.message import Priority
from tests.support.clock import START

NOW = START
ANYTHING = st.text(st.characters(codec=None, exclude_categories=()), max_size=60)


@pytest.mark.parametrize(
    ("text", "priority"),
    [
        ("0", Priority.IMMEDIATE),
        ("1", Priority.HIGH),
        ("2", Priority.MEDIUM),
        ("3", Priority.LOW),
        ("immediate", Priority.IMMEDIATE),
        (" High ", Priority.HIGH),
        ("MEDIUM", Priority.MEDIUM),
        ("low", Priority.LOW),
    ],
)
def test_priority(text: str, priority: Priority) -> None:
    assert read_priority(text) is priority


@pytest.mark.parametrize("text", ["", "4", "-1", "00", "1.0", "urgent", "٢", "0 1"])
def test_no_priority(text: str) -> None:
    with pytest.raises(ValueError, match="must be 0 to 3"):
        read_priority(text)


@pytest.mark.parametrize("text", ["a", "Q3_2026.news-letter", "x" * 64, " padded "])
def test_batch(text: str) -> None:
    assert read_batch(text) == text.strip()


@pytest.mark.parametrize("text", ["", " ", "x" * 65, "a b", "a/b", "é", "a\n", "a\nb"])
def test_no_batch(text: str) -> None:
    if text == "a\n":  # the blank around is no part of the value
        assert read_batch(text) == "a"
        return
    with pytest.raises(ValueError, match="1 to 64"):
        read_batch(text)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("+15m", NOW + 15 * MINUTE),
        ("+0s", NOW),
        ("+90s", NOW + 90 * SECOND),
        ("+2h", NOW + 2 * HOUR),
        ("+7d", NOW + 7 * DAY),
        ("+1w", NOW + 7 * DAY),
        (" +15m ", NOW + 15 * MINUTE),
        ("+366d", NOW + MAX_AHEAD),
        ("1767225600", NOW),
        ("1767225600.25", NOW + 250_000),
        ("0", 0),
        ("2026-01-01T00:00:00Z", NOW),
        ("2026-01-01T00:00:00.500Z", NOW + 500_000),
        ("2026-01-01T01:00:00+01:00", NOW),
        ("2025-12-31 19:00:00-05:00", NOW),
        ("2026-01-01t00:00:00z", NOW),
    ],
)
def test_time(text: str, at: int) -> None:
    assert read_time(text, NOW) == at


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "must be an RFC 3339 time"),
        ("soon", "must be an RFC 3339 time"),
        ("+15", "must be an RFC 3339 time"),
        ("+15M", "must be an RFC 3339 time"),
        ("-15m", "must be an RFC 3339 time"),
        ("+1h30m", "must be an RFC 3339 time"),
        ("15m", "must be an RFC 3339 time"),
        ("+١m", "must be an RFC 3339 time"),
        (".", "must be an RFC 3339 time"),
        ("1e9", "must be an RFC 3339 time"),
        ("-1", "must be an RFC 3339 time"),
        ("2026-02-30T00:00:00Z", "must be an RFC 3339 time"),
        ("2026-01-01T00:00:00", "has no offset"),
        ("2026-01-01", "has no offset"),
        ("+367d", "more than a year ahead"),
        ("+999999999w", "more than a year ahead"),
        ("99999999999999999999", "more than a year ahead"),
        ("9999-12-31T23:59:59Z", "more than a year ahead"),
        ("0001-01-01T00:00:00+23:59", "before 1970"),
        ("1969-12-31T23:59:59Z", "before 1970"),
    ],
)
def test_no_time(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        read_time(text, NOW)


@given(
    ANYTHING
    | st.from_regex(r"[+0-9TZ:. smhdw-]{1,30}", fullmatch=True)
    | st.datetimes(timezones=st.timezones()).map(str)
)
def test_whatever_is_taken_for_a_time_can_be_shown(text: str) -> None:
    try:
        at = read_time(text, NOW)
    except ValueError:
        return
    assert 0 <= at <= NOW + MAX_AHEAD
    assert rfc3339(at).endswith("Z")


@pytest.mark.parametrize("text", ["main", "A1", "a.b_c-d", "x" * 64])
def test_account(text: str) -> None:
    assert read_account(f" {text}\t") == text


@pytest.mark.parametrize("text", ["", "-a", "a b", "*", "a/b", "x" * 65, "é"])
def test_no_account(text: str) -> None:
    with pytest.raises(ValueError, match="not an account id"):
        read_account(text)


@pytest.mark.parametrize("text", ["1", "order 4711", "é", "x" * 255, "<a@b>"])
def test_identifier(text: str) -> None:
    assert read_identifier(text) == text


@pytest.mark.parametrize("text", ["", " ", "x" * 256, "a\nb", "a\x00b", "a\x1bb", "a\u2028b", "a\u200bb", "a\udcffb"])
def test_no_identifier(text: str) -> None:
    with pytest.raises(ValueError, match="1 to 255 printable"):
        read_identifier(text)


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("", ()),
        (" , ,", ()),
        ("a", ("a",)),
        ("a,b c", ("a", "b", "c")),
        ("a, a, b", ("a", "b")),
        ("env:prod v1.2", ("env:prod", "v1.2")),
        (" ".join(map(str, range(10))), tuple(map(str, range(10)))),
    ],
)
def test_tags(text: str, tags: tuple[str, ...]) -> None:
    assert read_tags(text) == tags


@pytest.mark.parametrize("text", [" ".join(map(str, range(11))), "x" * 65, "-a", "a=b", "é"])
def test_no_tags(text: str) -> None:
    with pytest.raises(ValueError, match="tag"):
        read_tags(text)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("{}", "{}"),
        (' { "a" : 1 } ', '{"a":1}'),
        ('{"a":{"b":[1,null,true]}}', '{"a":{"b":[1,null,true]}}'),
        ('{"é":"\\u00e9"}', '{"é":"é"}'),
    ],
)
def test_metadata(text: str, kept: str) -> None:
    assert read_metadata(text) == kept


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ("{'a': 1}", "is not JSON"),
        ('{"a": NaN}', "is not JSON"),
        ('{"a": "\udcff"}', "is not JSON"),
        ("[]", "is not a JSON object"),
        ("1", "is not a JSON object"),
        ('{"a":"' + "x" * MAX_METADATA + '"}', "larger than 4096"),
        ('{"a":"' + "é" * 2100 + '"}', "larger than 4096"),
        ("[" * 4000, "is not JSON"),
        ('{"a":' * 300 + "1" + "}" * 300, "nested too deep"),
    ],
)
def test_no_metadata(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        read_metadata(text)


def test_control_headers_are_read_by_their_names() -> None:
    read = read_control_headers(
        {
            "priority": "high",
            "batch": "spring",
            "send-at": "+1h",
            "expires": "+1d",
            "account": "main",
            "client-id": "4711",
            "idempotency-key": "k",
            "tags": "a b",
            "metadata": '{"a": 1}',
        },
        NOW,
    )
    assert read == Controls(Priority.HIGH, "spring", NOW + HOUR, NOW + DAY, "main", "4711", "k", ("a", "b"), '{"a":1}')


@given(st.dictionaries(st.sampled_from(sorted(CONTROL_NAMES)), ANYTHING))
def test_any_text_is_a_control_or_a_fault_with_its_name(values: dict[str, str]) -> None:
    try:
        read_control_headers(values, NOW)
    except ValueError as fault:
        name, detail = fault.args
        assert name in values
        assert isinstance(detail, str)
