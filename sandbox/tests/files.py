"""Reading the files that the sandbox makes, with code of its own or of OpenCV."""

from __future__ import annotations

import io
import struct
import wave
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

File = tuple[bytes, str]
MP3_FRAME = 36  # bytes, of 36 ms


def files_of(value: Any) -> Iterator[File]:
    """Every file of an output."""
    if isinstance(value, tuple):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from files_of(part)
    elif isinstance(value, list):
        for part in value:
            yield from files_of(part)


def size_of(file: File) -> tuple[int, int] | None:
    """Width and height of a picture or of the frames of a film; None for other files."""
    data, extension = file
    if extension == "mp4":
        at = data.index(b"tkhd") + 4
        width, height = struct.unpack_from(">II", data, at + 76)
        return width >> 16, height >> 16
    if extension not in ("png", "jpg", "jpeg", "webp"):
        return None
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return decoded.shape[1], decoded.shape[0]


def seconds_of(file: File) -> float:
    """The length of a film or a sound."""
    data, extension = file
    if extension == "mp4":
        scale, length = struct.unpack_from(">II", data, data.index(b"mvhd") + 16)
        return float(length / scale)
    if extension == "mp3":
        return len(mp3_frames(data)) * 0.036
    with wave.open(io.BytesIO(data)) as sound:
        return sound.getnframes() / sound.getframerate()


def mp3_frames(data: bytes) -> list[bytes]:
    """The frames behind the ID3 tag, each with the header that all have."""
    sizes = data[6:10]
    start = 10 + sum(byte << 7 * (3 - at) for at, byte in enumerate(sizes))
    frames = [data[at : at + MP3_FRAME] for at in range(start, len(data), MP3_FRAME)]
    assert {frame[:4] for frame in frames} == {b"\xff\xf3\x18\xc0"}
    return frames
