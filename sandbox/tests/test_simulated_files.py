"""The files of simulated results: ordinary readers read them, and find the word SIMULATED in content and metadata."""

from __future__ import annotations

import io
import json
import struct
import wave
from itertools import groupby
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from unitask_sandbox.engines.simulated import sound
from unitask_sandbox.engines.simulated.film import film
from unitask_sandbox.engines.simulated.mesh import plaque
from unitask_sandbox.engines.simulated.pictures import Scene, drawn, picture

from .files import mp3_frames, seconds_of, size_of

SCENE = Scene(7, "a model", "A cat on a mat", "SIMULATED by a test")
LETTERS = {"...": "S", "..": "I", "--": "M", "..-": "U", ".-..": "L", ".-": "A", "-": "T", ".": "E", "-..": "D"}


@pytest.mark.parametrize(
    ("extension", "form", "key"), [("png", "PNG", "Comment"), ("jpg", "JPEG", "comment"), ("webp", "WEBP", "xmp")]
)
def test_mark_is_in_the_metadata_of_a_picture(extension: str, form: str, key: str) -> None:
    """Another reader than the writer finds it, and the pixels."""
    shown: Any = Image.open(io.BytesIO(picture(SCENE, (320, 200), extension)))
    shown.load()
    mark = shown.info[key]

    assert (shown.format, shown.size) == (form, (320, 200))
    assert "SIMULATED by a test" in (mark.decode() if isinstance(mark, bytes) else mark)


@pytest.mark.parametrize("size", [(1024, 1024), (1024, 300), (200, 1024), (320, 180), (64, 64)], ids=str)
def test_word_is_drawn_in_full_at_every_shape(size: tuple[int, int]) -> None:
    """White letters lie on the dark band, and none is cut off at the edges."""
    white = (drawn(SCENE, size) > 250).all(axis=2)
    columns = np.flatnonzero(white.any(axis=0))

    assert white[size[1] // 3 :].sum() > size[0] * 0.5
    assert 0 < columns[0] < columns[-1] < size[0] - 1
    assert not white[-1].any()


def test_prompt_in_other_letters_is_drawn_as_far_as_it_can_be() -> None:
    """Accents are dropped, and what the font has not is left out; another prompt draws other words."""
    plain, accents, other = (drawn(Scene(7, "a", words, ""), (320, 320)) for words in ("Fuchs uber", "Fuchs über", "x"))

    assert (plain == accents).all()
    assert (plain != other).any()
    assert (drawn(Scene(7, "a", "雪", ""), (320, 320)) == drawn(Scene(7, "a", "", ""), (320, 320))).all()


@pytest.mark.parametrize(("size", "seconds"), [((320, 180), 5), ((180, 314), 7.3), ((314, 178), 60), ((18, 320), 1)])
def test_film_plays(size: tuple[int, int], seconds: float, tmp_path: Path) -> None:
    """OpenCV's H.264 decoder gives every frame as it was drawn, and the length is exact."""
    data = film(SCENE, size, seconds)
    (tmp_path / "x.mp4").write_bytes(data)
    reader = cv2.VideoCapture(str(tmp_path / "x.mp4"))
    frames = [frame for _, frame in iter(reader.read, (False, None))]
    bars = [int((frame[0].astype(int) @ (-1, -1, 2) > 150).sum()) for frame in frames]

    assert (seconds_of((data, "mp4")), size_of((data, "mp4"))) == (seconds, size)
    assert len(frames) == min(40, round(seconds * 4))
    assert bars == sorted(set(bars))
    assert bars[-1] == size[0]
    words = slice(size[1] // 2, None)
    assert np.abs(frames[-1][words].astype(int) - drawn(SCENE, size)[words]).mean() < 3


def test_parts_of_a_film_add_up() -> None:
    """Its pictures are numbered in order, and their times are together its length."""
    data = film(SCENE, (320, 180), 7.3)
    (first, each, second, last), at = struct.unpack_from(">4I", data, data.index(b"stts") + 12), data.index(b"mdat") + 4
    numbers = []
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        bits = f"{int.from_bytes(data[at + 5 : at + 8], 'big'):024b}"
        numbers.append(int(bits[7:15] if numbers else bits[9:17], 2))  # behind a longer slice_type in the first
        at += 4 + length

    assert first * each + second * last == 7300
    assert numbers == list(range(first + second))


def test_film_says_what_is_cut_off_its_last_blocks() -> None:
    """Its sequence parameters (H.264, 7.3.2.1.1): 20 x 12 blocks of 16 pixels, less 3 and 7 times two of them."""
    data = film(SCENE, (314, 178), 1)
    content = data[data.index(b"\x67\x42\xc0") + 4 :][:16]
    bits = iter(f"{int.from_bytes(content, 'big'):0{8 * len(content)}b}")

    def number() -> int:
        zeros = next(count for count, bit in enumerate(bits) if bit == "1")
        return int("1" + "".join(next(bits) for _ in range(zeros)), 2) - 1

    assert [number() for _ in range(4)] == [0, 4, 2, 1]
    next(bits)
    assert (number() + 1, number() + 1) == (20, 12)
    assert "".join(next(bits) for _ in range(3)) == "111"
    assert [number() for _ in range(4)] == [0, 3, 0, 7]


def test_film_has_its_mark_where_players_look() -> None:
    """In the comment of the list that iTunes reads."""
    data = film(SCENE, (320, 180), 1)
    at = data.index(b"\xa9cmt")

    assert data[at + 8 : at + 12] == b"data"
    assert data[at + 20 :].startswith(b"SIMULATED by a test")


def said(units: list[bool]) -> str:
    """What Morse code says; a unit is as long as a dot."""
    signs = {(True, 1): ".", (True, 3): "-", (False, 1): "", (False, 3): " ", (False, 7): " "}
    runs = [(on, len(list(run))) for on, run in groupby(units)]
    return "".join(LETTERS.get(letter, "?") for letter in "".join(signs.get(run, "?") for run in runs).split())


def test_wav_says_its_word_in_morse_code() -> None:
    """At 8 kHz, of the length that was asked, softly, with the mark in its INFO list and the right size in its head."""
    data = sound.wav(1, 12.5, "SIMULATED by a test")
    with wave.open(io.BytesIO(data)) as read:
        samples = np.frombuffer(read.readframes(read.getnframes()), "<i2").astype(float)
        assert (read.getframerate(), read.getnchannels(), read.getnframes()) == (8000, 1, 100_000)
    unit = round(sound.UNIT * 8000)
    loudness = np.abs(samples[: len(samples) // unit * unit]).reshape(-1, unit).mean(axis=1)

    assert said([bool(loud > 600) for loud in loudness]).startswith("SIMULATEDSIMULATED")
    assert 1000 < np.abs(samples).max() < 8000
    assert struct.unpack("<I", data[4:8])[0] == len(data) - 8
    assert b"INFOICMT" in data


def test_mp3_says_its_word_in_morse_code() -> None:
    """Two frames are a unit; a frame of silence has no bits of data, one with a tone has some."""
    data = sound.mp3(1, 12.5, "SIMULATED by a test")
    frames = mp3_frames(data)
    bits = [int.from_bytes(frame[5:7], "big") >> 3 & 0xFFF for frame in frames]

    assert said([on > 0 for on in bits[::2]]).startswith("SIMULATEDSIMULATED")
    assert seconds_of((data, "mp3")) == pytest.approx(12.5, abs=0.02)
    assert data.startswith(b"ID3\x03")
    assert b"TIT2" in data[:40]


def test_mp3_is_heard_as_the_wav() -> None:
    """FFmpeg decodes a soft tone of the same height (only where PyAV is installed)."""
    av = pytest.importorskip("av")
    with av.open(io.BytesIO(sound.mp3(1, 10, "SIMULATED"))) as read:
        samples = np.concatenate([frame.to_ndarray().ravel() for frame in read.decode(audio=0)])
    loudest = np.abs(np.fft.rfft(samples)).argmax() / 10

    assert len(samples) / 16000 == pytest.approx(10, abs=0.02)
    assert loudest == pytest.approx(27 * 8000 / 576, abs=15)
    assert 0.02 < np.abs(samples).max() < 0.3


def test_model_is_a_textured_box() -> None:
    """The chunks have the lengths that they say, every view lies in the buffer, and the triangles close the box."""
    data = plaque(SCENE)
    magic, version, length, text, kind = struct.unpack_from("<4sIII4s", data)
    scene = json.loads(data[20 : 20 + text])
    size, binary = struct.unpack_from("<I4s", data, 20 + text)
    content = data[28 + text :]
    part = [content[view["byteOffset"] :][: view["byteLength"]] for view in scene["bufferViews"]]
    points = np.frombuffer(part[0], np.float32).reshape(24, 3)
    normals = np.frombuffer(part[1], np.float32).reshape(24, 3)
    triangles = np.frombuffer(part[3], np.uint16).reshape(12, 3)
    first, second, third = (points[triangles[:, corner]] for corner in range(3))
    outward = np.cross(second - first, third - first)

    assert (magic, version, length, kind) == (b"glTF", 2, len(data), b"JSON")
    assert (size, binary) == (len(content), b"BIN\0")
    assert scene["buffers"] == [{"byteLength": len(content)}]
    assert "SIMULATED" in scene["asset"]["generator"]
    assert all(view["byteOffset"] % 4 == 0 for view in scene["bufferViews"])
    assert scene["accessors"][0]["max"] == points.max(axis=0).tolist()
    assert scene["accessors"][0]["min"] == points.min(axis=0).tolist()
    assert (np.einsum("ij,ij->i", outward, normals[triangles[:, 0]]) > 0).all()
    assert size_of((part[4], "png")) == (256, 256)
