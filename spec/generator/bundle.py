"""Merge the files under spec/ into one OpenAPI document.

Each file is a fragment of that document, and its references already name their place in it. So nothing is resolved,
renamed or inlined. A name that two files define is an error.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from .runtime.contract import choose

Document = dict[str, Any]


class SpecError(Exception):
    """The spec contradicts itself; the message names the file."""


class _Loader(yaml.CSafeLoader):
    """YAML with the types of JSON: a date stays a string."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def load_yaml(path: Path) -> Any:
    """Return the content of a YAML file, with JSON's types only."""
    with path.open(encoding="utf-8") as file:
        return yaml.load(file, _Loader)  # noqa: S506 - a safe loader, less its timestamps


def bundle(spec: Path) -> Document:
    """Return the document of the spec folder, in an order that does not depend on the file system.

    Raises:
        SpecError: A name is defined twice, or an example names an unknown operation.
    """
    document: Document = load_yaml(spec / "openapi.yaml")
    for path in [*_files(spec / "paths"), *_files(spec / "legacy")]:
        _add(document["paths"], load_yaml(path), path)
    document["webhooks"] = load_yaml(spec / "webhooks.yaml")
    schemas: Document = {}
    for path in _files(spec / "schemas"):
        _add(schemas, load_yaml(path), path)
    tasks: list[Document] = []
    for path in _files(spec / "tasks"):
        family = load_yaml(path)
        _add(schemas, family["schemas"], path)
        tasks += [{"name": task["name"], "family": path.stem, **task} for task in family["tasks"]]
    document["components"]["schemas"] = json.loads(json.dumps(dict(sorted(schemas.items()))))  # no shared anchors
    document["x-tasks"] = json.loads(json.dumps(tasks))
    by_name = {**document, "x-tasks": {task["name"]: task for task in document["x-tasks"]}}
    for change in load_yaml(spec / "observed.yaml") or ():
        _apply(by_name, change)
    for recording in load_yaml(spec / "confirmed.yaml") or ():
        _confirm(by_name, recording)
    _attach_examples(document, spec / "examples")
    document["x-sources"] = load_yaml(spec / "sources.yaml")
    return document


def as_text(document: Document) -> str:
    """Return the document as JSON text."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def operations(document: Document) -> Iterator[tuple[str, str, Document]]:
    """Yield each operation as (path or name of the webhook, method, operation)."""
    for path, item in [*document["paths"].items(), *document.get("webhooks", {}).items()]:
        for method in ("get", "post", "put", "patch", "delete"):
            if method in item:
                yield path, method, item[method]


def families(document: Document) -> dict[str, list[Document]]:
    """Return the catalogue entries of each family."""
    found: dict[str, list[Document]] = {}
    for task in document["x-tasks"]:
        found.setdefault(task["family"], []).append(task)
    return found


def task_of(document: Document, body: Document) -> Document | None:
    """Return the catalogue entry of a request or a task; of several, the one whose `match` fits the input."""
    return choose(document["x-tasks"], body.get("model"), body.get("task_type"), body.get("input"))


def at(document: Document, pointer: str) -> Any:
    """Return the target of a reference, such as ``#/components/schemas/Task``."""
    node: Any = document
    for part in pointer.removeprefix("#").split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        node = node[int(key) if isinstance(node, list) else key]
    return node


def resolved(document: Document, part: Document) -> Document:
    """Return a part of the document, or the target of its reference."""
    found: Document = at(document, part["$ref"]) if "$ref" in part else part
    return found


def _files(folder: Path, pattern: str = "*.yaml") -> list[Path]:
    return sorted(folder.rglob(pattern), key=lambda path: path.relative_to(folder).as_posix())


def _add(whole: Document, part: Document, path: Path) -> None:
    for name, value in part.items():
        if name in whole:
            raise SpecError(f"{path}: {name!r} is already defined; give it another name or remove one")
        whole[name] = value


def _apply(document: Document, change: Document) -> None:
    """Make a change of observed.yaml."""
    try:
        schema = at(document, change["place"])
    except LookupError:
        raise SpecError(f"observed.yaml: there is no {change['place']}; remove the entry") from None
    for keyword, value in change["merge"].items():
        if value is None:
            schema.pop(keyword, None)
        else:
            schema[keyword] = value


def _confirm(document: Document, recording: Document) -> None:
    """Add the source of an entry of confirmed.yaml to its places."""
    for place in recording["places"]:
        try:
            fact = at(document, place)
        except LookupError:
            raise SpecError(f"confirmed.yaml: there is no {place}; remove the line") from None
        fact["x-source"] = [*fact.get("x-source", ()), recording["source"]]


def _attach_examples(document: Document, folder: Path) -> None:
    """Attach every body under examples/ to its request or response."""
    by_id = {operation["operationId"]: operation for _, _, operation in operations(document)}
    examples: Document = {}
    for path in _files(folder, "*.json"):
        name = path.relative_to(folder).with_suffix("").as_posix().replace("/", ".")
        example = examples[name] = json.loads(path.read_text(encoding="utf-8"))
        operation, part = by_id.get(example["x-operation"]), example["x-part"]
        if operation is None:
            raise SpecError(f"{path}: unknown operation {example['x-operation']!r}")
        holder = operation["requestBody"] if part == "request" else operation["responses"][part]
        media = resolved(document, holder)["content"]["application/json"]
        media.setdefault("examples", {})[name] = {"$ref": f"#/components/examples/{name}"}
    document["components"]["examples"] = examples
