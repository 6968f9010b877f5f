"""What a task type without an engine makes: a small valid file of each kind that its output promises, marked SIMULATED.

The mark stands in the content (a picture says it), in the metadata of each file and in the task's meta. The same input
gives the same bytes.
"""

from __future__ import annotations

import io
import json
import struct
import tempfile
import wave
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from unitask_sandbox import bundle
from unitask_sandbox.engines.registry import EngineResult

MARK = "SIMULATED by the unitask sandbox"
META = {"simulated": "SIMULATED: the sandbox has no engine for this task type"}
LARGEST_SIDE = 1024  # pixels, whatever is asked for
SIDE = 512


def simulate(output: str, given: Mapping[str, Any]) -> EngineResult:
    """A result of the shape that a component schema has, for a task's input."""
    size = _side(given.get("width")), _side(given.get("height"))
    return EngineResult(_value({"$ref": f"#/components/schemas/{output}"}, size, 0), META)


def simulated_picture(width: int = SIDE, height: int = SIDE, extension: str = "png") -> bytes:
    """A picture, as PNG or as JPEG, of a size in pixels; where that is too large or too small, of the nearest."""
    size = _side(width), _side(height)
    return _photo(size) if extension == "jpeg" else _picture(size)


def _side(asked: object) -> int:
    return min(LARGEST_SIDE, max(16, asked)) if isinstance(asked, int) else SIDE


def _value(rule: dict[str, Any], size: tuple[int, int], depth: int) -> Any:
    """A value that a schema allows; files are tuples of bytes and extension."""
    if "$ref" in rule:
        rule = bundle.component(rule["$ref"].rpartition("/")[2])
    if branches := rule.get("anyOf") or rule.get("oneOf"):
        return _value(branches[0], size, depth)
    media = rule.get("x-media", {})
    if kind := media.get("kind"):
        return _file(kind, size) if "url" in media.get("holds", ["url"]) else ""
    if "const" in rule or "enum" in rule:
        return rule["const"] if "const" in rule else rule["enum"][0]
    types = rule.get("type", "null")
    match types if isinstance(types, str) else types[0]:
        case "object" if depth < 8:
            return {name: _value(part, size, depth + 1) for name, part in rule.get("properties", {}).items()}
        case "array":
            return [_value(rule.get("items", {}), size, depth + 1)]
        case "string":
            return MARK
        case "integer" | "number":
            return rule.get("minimum", 0)
        case "boolean":
            return False
        case _:
            return None


def _file(kind: str, size: tuple[int, int]) -> tuple[bytes, str]:
    match kind:
        case "image":
            return _picture(size), "png"
        case "video":
            return _video(), "mp4"
        case "audio":
            return _sound(), "wav"
        case "model":
            return _model(), "glb"
        case _:
            return MARK.encode(), "txt"


@cache
def _picture(size: tuple[int, int]) -> bytes:
    import cv2  # here: only a simulated picture needs it

    from unitask_sandbox.faces.pictures import with_comment

    encoded = cv2.imencode(".png", _canvas(size, 0))[1].tobytes()
    return with_comment(encoded, MARK)


@cache
def _photo(size: tuple[int, int]) -> bytes:
    """The same as JPEG, with the mark in a comment (ITU-T T.81, B.2.4.5)."""
    import cv2

    encoded = cv2.imencode(".jpg", _canvas(size, 0))[1].tobytes()
    return encoded[:2] + struct.pack(">HH", 0xFFFE, 2 + len(MARK)) + MARK.encode() + encoded[2:]


def _canvas(size: tuple[int, int], frame: int) -> Any:
    """A grey BGR picture that says what it is."""
    import cv2
    import numpy as np

    width, height = size
    picture = np.full((height, width, 3), 200, np.uint8)
    scale = width / 400
    cv2.putText(picture, "SIMULATED", (width // 10, height // 2), cv2.FONT_HERSHEY_SIMPLEX, scale, (40, 40, 40), 2)
    cv2.rectangle(picture, (0, height - 8), (width * (frame + 1) // 12, height), (40, 40, 200), -1)
    return picture


@cache
def _video() -> bytes:
    """One second of VP9, which browsers play, in an MP4 file.

    The mark is in a box of its own at the end (ISO/IEC 14496-12, 8.1.2).
    """
    import cv2

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "simulated.mp4")
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"vp09"), 12, (320, 180))
        for frame in range(12):
            writer.write(_canvas((320, 180), frame))
        writer.release()
        return path.read_bytes() + struct.pack(">I4s", 8 + len(MARK), b"free") + MARK.encode()


@cache
def _sound() -> bytes:
    """Half a second of silence as WAV, with the mark in its INFO list."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(8000))
    text = MARK.encode() + bytes(len(MARK) % 2)
    info = b"INFO" + struct.pack("<4sI", b"ICMT", len(text)) + text
    plain = buffer.getvalue() + struct.pack("<4sI", b"LIST", len(info)) + info
    return plain[:4] + struct.pack("<I", len(plain) - 8) + plain[8:]


def _model() -> bytes:
    """An empty scene as binary glTF 2.0 (Khronos, 4.4)."""
    scene = {"asset": {"version": "2.0", "generator": MARK}, "scene": 0, "scenes": [{"name": MARK}]}
    text = json.dumps(scene).encode()
    text += b" " * (-len(text) % 4)
    return struct.pack("<4sII", b"glTF", 2, 20 + len(text)) + struct.pack("<I4s", len(text), b"JSON") + text
