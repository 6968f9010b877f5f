"""The metadata of a file, without its pixels and samples."""

from __future__ import annotations

import io
import json
import struct

import av
from PIL import Image

PICTURES = ("png", "jpg", "jpeg", "webp", "gif")
FILMS_AND_SOUNDS = ("mp4", "mov", "m4a", "wav", "mp3", "webm")


def metadata(extension: str, data: bytes) -> str:
    if extension in PICTURES:
        with Image.open(io.BytesIO(data)) as picture:
            return f"{picture.info} {dict(picture.getexif())}"
    if extension in FILMS_AND_SOUNDS:
        with av.open(io.BytesIO(data)) as container:
            return str(container.metadata)
    if extension == "glb":
        return str(json.loads(data[20 : 20 + struct.unpack_from("<I", data, 12)[0]])["asset"])
    return data[:8192].decode(errors="replace")
