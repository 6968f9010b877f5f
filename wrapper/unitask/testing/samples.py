"""What a task makes in memory: a documented output, or one made up from the schema, and small files."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from typing import Any, cast

from .._core import spec
from .._core.lifecycle import State, state_of
from ..media import upload_ending

PICTURE = base64.b64decode(  # a grey PNG of 8 x 8 pixels
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAEElEQVR42mNsYIAAJgaKGAAmCACQtTEKkQAAAABJRU5ErkJggg=="
)
OTHER_FILE = b"a file of unitask.testing: small, and no real media"
_ENDINGS = {"image": "png", "video": "mp4", "audio": "wav", "model": "glb"}
_ADDRESS = re.compile("https?://")
_DEEPEST = 8


def output_of(component: str) -> dict[str, Any]:
    """An output of this component; bytes stand for files that still need an address.

    The addresses of the documents are taken out: they are the same for every task, and on real hosts.
    """
    output = _documented(component) or _made_up(spec.bundle()["components"]["schemas"][component])
    return {name: _mapped(value, _file_for(file_kind(component, name))) for name, value in output.items()}


def with_addresses(value: Any, kind: str, put: Callable[[bytes, str], str]) -> Any:
    """The value with an address for each file in it.

    Args:
        value: What holds files, as bytes.
        kind: What they are (image, video ...) where their content does not say it.
        put: Takes a content and the ending of its name, returns the address.
    """

    def address_of(part: object) -> object:
        if not isinstance(part, bytes):
            return part
        return put(part, upload_ending(part) or _ENDINGS.get(kind, "bin"))

    return _mapped(value, address_of)


def file_kind(component: str, field: str) -> str:
    """What the files of a field of an output are; empty when the spec does not say it of the field itself."""
    rule = spec.resolve(spec.field_rule(component, field))
    return str(spec.resolve(rule.get("items", rule)).get("x-media", {}).get("kind", ""))


def addresses(value: object) -> Iterator[str]:
    """Each address of a file in a value."""
    if isinstance(value, str) and _ADDRESS.match(value):
        yield value
    elif isinstance(value, dict):
        yield from addresses(list(cast("dict[str, object]", value).values()))
    elif isinstance(value, list):
        for item in cast("list[object]", value):
            yield from addresses(item)


def file_at(address: str, kind: str = "") -> bytes:
    """What lies at an address of which nothing else was said."""
    is_picture = kind == "image" or re.search(r"\.(png|jpe?g|webp)(\?|$)", address, re.IGNORECASE)
    return PICTURE if is_picture else OTHER_FILE


def _file_for(kind: str) -> Callable[[object], object]:
    return lambda part: file_at(part, kind) if isinstance(part, str) and _ADDRESS.match(part) else part


def _mapped(value: object, change: Callable[[object], object]) -> Any:
    """The value with everything in it changed that is neither an object nor a list."""
    if isinstance(value, dict):
        return {name: _mapped(item, change) for name, item in cast("dict[str, object]", value).items()}
    if isinstance(value, list):
        return [_mapped(item, change) for item in cast("list[object]", value)]
    return change(value)


def _documented(component: str) -> dict[str, Any] | None:
    """The output of the first documented task that has ended with such a one."""
    for example in spec.bundle()["components"]["examples"].values():
        if (example["x-operation"], example["x-part"]) != ("get_task", "200"):
            continue
        task: dict[str, Any] = example["value"]["data"]
        entry = spec.find_task_type(task.get("model", ""), task.get("task_type", ""))
        if entry and entry.output == component and task.get("output") and state_of(task["status"]) is State.COMPLETED:
            return cast("dict[str, Any]", task["output"])
    return None


def _made_up(rule: dict[str, Any], depth: int = 0) -> Any:
    """The plainest value that a schema allows, with a file wherever it promises one."""
    rule = spec.resolve(rule)
    if kind := rule.get("x-media", {}).get("kind"):
        return PICTURE if kind == "image" else OTHER_FILE
    if "const" in rule or "enum" in rule:
        return rule["const"] if "const" in rule else rule["enum"][0]
    types = rule.get("type", "null")
    match types if isinstance(types, str) else types[0]:
        case "object" if depth < _DEEPEST:
            return {name: _made_up(part, depth + 1) for name, part in rule.get("properties", {}).items()}
        case "array":
            return [_made_up(rule.get("items", {}), depth + 1)]
        case "string":
            return "sample"
        case "integer" | "number":
            return rule.get("minimum", 0)
        case "boolean":
            return False
        case _:
            return None
