"""The contract as the harness reads it, with `unitask_api.contract`. Do not change the objects that are returned."""

import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, cast

import jsonschema_rs
import yaml
from unitask_api import contract, json_types
from unitask_api.contract import METHODS as METHODS
from unitask_api.contract import document as document

Rule = dict[str, Any]  # a JSON Schema
schemas = contract.components
fields = json_types.as_object
_CONTRACT = "urn:contract"
_SURROGATE = re.compile("[\ud800-\udfff]")


def component(name: str) -> Rule:
    """Return a component, or the schema of a query by the name of `query_of`."""
    return schemas().get(name) or _queries()[name]


@cache
def validator(component: str) -> jsonschema_rs.Draft202012Validator:
    """Return the validator of a component, or of a query."""
    reference = {"$ref": f"{_CONTRACT}#/components/schemas/{component}"}
    return jsonschema_rs.Draft202012Validator(reference, registry=_registry())


@cache
def _registry() -> jsonschema_rs.Registry:
    return jsonschema_rs.Registry([(_CONTRACT, {"components": {"schemas": {**schemas(), **_queries()}}})])


def allows(component: str, value: Any) -> bool:
    """Return whether a component allows a value."""
    return validator(component).is_valid(whole(value))


def whole(value: Any) -> Any:
    """Return a value with a question mark for each lone surrogate, which the validator does not accept."""
    text = json.dumps(value, ensure_ascii=False)
    return value if text.isascii() or not _SURROGATE.search(text) else json.loads(text.encode(errors="replace"))


@cache
def entries() -> dict[str, dict[str, Any]]:
    """Return the entries of the catalogue (x-tasks) by the names of their classes."""
    return {entry["name"]: entry for entry in document()["x-tasks"]}


def entry_of(model: object, task_type: object, given: object = None) -> dict[str, Any] | None:
    """Return the entry of a task with these names and this input; None for unknown ones."""
    return contract.choose(document()["x-tasks"], model, task_type, given)


def outputs_of(model: object, task_type: object) -> tuple[str, ...]:
    """Return the components of the outputs of tasks with these names."""
    return tuple(sorted({one.output for one in contract.named(model, task_type)}))


def examples() -> dict[str, dict[str, Any]]:
    """Return every documented body by its name."""
    found: dict[str, dict[str, Any]] = document()["components"]["examples"]
    return found


@cache
def error_rows() -> Mapping[str, Mapping[str, Any]]:
    """Return the rows of error-rows.yaml by name: known messages and codes of refusals and failed tasks."""
    rows: dict[str, Any] = yaml.safe_load(files("unitask_contract").joinpath("error-rows.yaml").read_text("utf-8"))
    return rows


@cache
def legacy_outputs(component: str) -> tuple[tuple[str, str], ...]:
    """Return pointer and component of each part of an output in a legacy answer; none for other answers."""
    return tuple(
        (pointer, output)
        for protocol, rules in document()["x-protocols"].items()
        if components_of(rules["poll"])["200"] == component
        for output in sorted({entry["output"] for entry in entries().values() if entry["protocol"] == protocol})
        for pointer in rules["output"].values()
    )


@cache
def operations() -> dict[str, dict[str, Any]]:
    """Return every operation by its operationId, webhooks included."""
    items = (*document()["paths"].values(), *document()["webhooks"].values())
    found = [item[method] for item in items for method in METHODS if method in item]
    return {operation["operationId"]: operation for operation in found}


def components_of(operation: str) -> Mapping[str, str]:
    """Return the component of each part of an operation with a body: "request", "200" and "default"."""
    return contract.operation(operation).components


def query_of(operation: str) -> str | None:
    """Return the name under which `component` has the schema of a query; None when there is no query."""
    name = f"{operation}?"
    return name if name in _queries() else None


@cache
def _queries() -> dict[str, Rule]:
    found: dict[str, Rule] = {}
    for name, operation in contract.operations().items():
        if given := {one["name"]: one for one in operation.parameters if one["in"] == "query"}:
            required = [key for key, one in given.items() if one.get("required")]
            properties = {key: one["schema"] for key, one in given.items()}
            found[f"{name}?"] = {"type": "object", "required": required, "properties": properties}
    return found


def family_of(operation: str) -> str:
    """Return the group of an operation; "core" for tasks of any family."""
    tag = contract.operation(operation).tag
    return "core" if tag == "task" else tag


@cache
def routes() -> dict[str, tuple[str, str]]:
    """Return method and path of each operation by its operationId, without webhooks."""
    return {name: (operation.method, operation.path) for name, operation in contract.operations().items()}


def pointer_of(operation: str) -> str:
    """Return the place of an operation in the document, as a JSON Pointer."""
    method, path = routes()[operation]
    return f"#/paths/{path.replace('~', '~0').replace('/', '~1')}/{method.lower()}"


def operation_of(method: str, path: str) -> str:
    """Return the operationId of a request; raise LookupError for an unknown one."""
    return contract.match(method, path)[0]


def items(value: object) -> list[Any]:
    """Return a value if it is a list, else an empty one."""
    return cast("list[object]", value) if isinstance(value, list) else []


def at(value: Any, pointer: str, default: Any = None) -> Any:
    """Return the part of a JSON value at a pointer through objects."""
    for step in pointer.split("/")[1:]:
        if not isinstance(value, dict) or step not in value:
            return default
        value = cast("dict[str, Any]", value)[step]
    return value
