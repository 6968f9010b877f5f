"""The contract as the harness reads it: the bundle that ships with the generated client."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

METHODS = ("get", "post", "put", "patch", "delete")


@cache
def document() -> dict[str, Any]:
    """The OpenAPI document. Do not change it."""
    found = find_spec("unitask_api")  # finds the package without importing it
    assert found
    assert found.origin
    read: dict[str, Any] = json.loads(Path(found.origin).with_name("openapi.json").read_text(encoding="utf-8"))
    return read


@cache
def validator(component: str) -> Draft202012Validator:
    """A validator for a component, not the one that the wrapper uses."""
    schema = {"$ref": f"#/components/schemas/{component}", "components": document()["components"]}
    return Draft202012Validator(schema)


def allows(component: str, value: Any) -> bool:
    """Whether a component allows a value."""
    holder: Any = validator(component)  # its types are of a later version
    return next(holder.iter_errors(value), None) is None


@cache
def entries() -> dict[str, dict[str, Any]]:
    """The catalogue (x-tasks) by the names of its classes."""
    return {entry["name"]: entry for entry in document()["x-tasks"]}


def outputs_of(model: object, task_type: object) -> tuple[str, ...]:
    """The components that the output of a task with these names may be one of; none for names that are not known."""
    named = (entry for entry in entries().values() if (entry["model"], entry["task_type"]) == (model, task_type))
    return tuple(sorted({entry["output"] for entry in named}))


@cache
def component_of(operation: str, part: str) -> str:
    """The component of a part of an operation, webhooks included: "request", "200" or "default".

    Raises:
        LookupError: There is no such operation.
    """
    for item in (*document()["paths"].values(), *document()["webhooks"].values()):
        for method in METHODS:
            if item.get(method, {}).get("operationId") == operation:
                found = item[method]
                holder = _resolved(found["requestBody"] if part == "request" else found["responses"][part])
                reference: str = holder["content"]["application/json"]["schema"]["$ref"]
                return reference.rpartition("/")[2]
    raise LookupError(f"the contract has no operation {operation}")


def _resolved(node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        target: Any = document()
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        node = target
    return node


@cache
def _routes() -> tuple[tuple[str, re.Pattern[str], str], ...]:
    return tuple(
        (method.upper(), re.compile(re.sub(r"\{[^}]*\}", "[^/]+", path)), item[method]["operationId"])
        for path, item in document()["paths"].items()
        for method in METHODS
        if method in item
    )


def route_of(operation: str) -> tuple[str, str]:
    """The method and the path of an operation.

    Raises:
        LookupError: The contract has no such operation.
    """
    for path, item in document()["paths"].items():
        for method in METHODS:
            if item.get(method, {}).get("operationId") == operation:
                return method.upper(), path
    raise LookupError(f"the contract has no operation {operation}")


def operation_of(method: str, path: str) -> str:
    """The operationId of a request.

    Raises:
        LookupError: The contract has no such operation.
    """
    for wanted, pattern, name in _routes():
        if wanted == method and pattern.fullmatch(path):
            return name
    raise LookupError(f"the contract has no operation {method} {path}")
