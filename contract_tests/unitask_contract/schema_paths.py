"""Places in the components of the spec, and the schemas that apply to a value.

A place is a component and the steps in it, with references followed: the text of the spec can be edited there.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from unitask_contract.bundle import items

Path = tuple[str | int, ...]
Schemas = Mapping[str, Any]
BRANCHING = ("anyOf", "oneOf")
_TYPES: Mapping[type, str] = {
    bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object", type(None): "null"
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the components of the spec."""

    component: str  # empty outside of all components
    steps: Path = ()

    def __str__(self) -> str:
        return "/".join(["#/components/schemas", self.component, *map(str, self.steps)])

    def below(self, *steps: str | int) -> Place:
        return Place(self.component, (*self.steps, *steps))


Placed = tuple[Place, dict[str, Any]]  # a schema and its place


def pointer(path: Path) -> str:
    """Return a path as text, with a star for each index of a list."""
    return "".join(f"/{'*' if isinstance(step, int) else step}" for step in path)


def target(reference: str, schemas: Schemas) -> tuple[Place, Any]:
    """Return the place that a reference names, a component or a part of one, and the schema there."""
    component, *steps = reference.removeprefix("#/components/schemas/").split("/")
    node: Any = schemas[component]
    for step in steps:
        node = node[step]
    return Place(component, tuple(steps)), node


def rules(schema: Any, place: Place, value: Any, schemas: Schemas) -> list[Placed]:
    """Return the schemas that apply to a value: references, every part, and each branch of the value's type."""
    if not isinstance(schema, dict):
        return []
    node = cast("dict[str, Any]", schema)
    found: list[Placed] = [(place, node)] if _is_of_type(node, value) else []
    if "$ref" in node:
        there, referred = target(node["$ref"], schemas)
        found += rules(referred, there, value, schemas)
    for key in ("allOf", *BRANCHING):
        for number, branch in enumerate(node.get(key, [])):
            found += rules(branch, place.below(key, number), value, schemas)
    return found


def _is_of_type(schema: dict[str, Any], value: Any) -> bool:
    allowed, kind = schema.get("type"), type_of(value)
    listed = items(allowed) or [allowed]
    return allowed is None or kind in listed or (kind == "integer" and "number" in listed)


def below(found: list[Placed], value: Any, step: str | int, schemas: Schemas) -> list[Placed]:
    """Return the schemas that apply to one part of a value, given those of the whole and its key or index."""
    inner: list[Placed] = []
    for place, schema in found:
        if isinstance(step, int):
            inner += rules(schema.get("items"), place.below("items"), value, schemas)
        elif step in schema.get("properties", {}):
            inner += rules(schema["properties"][step], place.below("properties", step), value, schemas)
        else:
            other = schema.get("additionalProperties")
            inner += rules(other, place.below("additionalProperties"), value, schemas)
    return inner


def parts(value: Any) -> Iterator[tuple[str | int, Any]]:
    """Yield the parts of an object or a list, with their keys or indexes."""
    if isinstance(value, dict):
        yield from cast("dict[str, Any]", value).items()
    else:
        yield from enumerate(items(value))


def is_named(found: list[Placed], name: str) -> bool:
    """Return whether one of the schemas names a field."""
    return any(name in schema.get("properties", {}) for _, schema in found)


def type_of(value: Any) -> str:
    """Return the JSON Schema type of a value."""
    return "integer" if isinstance(value, float) and value.is_integer() else _TYPES[type(value)]


def form_of(value: Any) -> Hashable:
    """Return the type of a value; of a list also the forms of its items."""
    return frozenset(map(form_of, cast("list[object]", value))) if isinstance(value, list) else type_of(value)
