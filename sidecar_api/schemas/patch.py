"""Merge patches (RFC 7396): what is not named stays as it is, null clears what can be cleared, nothing resets silently."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol, TypeVar, runtime_checkable

from pydantic import ConfigDict

from sidecar_api.schemas.fields import Strict

MERGE_PATCH = "application/merge-patch+json"

_Thing = TypeVar("_Thing")


@runtime_checkable
class Applies(Protocol):
    """A change of the object that stands in a field."""

    def apply_to(self, thing: Any, /) -> Any:
        """The object as it will be."""


def _without_defaults(schema: dict[str, Any]) -> None:
    for member in schema.get("properties", {}).values():
        member.pop("default", None)


class Patch(Strict):
    """Changes to a frozen dataclass, by its field names.

    Every field has a default, which means nothing: only what the client named counts (`model_fields_set`). A field whose
    type has no None cannot be cleared. A member that is a change itself changes the object that stands there.
    """

    model_config = ConfigDict(json_schema_extra=_without_defaults)

    def apply_to(self, thing: _Thing) -> _Thing:
        """The thing as it will be; a thing that is not changed is answered itself."""
        changes = {name: self._changed(name, thing) for name in self.model_fields_set}
        changed: Any = replace(thing, **changes)  # type: ignore[type-var]  # any dataclass
        return thing if changed == thing else changed

    def _changed(self, name: str, thing: object) -> object:
        value = getattr(self, name)
        return value.apply_to(getattr(thing, name)) if isinstance(value, Applies) else value
