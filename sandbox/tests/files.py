"""Read the files that the sandbox makes, with Pillow and PyAV."""

import io
from collections.abc import Iterator
from typing import Any

import av
from PIL import Image

File = tuple[bytes, str]


def files_of(value: Any) -> Iterator[File]:
    """Every file of an output."""
    if isinstance(value, tuple):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from files_of(part)


def size_of(file: File) -> tuple[int, int] | None:
    """Width and height of a picture or of the frames of a film; None for other files."""
    data, extension = file
    if extension == "mp4":
        with av.open(io.BytesIO(data)) as film:
            return film.streams.video[0].width, film.streams.video[0].height
    return Image.open(io.BytesIO(data)).size if extension in ("png", "jpg", "jpeg", "webp") else None


def seconds_of(file: File) -> float:
    """The length of a film or a sound."""
    with av.open(io.BytesIO(file[0])) as opened:
        return float((opened.duration or 0) / av.time_base)
