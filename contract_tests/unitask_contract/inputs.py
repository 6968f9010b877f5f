"""What the checks send: the least object of a schema, and small files for the fields that take one."""

import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, cast

from unitask_contract.bundle import Rule, component
from unitask_sandbox import bundle as sandbox_bundle
from unitask_sandbox import samples
from unitask_sandbox.engines import simulate

SIDE = 320  # pixels: within every documented limit, and quick
NAMES = {"image": "portrait.png", "video": "film.mp4", "audio": "sound.wav"}
FileOf = Callable[[str], str]  # returns the address of a file of a kind: image, video or audio


def least_object(schema: Rule, file: FileOf) -> dict[str, Any]:
    """Return the required fields of an object, each with a value that the spec and its advice allow."""
    properties = schema.get("properties", {})
    return {name: least(properties[name], file) for name in schema.get("required", []) if name in properties}


def least(rule: Rule, file: FileOf) -> Any:
    """Return a value that a schema allows."""
    if "$ref" in rule:
        return least(component(rule["$ref"].rpartition("/")[2]), file)
    if rule.get("type") == "object":
        return least_object(rule, file)
    rule = {**rule, "x-advisory": {}, **rule.get("x-advisory", {})}
    if kind := rule.get("x-media", {}).get("kind"):
        return file(kind)
    if "anyOf" in rule:
        return least({key: part for key, part in {**rule, **rule["anyOf"][0]}.items() if key != "anyOf"}, file)
    kinds: Any = rule.get("type")
    kind = cast("list[str]", kinds)[0] if isinstance(kinds, list) else kinds
    if kind == "array":
        return [least(rule["items"], file)] * max(1, rule.get("minItems", 0))
    return least_object(rule, file) if kind == "object" else _least_scalar(kind, rule)


def _least_scalar(kind: str, rule: Rule) -> Any:
    if "const" in rule or "enum" in rule:
        return rule["const"] if "const" in rule else rule["enum"][0]
    match kind:
        case "integer":
            return rule.get("minimum", min(1, rule.get("maximum", 1)))
        case "number":
            low: Any = rule.get("minimum", rule.get("exclusiveMinimum", 0))
            return (low + rule.get("maximum", low + 2)) / 2
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return "x" * max(1, rule.get("minLength", 0))


@cache
def file_of(kind: str) -> bytes:
    """Return a portrait, a second of film of it, or a sound."""
    if kind == "audio":
        output = simulate(sandbox_bundle.task_type("Qubico/tts", "zero-shot", {}), {}).output
        return next(cast("tuple[bytes, str]", value)[0] for value in output.values() if isinstance(value, tuple))
    import cv2  # lazy: takes long to load

    image = cast("Any", cv2).imread(str(samples.ASTRONAUT))
    portrait = cast("Any", cv2).resize(image, (SIDE, SIDE))
    if kind == "image":
        encoded: bytes = cast("Any", cv2).imencode(".png", portrait)[1].tobytes()
        return encoded
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "film.mp4")
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 8, (SIDE, SIDE))
        for _ in range(10):
            writer.write(portrait)
        writer.release()
        return path.read_bytes()
