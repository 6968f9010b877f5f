"""The output of a task in memory, documented or made from the schema, and small files for it."""

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from unitask_api import contract
from unitask_api.output_files import files_of
from unitask_api.states import State, state_of

from .._core.uploads import upload_ending

PICTURE = base64.b64decode(  # a grey PNG of 8 x 8 pixels
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAEElEQVR42mNsYIAAJgaKGAAmCACQtTEKkQAAAABJRU5ErkJggg=="
)
OTHER_FILE = b"\0a file of unitask.testing: small, and no real media"
SOMEWHERE = "https://files.test/a-file"
_ENDINGS = {"image": "png", "video": "mp4", "audio": "wav", "model": "glb"}
_DEEPEST = 8


def output_of(component: str) -> dict[str, Any]:
    """Return an output of this component: that of a documented completed task, else one made from the schema."""
    for example in contract.document()["components"]["examples"].values():
        if (example["x-operation"], example["x-part"]) != ("get_task", "200"):
            continue
        task: dict[str, Any] = example["value"]["data"]
        entry = contract.find(task.get("model"), task.get("task_type"), task.get("input"))
        if entry and entry.output == component and task.get("output") and state_of(task["status"]) is State.COMPLETED:
            return cast("dict[str, Any]", task["output"])
    return cast("dict[str, Any]", _generated(contract.components()[component]))


def with_files(
    output: Mapping[str, Any], component: str, folder: str, files: dict[str, bytes], *, renamed: bool
) -> dict[str, Any]:
    """Return the output with a URL for every file in it, and store the files under these URLs.

    Args:
        output: Bytes stand for a file.
        component: The name of its schema, which has the kind of each file; empty for none.
        folder: The URL prefix of the files of this task.
        files: Receives the content of each URL.
        renamed: Whether to replace existing URLs: those of the documents are real, and the same for every task.
    """
    given: dict[str, object] = {}

    def numbered(part: object) -> object:
        if not isinstance(part, bytes) and not (renamed and isinstance(part, str) and re.match(r"https?://", part)):
            return part
        address = f"{folder}/{len(given) + 1}"
        given[address] = part
        return address

    shaped = cast("dict[str, Any]", _map_leaves(output, numbered))
    kinds = {file.url: file.kind or "" for file in files_of(shaped, component, "")}
    final: dict[object, str] = {}
    for address, part in given.items():
        kind = kinds.get(address, "")
        content = part if isinstance(part, bytes) else _file(kind)
        final[address] = f"{address}.{upload_ending(content) or _ENDINGS.get(kind, 'bin')}"
        files[final[address]] = content
    for address in kinds.keys() - given.keys():
        files.setdefault(address, _file(kinds[address]))
    return cast("dict[str, Any]", _map_leaves(shaped, lambda part: final.get(part, part)))


def _file(kind: str) -> bytes:
    return PICTURE if kind == "image" else OTHER_FILE


def _map_leaves(value: object, change: Callable[[object], object]) -> object:
    """Return the value with each leaf changed."""
    if isinstance(value, Mapping):
        return {name: _map_leaves(item, change) for name, item in cast("Mapping[str, object]", value).items()}
    if isinstance(value, list | tuple):
        return [_map_leaves(item, change) for item in cast("Sequence[object]", value)]
    return change(value)


def _generated(rule: dict[str, Any], depth: int = 0) -> object:
    """Return the smallest value that a schema allows, with a URL in each field of a file."""
    rule = contract.resolve(rule)
    if "kind" in rule.get("x-media", {}):
        return SOMEWHERE
    if "const" in rule or "enum" in rule:
        return rule["const"] if "const" in rule else rule["enum"][0]
    types = rule.get("type", "null")
    match types if isinstance(types, str) else types[0]:
        case "object" if depth < _DEEPEST:
            return {name: _generated(part, depth + 1) for name, part in rule.get("properties", {}).items()}
        case "array":
            return [_generated(rule.get("items", {}), depth + 1)]
        case "string":
            return "sample"
        case "integer" | "number":
            return rule.get("minimum", 0)
        case "boolean":
            return False
        case _:
            return None
