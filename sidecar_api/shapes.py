"""JSON schemas of bodies and answers for the description: made by pydantic, with the docstrings of their members."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from types import ModuleType
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from sidecar_api.schemas.examples import example_of, has_example

Json = dict[str, Any]
"""JSON is what these modules make: the one place where a dictionary of anything is the fitting type."""

REFERENCE = "#/components/schemas/{model}"


def schemas_of(bodies: Iterable[type], answers: Iterable[type]) -> tuple[Mapping[type, Json], Json]:
    """A reference for every shape, and the components they point to."""
    wanted: dict[type, JsonSchemaMode] = dict.fromkeys(bodies, "validation")
    wanted |= dict.fromkeys(answers, "serialization")
    adapters: list[tuple[type, JsonSchemaMode, TypeAdapter[Any]]] = [
        (shape, mode, TypeAdapter(shape)) for shape, mode in wanted.items()
    ]
    references, definitions = TypeAdapter.json_schemas(adapters, ref_template=REFERENCE)
    schemas: Json = definitions["$defs"]
    texts = _texts_of(wanted)
    for name, schema in schemas.items():
        complete(schema, texts.get(name, {}))
    for shape, mode in wanted.items():
        _put_own_first(schemas[references[shape, mode]["$ref"].rpartition("/")[2]], shape)
    return {shape: references[shape, mode] for shape, mode in wanted.items()}, schemas


def complete(schema: Json, texts: Mapping[str, str]) -> None:
    """Give the members their docstrings, and take away titles that only repeat their names."""
    for name, member in schema.get("properties", {}).items():
        member.pop("title", None)
        if name in texts and "$ref" not in member:
            further = member.get("description", "")  # of its type: not a sentence by itself
            member["description"] = f"{texts[name]} {further[:1].upper()}{further[1:]}".rstrip()


def _put_own_first(schema: Json, shape: type) -> None:
    """What a body's example has, in its order; then the other members of its own, then those that it shares with others."""
    if issubclass(shape, BaseModel):
        fields = shape.model_fields
        shown = example_of(shape) if has_example(shape) else {}
        first = list(shown) if isinstance(shown, Mapping) else []
        own = [field.alias or name for name, field in fields.items() if name in inspect.get_annotations(shape)]
        members = schema.get("properties", {})
        schema["properties"] = {name: members[name] for name in [*first, *own]} | members


def _texts_of(shapes: Iterable[type]) -> Mapping[str, Mapping[str, str]]:
    """The docstrings of members by the names of shapes: of those named, and of all that stand in their modules."""
    found: dict[str, Mapping[str, str]] = {}
    for module in dict.fromkeys(sys.modules[shape.__module__] for shape in shapes):
        for name, shape in inspect.getmembers(module, inspect.isclass):
            found[name] = texts_of(shape)
    return found


def texts_of(shape: type) -> Mapping[str, str]:
    """The docstrings of a shape's members, its bases' among them."""
    texts: dict[str, str] = {}
    for base in reversed((*shape.__mro__, *getattr(shape, "__orig_bases__", ()))):
        module = sys.modules.get(getattr(base, "__module__", ""))
        if module is not None and module.__name__.startswith("sidecar_api."):
            texts |= _texts_in(module).get(base.__name__, {})
    return texts


@cache
def _texts_in(module: ModuleType) -> Mapping[str, Mapping[str, str]]:
    """By class and member, read from a module's source: only when a description is asked for; starting costs nothing."""
    classes = [node for node in ast.parse(inspect.getsource(module)).body if isinstance(node, ast.ClassDef)]
    return {one.name: dict(_documented(one)) for one in classes}


def _documented(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    """Names and the strings that stand behind them; a field's alias is its name."""
    for member, after in zip(node.body, node.body[1:], strict=False):
        if not (isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name)):
            continue
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str):
            yield _alias(member.value) or member.target.id, inspect.cleandoc(after.value.value).replace("\n", " ")


def _alias(value: ast.expr | None) -> str | None:
    for keyword in value.keywords if isinstance(value, ast.Call) else ():
        if keyword.arg == "alias" and isinstance(keyword.value, ast.Constant):
            return str(keyword.value.value)
    return None
