"""Outputs of tasks in memory, made from their schemas, and the smallest whole files for them."""

import base64
from collections.abc import Mapping
from typing import Any, cast

from unitask_api import contract
from unitask_api.output_files import files_of

from .._core.uploads import mapped, upload_ending

_OF_KIND = {
    "image": base64.b64decode(  # a grey PNG of 8 x 8 pixels
        "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAEElEQVR42mNsYIAAJgaKGAAmCACQtTEKkQAAAABJRU5ErkJggg=="
    ),
    "video": b"\0\0\0\x10ftypisom\0\0\0\0\0\0\0\x08mdat\0\0\0\x08moov",
    "audio": b"RIFF\x04\0\0\0WAVE",
}
_OTHER_FILE = b"\0a file of unitask.testing"


def output_of(rule: dict[str, Any]) -> Any:
    """Return the smallest value that a schema allows, with the content of a file in each field of a file."""
    rule = contract.resolve(rule)
    if "kind" in rule.get("x-media", {}):
        return _OF_KIND.get(rule["x-media"]["kind"], _OTHER_FILE)
    if "enum" in rule:
        return rule["enum"][0]
    types = rule.get("type", "null")
    match types if isinstance(types, str) else types[0]:
        case "object":
            return {name: output_of(part) for name, part in rule.get("properties", {}).items()}
        case "array":
            return [output_of(rule.get("items", {}))]
        case "string":
            return "sample"
        case "integer" | "number":
            return rule.get("minimum", 0)
        case "boolean":
            return False
        case _:
            return None


def with_files(output: Mapping[str, Any], folder: str, files: dict[str, bytes]) -> dict[str, Any]:
    """Return the output with a URL in this folder for all bytes in it, and add these files by their URLs."""

    def stored(part: bytes) -> str:
        url = f"{folder}/{len(files) + 1}.{upload_ending(part) or 'bin'}"
        files[url] = part
        return url

    return cast("dict[str, Any]", mapped(dict(output), bytes, stored))


def add_files(body: Mapping[str, Any], files: dict[str, bytes]) -> None:
    """Add a file for each URL in a documented body."""
    for file in files_of(body, "", ""):
        files.setdefault(file.url, _OF_KIND.get(file.kind or "", _OTHER_FILE))
