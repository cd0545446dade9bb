"""Schemas for readers: what a value is in a few words, and an object's members in a table that opens what lies within."""

from __future__ import annotations

from collections.abc import Iterator

from sidecar_api.reference.markup import Markup, element, joined, text
from sidecar_api.shapes import Json

_DEPTH = 5
_BOUNDS = (
    (("minimum", "maximum"), ""),
    (("minLength", "maxLength"), " characters"),
    (("minItems", "maxItems"), " items"),
    (("minProperties", "maxProperties"), " members"),
)


class Schemas:
    """Those of a document."""

    def __init__(self, document: Json) -> None:
        self._known: Json = document["components"]["schemas"]

    def resolve(self, schema: Json) -> Json:
        """What a reference points to, else the schema itself."""
        name = self.name_of(schema)
        found: Json = schema if name is None else self._known[name]
        return found

    def name_of(self, schema: Json) -> str | None:
        """The name of what it points to."""
        reference = schema.get("$ref")
        return None if reference is None else str(reference).rpartition("/")[2]

    def kind(self, schema: Json) -> Markup:
        """What a value is: `string`, `array of AccountOut`, one of some words, with its bounds."""
        return joined(*_parted([Markup(one) for one in dict.fromkeys(self._kinds(schema))], " or "))

    def _kinds(self, schema: Json) -> Iterator[Markup]:
        if (name := self.name_of(schema)) is not None:
            yield element("span", name, class_="shape")
        elif "anyOf" in schema:
            for one in schema["anyOf"]:
                yield from self._kinds(one)
        elif "enum" in schema or "const" in schema:
            yield joined(
                *_parted([element("code", str(one)) for one in schema.get("enum", [schema.get("const")])], " ")
            )
        elif schema.get("type") == "array":
            yield joined("array of ", self.kind(schema.get("items", {})), _bounds(schema))
        elif "additionalProperties" in schema and isinstance(schema["additionalProperties"], dict):
            yield joined("object of ", self.kind(schema["additionalProperties"]), _bounds(schema))
        else:
            yield joined(str(schema.get("type", "anything")), _bounds(schema))

    def members(self, schema: Json, *, depth: int = 0) -> Markup | None:
        """A row for each member; None where there are none to be shown."""
        schema = self.resolve(schema)
        required = set(schema.get("required", ()))
        rows = [
            self.row(name, member, required=name in required, depth=depth)
            for name, member in schema.get("properties", {}).items()
        ]
        return element("div", *rows, class_="members") if rows else None

    def row(self, name: str, schema: Json, *, required: bool, depth: int = 0, note: str = "") -> Markup:
        """One value: its name, what it is, what is said of it, and what lies within."""
        said = note or " ".join(
            dict.fromkeys(str(one["description"]) for one in (schema, *_alternatives(schema)) if "description" in one)
        )
        default = schema.get("default")
        more = None if default in (None, "", [], {}) else joined(" Default ", element("code", _shown(default)), ".")
        return element(
            "div",
            element(
                "div",
                element("code", name, class_="name"),
                element("span", "required", class_="required") if required else None,
                element("span", self.kind(schema), class_="kind"),
            ),
            element("div", text(said), more, class_="said") if said or more else None,
            *self._within(schema, depth),
            class_="member",
        )

    def _within(self, schema: Json, depth: int) -> Iterator[Markup]:
        """The shapes that a value may have, closed until they are asked for."""
        if depth >= _DEPTH:
            return
        shapes: list[Json] = []
        for one in self._shapes(schema):
            if one in shapes:  # alone, and in a list
                continue
            shapes.append(one)
            inner = self.members(one, depth=depth + 1)
            if inner is not None:
                yield element("details", element("summary", self.name_of(one) or "its members"), inner)

    def _shapes(self, schema: Json) -> Iterator[Json]:
        if "anyOf" in schema:
            for one in schema["anyOf"]:
                yield from self._shapes(one)
        elif schema.get("type") == "array":
            yield from self._shapes(schema.get("items", {}))
        elif "$ref" in schema or "properties" in schema:
            yield schema


def _alternatives(schema: Json) -> list[Json]:
    items = [schema["items"]] if isinstance(schema.get("items"), dict) else []
    return [one for one in [*schema.get("anyOf", []), *items] if "description" in one]


def _bounds(schema: Json) -> str:
    """Its bounds, in brackets."""
    for (low, high), unit in _BOUNDS:
        least, most = schema.get(low), schema.get(high)
        if least is not None and most is not None:
            return f" ({least:,} to {most:,}{unit})"
        if most is not None:
            return f" (at most {most:,}{unit})"
        if least is not None:
            return f" (at least {least:,}{unit})"
    return f" ({schema['format']})" if "format" in schema else ""


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _parted(parts: list[Markup], by: str) -> list[Markup | str]:
    found: list[Markup | str] = []
    for part in parts:
        found += [part, by]
    return found[:-1]
