"""Places in the components of the spec, and the rules that speak of a value: value and schema, walked side by side.

Rules of this file: a place is a component and the steps in it, references followed: it can be edited there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from unitask_contract.bundle import items

Path = tuple[str | int, ...]
Schemas = Mapping[str, Any]
BRANCHING = ("anyOf", "oneOf")
_KINDS: Mapping[type, str] = {
    bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object", type(None): "null"
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the components of the spec.

    Attributes:
        component: Its name; empty: outside of all components.
        steps: The keys that lead there.
    """

    component: str
    steps: Path = ()

    def __str__(self) -> str:
        return f"#/components/schemas/{self.component}{pointer(self.steps)}"

    def below(self, *steps: str | int) -> Place:
        """A place further down."""
        return Place(self.component, (*self.steps, *steps))


Placed = tuple[Place, dict[str, Any]]  # a rule, and where it stands


def pointer(path: Path) -> str:
    """A path as text; the numbers in lists are stars."""
    return "".join(f"/{'*' if isinstance(step, int) else step}" for step in path)


def target(reference: str, schemas: Schemas) -> tuple[Place, Any]:
    """The place that a reference names, and what stands there: a component, or a part of one."""
    component, *steps = reference.removeprefix("#/components/schemas/").split("/")
    node: Any = schemas[component]
    for step in steps:
        node = node[step]
    return Place(component, tuple(steps)), node


def rules(schema: Any, place: Place, value: Any, schemas: Schemas) -> list[Placed]:
    """The schemas that speak of a value: references followed, every part of it, every branch of the value's type."""
    if not isinstance(schema, dict):
        return []
    node = cast("dict[str, Any]", schema)
    found: list[Placed] = [(place, node)] if _is_for(node, value) else []
    if "$ref" in node:
        there, referred = target(node["$ref"], schemas)
        found += rules(referred, there, value, schemas)
    for key in ("allOf", *BRANCHING):
        for number, branch in enumerate(node.get(key, [])):
            found += rules(branch, place.below(key, number), value, schemas)
    return found


def _is_for(schema: dict[str, Any], value: Any) -> bool:
    allowed, kind = schema.get("type"), kind_of(value)
    listed = items(allowed) or [allowed]
    return allowed is None or kind in listed or (kind == "integer" and "number" in listed)


def below(found: list[Placed], value: Any, step: str | int, schemas: Schemas) -> list[Placed]:
    """The schemas that speak of a part of a value."""
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
    """The parts of an object or a list."""
    if isinstance(value, dict):
        yield from cast("dict[str, Any]", value).items()
    else:
        yield from enumerate(items(value))


def is_named(found: list[Placed], name: str) -> bool:
    """Whether a schema names a field."""
    return any(name in schema.get("properties", {}) for _, schema in found)


def kind_of(value: Any) -> str:
    """The type of a value, in the words of JSON Schema."""
    return "integer" if isinstance(value, float) and value.is_integer() else _KINDS[type(value)]
