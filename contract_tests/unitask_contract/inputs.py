"""What a check sends: the least input of a task type, and small files for the fields that take one."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, cast

from unitask_contract import bundle
from unitask_contract.bundle import Rule, component
from unitask_sandbox import bundle as sandbox_bundle
from unitask_sandbox import samples
from unitask_sandbox.engines import simulate

SIDE = 320  # pixels
NAMES = {"image": "portrait.png", "video": "film.mp4", "audio": "sound.wav"}


def least_input(name: str, file: Callable[[str], str]) -> dict[str, Any]:
    """The required fields of a task type, each with a value that the spec and its advice allow.

    Args:
        name: Of the class of the task type.
        file: Gives the address of a file of a kind: image, video or audio.
    """
    return least_object(component(bundle.entries()[name]["input"]), file)


def least(rule: Rule, file: Callable[[str], str]) -> Any:
    """A value that a rule allows."""
    if "$ref" in rule:
        return least(component(rule["$ref"].rpartition("/")[2]), file)
    if rule.get("type") == "object":
        return least_object(rule, file)
    rule = {**rule, "x-advisory": {}, **rule.get("x-advisory", {})}
    if kind := rule.get("x-media", {}).get("kind"):
        return file(kind)
    if "const" in rule or "enum" in rule:
        return rule["const"] if "const" in rule else rule["enum"][0]
    if "anyOf" in rule:
        return least({key: part for key, part in {**rule, **rule["anyOf"][0]}.items() if key != "anyOf"}, file)
    kinds: Any = rule.get("type")
    return least_of_kind(cast("list[str]", kinds)[0] if isinstance(kinds, list) else str(kinds), rule, file)


def least_of_kind(kind: str, rule: Rule, file: Callable[[str], str]) -> Any:
    """A value of one of the types that a rule allows; the rule lists no words."""
    match kind:
        case "array":
            return [least(rule["items"], file)] * max(1, rule.get("minItems", 0))
        case "object":
            return least_object(rule, file)
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


def least_object(schema: Rule, file: Callable[[str], str]) -> dict[str, Any]:
    """The least object that a schema allows."""
    properties = schema.get("properties", {})
    return {name: least(properties[name], file) for name in schema.get("required", []) if name in properties}


@cache
def file_of(kind: str) -> bytes:
    """A portrait, a second of film of one, or a sound."""
    match kind:
        case "image":
            return _encoded(_portrait(samples.ASTRONAUT))
        case "video":
            return film_of(samples.ASTRONAUT)
        case _:
            return _sound()


def film_of(picture: Path) -> bytes:
    """Ten frames of a picture, as MP4."""
    import cv2

    frame = _portrait(picture)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "film.mp4")
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 8, (SIDE, SIDE))
        for _ in range(10):
            writer.write(frame)
        writer.release()
        return path.read_bytes()


def _portrait(picture: Path) -> Any:
    """The pixels of a picture, small enough to be quick work and as large as each documented limit asks."""
    import cv2  # here and above: it takes a while to load

    return cast("Any", cv2).resize(cast("Any", cv2).imread(str(picture)), (SIDE, SIDE))


def _encoded(pixels: Any) -> bytes:
    import cv2

    found: bytes = cast("Any", cv2).imencode(".png", pixels)[1].tobytes()
    return found


def _sound() -> bytes:
    made = simulate(sandbox_bundle.task_type("Qubico/tts", "zero-shot", {}), {}).output
    files = (cast("tuple[bytes, str]", value)[0] for value in made.values() if isinstance(value, tuple))
    return next(files)
