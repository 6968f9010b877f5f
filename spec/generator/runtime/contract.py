"""Read openapi.json: its components, operations and task types.

The generator copies this module into the package, beside openapi.json. The client, the local provider and the contract
tests all read the document with it. Callers must not change the returned objects.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from .json_types import as_object, same

METHODS = ("get", "post", "put", "patch", "delete")
Node = dict[str, Any]  # an object of the document


@dataclass(frozen=True, slots=True)
class TaskType:
    """One task type, from x-tasks.

    Attributes:
        name: The name of its class in `unitask.tasks`.
        family: The group of task types that it belongs to.
        model: `model` of the create request.
        task_type: `task_type` of the create request.
        input: The component of its input.
        output: The component of its output.
        price_usd: The first published rate in USD; None without a published price.
        price_per: The unit of that rate.
        price: The whole price (spec/generator/prices.py describes it); None without a published price.
        typical_seconds: How long such a task usually takes, in seconds.
        docs: The page that describes it, with its date.
        protocol: "unified", or a key of x-protocols.
        create: The operation that creates such a task.
        match: Input fields and values that distinguish it from task types with the same model and task_type.
    """

    name: str
    family: str
    model: str
    task_type: str
    input: str
    output: str
    price_usd: float | None
    price_per: str | None
    price: Node | None
    typical_seconds: float
    docs: str
    protocol: str
    create: str
    match: Mapping[str, Any]

    @property
    def media(self) -> dict[str, str]:
        """The input fields that hold a file, with its kind ("image", "video", ...)."""
        fields = component(self.input).get("properties", {})
        return {name: rule["x-media"]["kind"] for name, rule in fields.items() if "x-media" in rule}


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation, or one webhook.

    Attributes:
        id: Its operationId.
        method: The HTTP method in capitals.
        path: The path with its parameters in braces; for a webhook, its name.
        tag: Its first tag.
        parameters: Its parameters, references resolved, those of the path included.
        bearer: Whether the key is sent as a bearer token instead of in x-api-key.
        keyless: Whether it is also carried out without a key.
        components: The component of each body: of "request" and of each response ("200", "default").
        server: Scheme and host, when they differ from those of the other operations.
    """

    id: str
    method: str
    path: str
    tag: str
    parameters: tuple[Node, ...]
    bearer: bool
    keyless: bool
    components: Mapping[str, str]
    server: str | None


@cache
def document() -> Node:
    """Return the whole OpenAPI document."""
    # through the loader, because the package may be in a zip file
    spec: Any = __spec__
    loaded: Node = json.loads(spec.loader.get_data(str(Path(__file__).with_name("openapi.json"))))
    return loaded


def components() -> dict[str, Node]:
    """Return every component schema, by name."""
    found: dict[str, Node] = document()["components"]["schemas"]
    return found


def component(name: str) -> Node:
    """Return a component schema.

    Raises:
        KeyError: There is no such component.
    """
    return components()[name]


def field_rule(name: str, field: str) -> Node:
    """Return the schema of a field of a component; empty without such a field."""
    rule: Node = component(name)["properties"].get(field, {})
    return rule


def resolve(rule: Node) -> Node:
    """Return a schema, or the component that it, or one of its anyOf branches, refers to."""
    branches: Iterable[Node] = (rule, *rule.get("anyOf", ()))
    reference = next((branch["$ref"] for branch in branches if "$ref" in branch), None)
    return component(reference.rpartition("/")[2]) if reference else rule


@cache
def task_types() -> Mapping[str, TaskType]:
    """Return every task type by its name."""
    return {entry["name"]: _task_type(entry) for entry in document()["x-tasks"]}


def named(model: object, task_type: object) -> tuple[TaskType, ...]:
    """Return the task types with this model and task_type: usually one, none when unknown."""
    return tuple(task_types()[entry["name"]] for entry in _entries(model, task_type))


def find(model: object, task_type: object, given: object = None) -> TaskType | None:
    """Return the task type of a create request or of a task.

    Args:
        model: Its `model`.
        task_type: Its `task_type`.
        given: Its `input`, if known.

    Returns:
        The task type; of several with the same names, the one whose `match` holds and has the most fields. None when
        nothing fits.
    """
    entry = choose(_entries(model, task_type), model, task_type, given)
    return task_types()[entry["name"]] if entry else None


def _entries(model: object, task_type: object) -> Sequence[Node]:
    """Return the entries of x-tasks with this model and task_type."""
    are_texts = isinstance(model, str) and isinstance(task_type, str)
    return _entries_by_names().get((model, task_type), ()) if are_texts else ()


@cache
def _entries_by_names() -> Mapping[tuple[object, object], Sequence[Node]]:
    found: dict[tuple[object, object], list[Node]] = {}
    for entry in document()["x-tasks"]:
        found.setdefault((entry["model"], entry["task_type"]), []).append(entry)
    return found


def choose(entries: Iterable[Node], model: object, task_type: object, given: object = None) -> Node | None:
    """Do the same as `find` for the entries of another document."""
    fields = as_object(given)
    fitting = [
        entry
        for entry in entries
        if (entry["model"], entry["task_type"]) == (model, task_type)
        and all(name in fields and same(fields[name], value) for name, value in entry.get("match", {}).items())
    ]
    return max(fitting, key=lambda entry: len(entry.get("match", {})), default=None)


@cache
def operations() -> Mapping[str, Operation]:
    """Return every operation that a client calls, by its operationId."""
    return _operations("paths")


@cache
def webhooks() -> Mapping[str, Operation]:
    """Return every webhook that the provider calls, by its operationId."""
    return _operations("webhooks")


def operation(name: str) -> Operation:
    """Return an operation or a webhook.

    Raises:
        LookupError: There is no such operation.
    """
    found = operations().get(name) or webhooks().get(name)
    if found is None:
        raise LookupError(f"the contract has no operation {name}")
    return found


@lru_cache(maxsize=4096)
def match(method: str, path: str) -> tuple[str, tuple[str, ...]]:
    """Return the operationId of a request, and the values in its path as they were sent.

    Raises:
        LookupError: There is no such operation.
    """
    for name, wanted, pattern in _routes():
        if wanted == method and (found := pattern.fullmatch(path)):
            return name, found.groups()
    raise LookupError(f"the contract has no operation {method} {path}")


@cache
def _routes() -> tuple[tuple[str, str, re.Pattern[str]], ...]:
    ordered = sorted(operations().values(), key=lambda operation: operation.path)  # "{" comes after every letter
    return tuple((one.id, one.method, re.compile(re.sub(r"\{[^}]*\}", "([^/]+)", one.path))) for one in ordered)


def _task_type(entry: Node) -> TaskType:
    price: Node | None = entry.get("price")
    price = price and {key: value for key, value in price.items() if key != "x-source"}
    return TaskType(
        **{key: entry[key] for key in ("name", "family", "model", "task_type", "input", "output", "protocol")},
        price_usd=price["usd"] if price else None,
        price_per=price["per"] if price else None,
        price=price,
        typical_seconds=float(entry["typical_seconds"]["value"]),
        docs=f"{entry['docs']['page']} ({entry['docs']['date']})",
        create=entry.get("create", "create_task"),
        match=entry.get("match", {}),
    )


def _operations(section: str) -> dict[str, Operation]:
    found = (
        Operation(
            id=item[method]["operationId"],
            method=method.upper(),
            path=path,
            tag=item[method]["tags"][0],
            parameters=tuple(map(_resolved, (*item.get("parameters", ()), *item[method].get("parameters", ())))),
            bearer=any("Bearer" in way for way in item[method].get("security", ())),
            keyless={} in item[method].get("security", ()),
            components=_components(item[method]),
            server=item["servers"][0]["url"] if "servers" in item else None,
        )
        for path, item in document()[section].items()
        for method in METHODS
        if method in item
    )
    return {operation.id: operation for operation in found}


def _components(described: Node) -> dict[str, str]:
    parts = {"request": described.get("requestBody", {}), **described["responses"]}
    return {
        part: content["schema"]["$ref"].rpartition("/")[2]
        for part, holder in parts.items()
        for content in _resolved(holder).get("content", {}).values()
        if "schema" in content
    }


def _resolved(node: Node) -> Node:
    """Return a node, or the part of the document that it refers to."""
    while "$ref" in node:
        target: Any = document()
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        node = target
    return node
