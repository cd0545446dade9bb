"""config.example.ini: equal to the code, and itself a good configuration."""

from __future__ import annotations

import re
from pathlib import Path

from relay.config import example, load
from relay.config.sections import SECTIONS, keys

FILE = Path(__file__).parents[2] / "config.example.ini"


def test_the_file_equals_the_code() -> None:
    assert FILE.read_text() == example(), "write it anew: stagepost config example > config.example.ini"


def test_it_loads_as_it_is_and_changes_nothing() -> None:
    assert load(FILE, {}) == load(None, {})


def test_with_every_key_uncommented_it_still_says_the_defaults(tmp_path: Path) -> None:
    uncommented = re.sub(r"(?m)^#(?=\w+ =)", "", example())
    assert uncommented.count(" =") == len(list(keys()))
    file = tmp_path / "config.ini"
    file.write_text(uncommented)
    assert load(file, {}) == load(None, {})


def test_every_key_has_a_meaning_on_one_line() -> None:
    for key in keys():
        assert 10 < len(key.meaning) < 110, key
        assert not key.meaning.endswith("."), key
        assert key.meaning.isprintable(), key
    assert all(section.__doc__ for section in SECTIONS.values())
