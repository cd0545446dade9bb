"""Words: their value is the plain str that databases and marshal take."""

from __future__ import annotations

import marshal

import pytest

from relay.model.message import Source
from relay.model.word import Word


class Weekday(Word):
    """Words for the tests."""

    MONDAY = "monday"
    SUNDAY = "sunday"


@pytest.mark.parametrize("word", [*Weekday, *Source])
def test_a_value_is_a_plain_str(word: Word) -> None:
    assert type(word.value) is str
    assert marshal.loads(marshal.dumps(word.value)) == word == str(word) == f"{word}"


def test_a_word_is_found_by_its_value_and_is_a_constant() -> None:
    assert Weekday("sunday") is Weekday.SUNDAY
    assert {Weekday.MONDAY: 1}["monday"] == 1  # type: ignore[index]  # a word is the str, for mappings too
    with pytest.raises(ValueError, match="tuesday"):
        Weekday("tuesday")
    with pytest.raises(AttributeError):
        Weekday.MONDAY.value = "tuesday"  # type: ignore[misc]
