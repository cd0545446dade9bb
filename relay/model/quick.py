"""Quick: frozen dataclasses that are made as fast as others.

The `__init__` of a frozen dataclass goes through `object.__setattr__` for each field: 8.5 µs for twenty fields instead of
1.2, and a message on its way makes some thirty objects. Here a new object passes for one of a twin class that is not
frozen while its slots are filled (2.2 µs), and is frozen from then on like any other.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar

T = TypeVar("T")


def quick(cls: type[T]) -> type[T]:
    """Decorates a `@dataclass(frozen=True, slots=True)` that nobody inherits from and that has no `__post_init__`."""
    names = [field.name for field in fields(cls)]  # type: ignore[arg-type]  # a dataclass, which a TypeVar cannot say
    known: dict[str, Any] = {"MISSING": MISSING, "of": cls, "twin": type(cls.__name__, (), {"__slots__": tuple(names)})}
    known["set_class"] = object.__setattr__
    parameters = ["self"]
    lines = ["set_class(self, '__class__', twin)"]
    for field in sorted(fields(cls), key=lambda field: field.kw_only is True):  # type: ignore[arg-type]
        if field.kw_only and "*" not in parameters:
            parameters.append("*")
        parameters.append(_parameter(field, known))
        lines.append(f"self.{field.name} = {_value(field, known)}")
    lines.append("self.__class__ = of")
    made: dict[str, Any] = {}
    exec(f"def __init__({', '.join(parameters)}):\n " + "\n ".join(lines), known, made)  # noqa: S102 - as dataclasses do
    cls.__init__ = made["__init__"]  # type: ignore[method-assign]
    return cls


def _parameter(field: Field[Any], known: dict[str, Any]) -> str:
    if field.default is not MISSING:
        known[f"default_{field.name}"] = field.default
        return f"{field.name}=default_{field.name}"
    return field.name if field.default_factory is MISSING else f"{field.name}=MISSING"


def _value(field: Field[Any], known: dict[str, Any]) -> str:
    if field.default_factory is MISSING:
        return field.name
    known[f"make_{field.name}"] = field.default_factory
    return f"make_{field.name}() if {field.name} is MISSING else {field.name}"
