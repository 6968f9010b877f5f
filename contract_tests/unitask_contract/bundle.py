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


@cache
def entries() -> dict[str, dict[str, Any]]:
    """The catalogue (x-tasks) by the names of its classes."""
    return {entry["name"]: entry for entry in document()["x-tasks"]}


@cache
def families() -> tuple[str, ...]:
    """Every family of the catalogue, in alphabetical order."""
    return tuple(sorted({entry["family"] for entry in entries().values()}))


@cache
def _routes() -> tuple[tuple[str, re.Pattern[str], str], ...]:
    return tuple(
        (method.upper(), re.compile(re.sub(r"\{[^}]*\}", "[^/]+", path)), item[method]["operationId"])
        for path, item in document()["paths"].items()
        for method in METHODS
        if method in item
    )


def operation_of(method: str, path: str) -> str:
    """The operationId of a request.

    Raises:
        LookupError: The contract has no such operation.
    """
    for wanted, pattern, name in _routes():
        if wanted == method and pattern.fullmatch(path):
            return name
    raise LookupError(f"the contract has no operation {method} {path}")
