"""Simulated results: each file can be read by an ordinary reader, says SIMULATED, and is the same each time."""

from __future__ import annotations

import io
import json
import struct
import wave
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from jsonschema import Draft202012Validator
from unitask_sandbox import bundle
from unitask_sandbox.engines import simulate, simulated

OUTPUT = {
    "type": "object",
    "properties": {
        "text": {"type": ["string", "null"]},
        "count": {"type": "integer", "minimum": 3},
        "good": {"type": "boolean"},
        "nothing": {"type": "null"},
        "word": {"enum": ["a", "b"]},
        "base64": {"type": "string", "x-media": {"kind": "image", "holds": ["base64"]}},
        "items": {"type": "array", "items": {"anyOf": [{"$ref": "#/components/schemas/TaskError"}, {"type": "null"}]}},
        **{
            kind: {"type": "string", "x-media": {"kind": kind}} for kind in ("image", "video", "audio", "model", "file")
        },
    },
}


@pytest.fixture
def result(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What is simulated for an output that has everything."""
    component = bundle.component
    monkeypatch.setattr(bundle, "component", lambda name: OUTPUT if name == "Everything" else component(name))
    return dict(simulate("Everything", {"width": 300, "height": 99999}).output)


def test_simulated_result_has_the_shape_of_its_schema(result: dict[str, Any]) -> None:
    """Every field is there, of its type; nested components are filled, too."""
    shown = {name: "https://x.test" if isinstance(value, tuple) else value for name, value in result.items()}
    schema = {**OUTPUT, "components": bundle.document()["components"]}

    assert list(Draft202012Validator(schema).iter_errors(shown)) == []
    assert shown.keys() == OUTPUT["properties"].keys()


def test_simulated_files_say_so(result: dict[str, Any]) -> None:
    """The mark stands in every file."""
    files = {name: value for name, value in result.items() if isinstance(value, tuple)}

    assert files.keys() == {"image", "video", "audio", "model", "file"}
    assert {name for name, (data, _) in files.items() if b"SIMULATED" not in data} == set()


def test_field_for_a_file_itself_is_empty(result: dict[str, Any]) -> None:
    """As in every sample of such a field: the address stands beside it."""
    assert result["base64"] == ""


def test_simulated_picture_has_the_size_that_was_asked_for(result: dict[str, Any]) -> None:
    """Width and height are those of the input, up to a limit."""
    picture = cv2.imdecode(np.frombuffer(result["image"][0], np.uint8), cv2.IMREAD_COLOR)

    assert picture.shape[:2] == (simulated.LARGEST_SIDE, 300)


def test_simulated_video_plays(result: dict[str, Any], tmp_path: Path) -> None:
    """A reader finds twelve frames."""
    (tmp_path / "x.mp4").write_bytes(result["video"][0])
    reader = cv2.VideoCapture(str(tmp_path / "x.mp4"))

    assert sum(1 for _ in iter(lambda: reader.read()[0], False)) == 12


def test_simulated_sound_plays(result: dict[str, Any]) -> None:
    """A reader finds half a second, and the size in the header is the size of the file."""
    data = result["audio"][0]
    with wave.open(io.BytesIO(data)) as sound:
        seconds = sound.getnframes() / sound.getframerate()

    assert seconds == 0.5
    assert struct.unpack("<I", data[4:8])[0] == len(data) - 8


def test_simulated_model_is_binary_gltf(result: dict[str, Any]) -> None:
    """The header's length is the file's, and the JSON chunk names a version."""
    data = result["model"][0]
    magic, version, length = struct.unpack_from("<4sII", data)

    assert (magic, version, length) == (b"glTF", 2, len(data))
    assert json.loads(data[20:])["asset"]["version"] == "2.0"


def test_simulated_result_is_the_same_each_time() -> None:
    """The same input gives the same bytes."""
    assert simulate("FaceSwapOutput", {}) == simulate("FaceSwapOutput", {})
