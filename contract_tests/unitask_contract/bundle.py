"""The contract as the harness reads it: the bundle that ships with the generated client."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from jsonschema import Draft202012Validator

Rule = dict[str, Any]  # a JSON Schema
METHODS = ("get", "post", "put", "patch", "delete")


@cache
def document() -> dict[str, Any]:
    """The OpenAPI document. Do not change it."""
    found = find_spec("unitask_api")  # finds the package without importing it
    assert found
    assert found.origin
    read: dict[str, Any] = json.loads(Path(found.origin).with_name("openapi.json").read_text(encoding="utf-8"))
    return read


def schemas() -> dict[str, Rule]:
    """Every component by its name. Do not change them."""
    found: dict[str, Rule] = document()["components"]["schemas"]
    return found


def component(name: str) -> Rule:
    """The schema of a component, or of the query of an operation. Do not change it."""
    return schemas().get(name) or _queries()[name]


@cache
def validator(component: str) -> Draft202012Validator:
    """A validator for a component, not the one that the wrapper uses."""
    rule = {"$ref": f"#/components/schemas/{component}"} if component in schemas() else _queries()[component]
    schema = {**rule, "components": document()["components"]}
    return Draft202012Validator(schema)


def allows(component: str, value: Any) -> bool:
    """Whether a component allows a value."""
    holder: Any = validator(component)  # its types are of a later version
    return next(holder.iter_errors(value), None) is None


@cache
def entries() -> dict[str, dict[str, Any]]:
    """The catalogue (x-tasks) by the names of its classes."""
    return {entry["name"]: entry for entry in document()["x-tasks"]}


@cache
def _by_names() -> dict[tuple[str, str], list[dict[str, Any]]]:
    found: defaultdict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for entry in entries().values():
        found[entry["model"], entry["task_type"]].append(entry)
    return dict(found)


def entries_of(model: object, task_type: object) -> list[dict[str, Any]]:
    """What a task with these names may be in the catalogue; nothing for names that are not known, or no names."""
    if isinstance(model, str) and isinstance(task_type, str):
        return _by_names().get((model, task_type), [])
    return []


def outputs_of(model: object, task_type: object) -> tuple[str, ...]:
    """The components that the output of a task with these names may be one of; none for names that are not known."""
    return tuple(sorted({entry["output"] for entry in entries_of(model, task_type)}))


def examples() -> dict[str, dict[str, Any]]:
    """Every documented body by its name, with what it is an example of. Do not change them."""
    found: dict[str, dict[str, Any]] = document()["components"]["examples"]
    return found


@cache
def places_of(component: str) -> tuple[tuple[str, str], ...]:
    """Where answers of the API before have the parts of an output: pointer and component; of other answers none."""
    return tuple(
        (pointer, output)
        for protocol, rules in document()["x-protocols"].items()
        if components_of(rules["look"])["200"] == component
        for output in sorted({entry["output"] for entry in entries().values() if entry["protocol"] == protocol})
        for pointer in rules["output"].values()
    )


@cache
def operations() -> dict[str, dict[str, Any]]:
    """Every operation by its operationId, webhooks included."""
    items = (*document()["paths"].values(), *document()["webhooks"].values())
    found = [item[method] for item in items for method in METHODS if method in item]
    return {operation["operationId"]: operation for operation in found}


@cache
def components_of(operation: str) -> dict[str, str]:
    """The component of each part of an operation that has a body: "request", "200" and "default"."""
    found = operations()[operation]
    parts = {"request": found.get("requestBody", {}), **found["responses"]}
    bodies = {part: _resolved(holder).get("content", {}) for part, holder in parts.items()}
    schemas = [(part, media["schema"]) for part, body in bodies.items() for media in body.values() if "schema" in media]
    return {part: schema["$ref"].rpartition("/")[2] for part, schema in schemas}


def query_of(operation: str) -> str | None:
    """The name under which `component` has the schema of an operation's query; None: it has no query."""
    name = f"{operation}?"
    return name if name in _queries() else None


@cache
def _queries() -> dict[str, Rule]:
    found: dict[str, Rule] = {}
    for name, operation in operations().items():
        given = [one for one in map(_resolved, operation.get("parameters", ())) if one["in"] == "query"]
        if given:
            needed = [one["name"] for one in given if one.get("required")]
            properties = {one["name"]: one["schema"] for one in given}
            found[f"{name}?"] = {"type": "object", "required": needed, "properties": properties}
    return found


def family_of(operation: str) -> str:
    """The family of an operation: the kind of what it is about, "core" for tasks of any family."""
    tag: str = operations()[operation]["tags"][0]
    return "core" if tag == "task" else tag


def component_of(operation: str, part: str) -> str:
    """The component of a part of an operation, webhooks included: "request", "200" or "default".

    Raises:
        LookupError: There is no such operation, or the part has no body.
    """
    if operation not in operations():
        raise LookupError(f"the contract has no operation {operation}")
    return components_of(operation)[part]


def fields(value: object) -> dict[str, Any]:
    """The value if it is an object, else one without fields."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def items(value: object) -> list[Any]:
    """The value if it is a list, else an empty one."""
    return cast("list[object]", value) if isinstance(value, list) else []


def at(value: Any, pointer: str, default: Any = None) -> Any:
    """The part of a JSON value that a pointer names; the default where there is none."""
    for step in pointer.split("/")[1:]:
        if not isinstance(value, dict) or step not in value:
            return default
        value = cast("dict[str, Any]", value)[step]
    return value


def _resolved(node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        node = at(document(), node["$ref"].removeprefix("#"))
    return node


@cache
def routes() -> dict[str, tuple[str, str]]:
    """Method and path of each operation, by its operationId."""
    return {
        item[method]["operationId"]: (method.upper(), path)
        for path, item in document()["paths"].items()
        for method in METHODS
        if method in item
    }


@cache
def _patterns() -> tuple[tuple[str, re.Pattern[str], str], ...]:
    return tuple(
        (method, re.compile(re.sub(r"\{[^}]*\}", "[^/]+", path)), name) for name, (method, path) in routes().items()
    )


def route_of(operation: str) -> tuple[str, str]:
    """The method and the path of an operation.

    Raises:
        LookupError: The contract has no such operation.
    """
    if operation not in routes():
        raise LookupError(f"the contract has no operation {operation}")
    return routes()[operation]


@lru_cache(maxsize=4096)
def operation_of(method: str, path: str) -> str:
    """The operationId of a request.

    Raises:
        LookupError: The contract has no such operation.
    """
    for wanted, pattern, name in _patterns():
        if wanted == method and pattern.fullmatch(path):
            return name
    raise LookupError(f"the contract has no operation {method} {path}")
