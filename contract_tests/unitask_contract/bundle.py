"""The contract as the harness reads it: `unitask_api.contract`, and what bodies and requests are held to."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any, cast

import jsonschema_rs
from unitask_api import contract
from unitask_api.contract import METHODS as METHODS
from unitask_api.contract import document as document

Rule = dict[str, Any]  # a JSON Schema
_CONTRACT = "urn:contract"
_HALF = re.compile("[\ud800-\udfff]")


def schemas() -> dict[str, Rule]:
    """Every component by its name. Do not change them."""
    return contract.components()


def component(name: str) -> Rule:
    """The schema of a component, or of the query of an operation. Do not change it."""
    return schemas().get(name) or _queries()[name]


@cache
def validator(component: str) -> jsonschema_rs.Draft202012Validator:
    """A validator for a component; `allows` takes every value that Python reads from JSON, it does not."""
    if component not in schemas():
        return jsonschema_rs.Draft202012Validator({**_queries()[component], "components": {"schemas": schemas()}})
    reference = {"$ref": f"{_CONTRACT}#/components/schemas/{component}"}
    return jsonschema_rs.Draft202012Validator(reference, registry=_registry())


@cache
def _registry() -> jsonschema_rs.Registry:
    return jsonschema_rs.Registry([(_CONTRACT, {"components": {"schemas": schemas()}})])


def allows(component: str, value: Any) -> bool:
    """Whether a component allows a value."""
    return validator(component).is_valid(whole(value))


def whole(value: Any) -> Any:
    """The value with a question mark for each half of a character, which the validator does not take."""
    text = json.dumps(value, ensure_ascii=False)
    return value if text.isascii() or not _HALF.search(text) else json.loads(text.encode(errors="replace"))


@cache
def entries() -> dict[str, dict[str, Any]]:
    """The catalogue (x-tasks) by the names of its classes."""
    return {entry["name"]: entry for entry in document()["x-tasks"]}


def entry_of(model: object, task_type: object, given: object = None) -> dict[str, Any] | None:
    """What a task with these names and this input is in the catalogue; None for what is not known."""
    return contract.choose(document()["x-tasks"], model, task_type, given)


def entries_of(model: object, task_type: object) -> list[dict[str, Any]]:
    """What a task with these names may be in the catalogue; nothing for names that are not known, or no names."""
    return [entries()[one.name] for one in contract.named(model, task_type)]


def outputs_of(model: object, task_type: object) -> tuple[str, ...]:
    """The components that the output of a task with these names may be one of; none for names that are not known."""
    return tuple(sorted({one.output for one in contract.named(model, task_type)}))


def examples() -> dict[str, dict[str, Any]]:
    """Every documented body by its name, with what it is an example of. Do not change them."""
    found: dict[str, dict[str, Any]] = document()["components"]["examples"]
    return found


@cache
def legacy_outputs(component: str) -> tuple[tuple[str, str], ...]:
    """Where answers of the API before have the parts of an output: pointer and component; of other answers none."""
    return tuple(
        (pointer, output)
        for protocol, rules in document()["x-protocols"].items()
        if components_of(rules["poll"])["200"] == component
        for output in sorted({entry["output"] for entry in entries().values() if entry["protocol"] == protocol})
        for pointer in rules["output"].values()
    )


@cache
def operations() -> dict[str, dict[str, Any]]:
    """Every operation by its operationId, webhooks included."""
    items = (*document()["paths"].values(), *document()["webhooks"].values())
    found = [item[method] for item in items for method in METHODS if method in item]
    return {operation["operationId"]: operation for operation in found}


def components_of(operation: str) -> Mapping[str, str]:
    """The component of each part of an operation that has a body: "request", "200" and "default"."""
    return contract.operation(operation).components


def query_of(operation: str) -> str | None:
    """The name under which `component` has the schema of an operation's query; None: it has no query."""
    name = f"{operation}?"
    return name if name in _queries() else None


@cache
def _queries() -> dict[str, Rule]:
    found: dict[str, Rule] = {}
    for name, operation in contract.operations().items():
        given = [one for one in operation.parameters if one["in"] == "query"]
        if given:
            needed = [one["name"] for one in given if one.get("required")]
            properties = {one["name"]: one["schema"] for one in given}
            found[f"{name}?"] = {"type": "object", "required": needed, "properties": properties}
    return found


def family_of(operation: str) -> str:
    """The family of an operation: the kind of what it is about, "core" for tasks of any family."""
    tag = contract.operation(operation).tag
    return "core" if tag == "task" else tag


def component_of(operation: str, part: str) -> str:
    """The component of a part of an operation, webhooks included: "request", "200" or "default".

    Raises:
        LookupError: There is no such operation, or the part has no body.
    """
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


@cache
def routes() -> dict[str, tuple[str, str]]:
    """Method and path of each operation, by its operationId."""
    return {name: (operation.method, operation.path) for name, operation in contract.operations().items()}


def route_of(operation: str) -> tuple[str, str]:
    """The method and the path of an operation.

    Raises:
        LookupError: The contract has no such operation.
    """
    if operation not in routes():
        raise LookupError(f"the contract has no operation {operation}")
    return routes()[operation]


def operation_of(method: str, path: str) -> str:
    """The operationId of a request.

    Raises:
        LookupError: The contract has no such operation.
    """
    return contract.match(method, path)[0]
