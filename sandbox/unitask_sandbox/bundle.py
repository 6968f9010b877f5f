"""The spec at run time: routes, catalogue and schemas, from the bundle that ships with the generated client.

The sandbox reads the file and imports nothing of the client: it is the second witness of the spec, and must not share
the first one's mistakes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError

from unitask_sandbox.failures import Refusal

CREDITS_PER_USD = 10_000_000  # inferred from five published prices
MOST_FAULTS = 100  # looked for, to tell the first three: a body can have as many as it has parts
_METHODS = ("get", "post", "put", "patch", "delete")
_INT64 = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the spec.

    Attributes:
        bearer: Whether the key comes as a bearer token, instead of in x-api-key.
        body: The component schema of its JSON body; None when it has none.
    """

    name: str
    method: str
    path: str
    parameters: tuple[dict[str, Any], ...]
    bearer: bool
    body: str | None


@dataclass(frozen=True, slots=True)
class TaskType:
    """One entry of the catalogue (x-tasks).

    Attributes:
        family: The group of task types that it belongs to.
        input: The component schema of its input.
        output: The component schema of its output.
        match: Fields of the input that tell it apart from another entry of the same name.
        media: The input fields that hold media, with their kind ("image", ...).
        price: What it costs, as the spec has it; empty when no source says.
        typical_seconds: How long such a task usually takes.
    """

    model: str
    task_type: str
    family: str
    input: str
    output: str
    match: Mapping[str, Any]
    media: Mapping[str, str]
    price: Mapping[str, Any]
    typical_seconds: float


@cache
def document() -> dict[str, Any]:
    """The whole OpenAPI document. Do not change it."""
    found = find_spec("unitask_api")  # finds the package without importing it
    if found is None or found.origin is None:
        raise ModuleNotFoundError("the spec is missing: unitask_api is not installed; reinstall unitask")
    loaded: dict[str, Any] = json.loads(Path(found.origin).with_name("openapi.json").read_bytes())
    return loaded


def component(name: str) -> dict[str, Any]:
    """A component schema."""
    schema: dict[str, Any] = document()["components"]["schemas"][name]
    return schema


@cache
def operations() -> dict[str, Operation]:
    """Every operation, by its operationId."""
    found = (
        Operation(
            name=item[method]["operationId"],
            method=method.upper(),
            path=path,
            parameters=_parameters(item, item[method]),
            bearer=any("Bearer" in way for way in item[method].get("security", [])),
            body=_body(item[method]),
        )
        for path, item in document()["paths"].items()
        for method in _METHODS
        if method in item
    )
    return {operation.name: operation for operation in found}


def _body(operation: dict[str, Any]) -> str | None:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    return content and str(content["schema"]["$ref"]).rpartition("/")[2]


def _parameters(item: dict[str, Any], operation: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    given = [*item.get("parameters", []), *operation.get("parameters", [])]
    return tuple(_resolved(parameter) for parameter in given)


def _resolved(node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        target: Any = document()
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        node = target
    return node


@cache
def task_types() -> tuple[TaskType, ...]:
    """The catalogue of the unified protocol; of entries of one name, those that match the most fields come first."""
    entries = (_task_type(entry) for entry in document()["x-tasks"] if entry["protocol"] == "unified")
    return tuple(sorted(entries, key=lambda entry: -len(entry.match)))


def task_type(model: str, task_type: str, given: Mapping[str, Any]) -> TaskType:
    """The entry of the catalogue that a create is of.

    Raises:
        Refusal: 400, there is none.
    """
    for entry in task_types():
        named = (entry.model, entry.task_type) == (model, task_type)
        if named and all(given.get(name) == value for name, value in entry.match.items()):
            return entry
    raise no_such_task(model, task_type)


def no_such_task(model: str, task_type: str) -> Refusal:
    """The refusal of a create of what is not in the catalogue."""
    return Refusal(400, f"invalid request: no such task: model {model[:100]!r}, task_type {task_type[:100]!r}")


def _task_type(entry: dict[str, Any]) -> TaskType:
    fields = component(entry["input"]).get("properties", {})
    return TaskType(
        model=entry["model"],
        task_type=entry["task_type"],
        family=entry["family"],
        input=entry["input"],
        output=entry["output"],
        match=entry.get("match", {}),
        media={name: schema["x-media"]["kind"] for name, schema in fields.items() if "x-media" in schema},
        price=entry.get("price", {}),
        typical_seconds=float(entry["typical_seconds"]["value"]),
    )


def legacy_entry(operation: str) -> Mapping[str, Any]:
    """The entry of the catalogue that a legacy create is of; empty when it has none."""
    entries: list[dict[str, Any]] = document()["x-tasks"]
    return next((entry for entry in entries if entry.get("create") == operation), dict[str, Any]())


def check(component: str, value: Any, at: str = "") -> None:
    """Refuse a value that does not match a component schema.

    Raises:
        Refusal: 400, with the path (below `at`) and the reason of each of the first three faults.
    """
    _refuse_faults(_validator(component), value, at)


@cache
def _validator(component: str) -> Draft202012Validator:
    schema = {"$ref": f"#/components/schemas/{component}", "components": document()["components"]}
    formats: Any = FormatChecker(formats=())
    formats.checks("int64")(_is_int64)
    return Draft202012Validator(schema, format_checker=formats)


def _is_int64(value: object) -> bool:
    return not isinstance(value, int) or -_INT64 - 1 <= value <= _INT64


def query(operation: str, given: Mapping[str, str]) -> dict[str, Any]:
    """The query parameters of an operation, as their schemas say.

    Raises:
        Refusal: 400, one is missing or malformed.
    """
    declared = [part for part in operations()[operation].parameters if part["in"] == "query"]
    read = {part["name"]: _typed(given[part["name"]], part["schema"]) for part in declared if part["name"] in given}
    schema = {
        "required": [part["name"] for part in declared if part.get("required")],
        "properties": {part["name"]: part["schema"] for part in declared},
    }
    _refuse_faults(Draft202012Validator(schema), read, "")
    return read


def _typed(text: str, schema: dict[str, Any]) -> int | str:
    """The value that a query parameter spells; the text itself when it spells none of its type."""
    if schema.get("type") == "integer" and re.fullmatch(r"-?[0-9]{1,19}", text) and abs(int(text)) <= _INT64:
        return int(text)
    return text


def _refuse_faults(validator: Any, value: Any, at: str) -> None:
    found: list[ValidationError] = sorted(islice(validator.iter_errors(value), MOST_FAULTS), key=_path)
    if found:
        raise Refusal(400, "invalid request: " + "; ".join(_words(fault, at) for fault in found[:3]))


def _path(fault: ValidationError) -> str:
    return fault.json_path


def _words(fault: ValidationError, at: str) -> str:
    """A fault in few words; jsonschema's own would quote the whole value."""
    path = (at + fault.json_path.removeprefix("$")).lstrip(".")[:100]
    rule, limit = str(fault.validator), fault.validator_value
    if rule == "required":
        return f"{fault.message} of {path}" if path else fault.message
    if rule == "type":
        return f"{path or 'the body'} must be of type {limit}"
    return f"{path or 'the body'} does not meet {rule} {str(limit)[:100]}"
