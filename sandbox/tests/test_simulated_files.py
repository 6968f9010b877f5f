"""The files of simulated results: other libraries read them, and find the word SIMULATED in content and metadata."""

import base64
import io
import json
import struct
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from PIL import Image
from unitask_sandbox.engines.simulated import files
from unitask_sandbox.engines.simulated.files import RATE, UNIT, Scene, film, picture, plaque, sound
from unitask_sandbox.faces.arrays import Pixels

from .files import seconds_of, size_of

MARK = "SIMULATED by a test"
SCENE = Scene(7, "a model", "A cat on a mat", MARK)
LETTERS = {"...": "S", "..": "I", "--": "M", "..-": "U", ".-..": "L", ".-": "A", "-": "T", ".": "E", "-..": "D"}


def drawn(scene: Scene, size: tuple[int, int]) -> Pixels:
    return np.asarray(files.drawn(scene, size))[..., ::-1]


@pytest.mark.parametrize(
    ("extension", "form", "key"), [("png", "PNG", "Comment"), ("jpg", "JPEG", "comment"), ("webp", "WEBP", "xmp")]
)
def test_mark_is_in_the_metadata_of_a_picture(extension: str, form: str, key: str) -> None:
    shown: Any = Image.open(io.BytesIO(picture(SCENE, (320, 200), extension)))
    mark = shown.info[key]
    wanted = drawn(SCENE, (320, 200))[..., ::-1]

    assert (shown.format, shown.size) == (form, (320, 200))
    assert MARK in (mark.decode() if isinstance(mark, bytes) else mark)
    assert np.abs(np.asarray(shown.convert("RGB")).astype(int) - wanted).mean() < 5


@pytest.mark.parametrize("size", [(1024, 300), (200, 1024), (64, 64)], ids=str)
def test_word_is_drawn_in_full_at_every_shape(size: tuple[int, int]) -> None:
    white = (drawn(SCENE, size) > 150).all(axis=2)
    columns = np.flatnonzero(white.any(axis=0))

    assert white.sum() > size[0] * 0.5
    assert 0 < columns[0] < columns[-1] < size[0] - 1
    assert not white[[0, -1]].any()


@pytest.mark.parametrize(("size", "seconds"), [((320, 180), 7.3), ((314, 178), 60), ((18, 320), 1)])
def test_film_plays_for_its_length(size: tuple[int, int], seconds: float, tmp_path: Path) -> None:
    data = film(SCENE, size, seconds)
    (tmp_path / "x.mp4").write_bytes(data)
    reader = cv2.VideoCapture(str(tmp_path / "x.mp4"))
    frames = [frame for _, frame in iter(reader.read, (False, None))]
    bars = [int((frame[0].astype(int) @ (-1, -1, 2) > 150).sum()) for frame in frames]
    words = slice(size[1] // 2, None)
    with av.open(io.BytesIO(data)) as opened:
        comment = opened.metadata["comment"]
        times = [(float(frame.pts * frame.time_base), frame.duration) for frame in opened.decode(video=0)]  # type: ignore[operator]

    assert (seconds_of((data, "mp4")), size_of((data, "mp4")), comment) == (seconds, size, MARK)
    assert len(frames) == min(40, round(seconds * 4))
    assert times[-1][0] + times[-1][1] / 16_000 == pytest.approx(seconds, abs=0.002)
    assert all(
        later - time == pytest.approx(seconds / len(frames), abs=0.002) for (time, _), (later, _) in pairwise(times)
    )
    assert bars == sorted(set(bars))
    assert bars[-1] == pytest.approx(size[0], abs=2)
    assert np.abs(frames[-1][words].astype(int) - drawn(SCENE, size)[words]).mean() < 6


@pytest.mark.parametrize("extension", ["wav", "mp3"])
def test_sound_says_its_word_in_morse_code(extension: str) -> None:
    data = sound(1, 12.5, extension, MARK)
    with av.open(io.BytesIO(data)) as opened:
        assert opened.metadata["comment"] == MARK
        samples = np.concatenate([np.ravel(frame.to_ndarray()) for frame in opened.decode(audio=0)])
    scale = 32768 if samples.dtype == np.int16 else 1
    unit = round(UNIT * RATE)
    loudness = np.abs(samples[: len(samples) // unit * unit] / scale).reshape(-1, unit).mean(axis=1)
    signs = {(True, 1): ".", (True, 3): "-", (False, 1): "", (False, 3): " ", (False, 7): " "}
    runs = "".join(signs.get((on, len(list(run))), "?") for on, run in groupby(loud > 0.02 for loud in loudness))

    assert "".join(LETTERS.get(letter, "?") for letter in runs.split()).startswith("SIMULATEDSIMULATED")
    assert len(samples) == 100_000
    assert 0.03 < np.abs(samples).max() / scale < 0.25
    assert np.abs(np.fft.rfft(samples)).argmax() / 12.5 == pytest.approx(375, abs=1)


def test_model_is_a_textured_box() -> None:
    data = plaque(SCENE)
    magic, version, length, text, kind = struct.unpack_from("<4sIII4s", data)
    model = json.loads(data[20:])
    content, texture = (base64.b64decode(model[part][0]["uri"].partition(",")[2]) for part in ("buffers", "images"))
    parts = [content[view["byteOffset"] :][: view["byteLength"]] for view in model["bufferViews"]]
    points, normals = (np.frombuffer(part, np.float32).reshape(24, 3) for part in parts[:2])
    triangles = np.frombuffer(parts[3], np.uint16).reshape(12, 3)
    first, second, third = (points[triangles[:, corner]] for corner in range(3))
    outward = np.cross(second - first, third - first)

    assert (magic, version, length, text, kind) == (b"glTF", 2, len(data), len(data) - 20, b"JSON")
    assert len(data) % 4 == 0
    assert model["buffers"][0]["byteLength"] == len(content)
    assert model["asset"]["generator"] == MARK
    assert (np.einsum("ij,ij->i", outward, normals[triangles[:, 0]]) > 0).all()
    assert size_of((texture, "png")) == (256, 256)
