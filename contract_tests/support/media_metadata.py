"""What a file says of itself in its metadata, without its pixels and samples: that it is synthetic, or simulated."""

from __future__ import annotations

import io
import json
import re
import struct

import av
from PIL import Image

MARK = re.compile("synthetic|simulated", re.IGNORECASE)
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


def unmarked(files: list[tuple[str, bytes]]) -> list[str]:
    """The extensions of the files that do not say what they are."""
    return [extension for extension, data in files if not MARK.search(metadata(extension, data))]
