"""The spec at run time: the bundle that ships with the generated client, read once and only when it is needed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ._json import is_object, same


@dataclass(frozen=True, slots=True)
class TaskType:
    """One entry of the catalogue (x-tasks).

    Attributes:
        name: The class in `unitask.tasks`.
        family: The module it is in.
        model: First half of its name on the wire.
        task_type: Second half of its name on the wire.
        input: The schema of its input.
        output: The schema of its output.
        price_usd: The published price, None when there is none; of several, the first.
        price_per: What the price is for.
        price: The whole price as the spec has it (spec/generator/prices.py), None when there is none.
        typical_seconds: How long such a task usually takes.
        docs: The page that describes it, with its date.
        protocol: "unified", or an entry of x-protocols.
        create: The operation that creates such a task.
        match: Fields of the input that tell it from other entries of the same name, with their values.
    """

    name: str
    family: str
    model: str
    task_type: str
    input: str
    output: str
    price_usd: float | None
    price_per: str | None
    price: dict[str, Any] | None
    typical_seconds: float
    docs: str
    protocol: str
    create: str
    match: Mapping[str, Any]


@cache
def catalogue() -> dict[str, Any]:
    """The rules of the spec without the words about them (`rules` of spec/generator/catalogue.py). Do not change it."""
    document: dict[str, Any] = json.loads(_data("unitask.tasks", "catalogue.json"))
    return document


@cache
def bundle() -> dict[str, Any]:
    """The whole OpenAPI document, with its words and examples. Do not change it."""
    document: dict[str, Any] = json.loads(_data("unitask_api", "openapi.json"))
    return document


@cache
def task_types() -> dict[str, TaskType]:
    """The catalogue, by name."""
    return {entry["name"]: _task_type(entry) for entry in catalogue()["x-tasks"]}


def find_task_type(model: str, task_type: str, given: Mapping[str, Any] = MappingProxyType({})) -> TaskType | None:
    """The entry of the catalogue for a task, None if there is none.

    Args:
        model: First half of its name on the wire.
        task_type: Second half of its name on the wire.
        given: Its input. Of several entries with one name, the one that fixes the most of its fields is meant; without
            an input, the one that fixes none.
    """
    for entry in named(model, task_type):
        if all(same(given.get(name), value) for name, value in entry.match.items()):
            return entry
    return None


def named(model: str, task_type: str) -> Sequence[TaskType]:
    """All entries of the catalogue with this name on the wire; those that fix more fields of the input come first."""
    return _by_name().get((model, task_type), ())


@cache
def _by_name() -> dict[tuple[str, str], list[TaskType]]:
    found: dict[tuple[str, str], list[TaskType]] = {}
    for entry in sorted(task_types().values(), key=lambda entry: -len(entry.match)):
        found.setdefault((entry.model, entry.task_type), []).append(entry)
    return found


@cache
def operation(name: str) -> tuple[str, str]:
    """Method and path of an operation, by its operationId."""
    for path, item in catalogue()["paths"].items():
        for method, described in item.items():
            if is_object(described) and described.get("operationId") == name:
                return method.upper(), path
    raise LookupError(f"the spec has no operation {name!r}")


def upload_server() -> str:
    """Scheme and host of the server that takes uploads, which is not the one that takes tasks."""
    server: str = catalogue()["paths"][operation("upload_file")[1]]["servers"][0]["url"]
    return server


def resolve(rule: dict[str, Any]) -> dict[str, Any]:
    """A schema, or the component that it refers to, also if it may be null instead."""
    branches = (rule, *rule.get("anyOf", []))
    name: str = next((branch["$ref"] for branch in branches if "$ref" in branch), "").rpartition("/")[2]
    found: dict[str, Any] = catalogue()["components"]["schemas"][name] if name else rule
    return found


def field_rule(schema: str, field: str) -> dict[str, Any]:
    """The rules of a field of a component; empty when it has no such field."""
    rule: dict[str, Any] = catalogue()["components"]["schemas"][schema]["properties"].get(field, {})
    return rule


def _data(package: str, name: str) -> bytes:
    """A file of a package, without importing the package. The package may be in a zip, which its loader can read."""
    found = find_spec(package)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(f"{package} is not installed; reinstall unitask")
    loader: Any = found.loader
    content: bytes = loader.get_data(str(Path(found.origin).with_name(name)))
    return content


def _task_type(entry: dict[str, Any]) -> TaskType:
    price: dict[str, Any] = entry.get("price") or {}
    return TaskType(
        **{field: entry[field] for field in ("name", "family", "model", "task_type", "input", "output")},
        price_usd=price.get("usd"),
        price_per=price.get("per"),
        price=entry.get("price"),
        typical_seconds=float(entry["typical_seconds"]["value"]),
        docs=f"{entry['docs']['page']} ({entry['docs']['date']})",
        protocol=entry["protocol"],
        create=entry.get("create", "create_task"),
        match=entry.get("match", {}),
    )
