"""Quick: dataclasses behave as without it, frozen ones stay frozen."""

from __future__ import annotations

from copy import copy
from dataclasses import FrozenInstanceError, dataclass, field, fields, replace

import pytest

from relay.model.quick import quick


@dataclass(frozen=True, slots=True)
class Plain:
    one: int
    two: str = "two"
    three: list[int] = field(default_factory=list)
    four: int = field(default=4, kw_only=True)


@quick
@dataclass(frozen=True, slots=True)
class Quick:
    one: int
    two: str = "two"
    three: list[int] = field(default_factory=list)
    four: int = field(default=4, kw_only=True)


@pytest.mark.parametrize("arguments", [((1,), {}), ((1, "b", [3]), {"four": 5}), ((), {"one": 1, "three": [2]})])
def test_the_same_is_made(arguments: tuple[tuple[object, ...], dict[str, object]]) -> None:
    positional, named = arguments
    plain, made = Plain(*positional, **named), Quick(*positional, **named)  # type: ignore[arg-type]
    assert [getattr(made, each.name) for each in fields(made)] == [getattr(plain, each.name) for each in fields(plain)]
    assert type(made) is Quick
    assert made == replace(made) == copy(made)
    assert repr(made) == repr(plain).replace("Plain", "Quick")


def test_it_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Quick(1).one = 2  # type: ignore[misc]


def test_each_gets_a_default_of_its_own() -> None:
    assert Quick(1).three is not Quick(1).three


def test_a_wrong_call_is_one() -> None:
    with pytest.raises(TypeError, match="one"):
        Quick()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="positional"):
        Quick(1, "two", [], 4)  # type: ignore[call-arg]
