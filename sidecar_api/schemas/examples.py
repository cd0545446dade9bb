"""Examples of bodies and answers: what the reference shows, and what tests hand in.

A shape carries its own by `@example({…})`; a shape without one is put together from those of its members.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from pydantic import BaseModel

_Shape = TypeVar("_Shape", bound=type)
_MARK = "__example__"


def example(value: object) -> Callable[[_Shape], _Shape]:
    """Gives a body or answer its example, as JSON has it."""

    def mark(shape: _Shape) -> _Shape:
        setattr(shape, _MARK, value)
        return shape

    return mark


def example_of(shape: Any) -> object:
    """The example of a shape; TypeError where neither it nor its members have one."""
    if (own := getattr(shape, "__dict__", {}).get(_MARK)) is not None:
        return own
    if get_origin(shape) is list:
        return [example_of(get_args(shape)[0])]
    if type(None) in get_args(shape):
        return None
    if isinstance(shape, type) and issubclass(shape, dict) and shape is not dict:
        return {name: example_of(member) for name, member in get_type_hints(shape).items()}
    raise TypeError(f"{getattr(shape, '__name__', shape)} has no example")


def has_example(shape: type[BaseModel]) -> bool:
    """Whether a body carries one of its own."""
    return _MARK in shape.__dict__
