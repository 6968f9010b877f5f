"""Files made at test time: pictures without faces, of which only format and size are read, and boxes of an MP4."""

import io
import struct
from typing import Any

from PIL import Image


def picture(width: int = 12, height: int = 8, mode: str = "RGB") -> Image.Image:
    """Draw a picture whose pixels differ; with alpha, some of them are transparent."""
    across, down = (
        Image.linear_gradient("L").resize((width, height)),
        Image.radial_gradient("L").resize((width, height)),
    )
    image = Image.merge("RGB", (across, down, across.rotate(180)))
    if mode in ("LA", "RGBA"):
        image.putalpha(down)
    return image.convert(mode)


def encoded(width: int = 12, height: int = 8, form: str = "PNG", mode: str = "RGB", **options: Any) -> bytes:
    """Encode such a picture in a format of Pillow's."""
    file = io.BytesIO()
    picture(width, height, mode).save(file, form, **options)
    return file.getvalue()


def decoded(content: bytes, mode: str | None = None) -> Image.Image:
    """Decode a picture with Pillow."""
    image = Image.open(io.BytesIO(content))
    image.load()
    return image.convert(mode) if mode else image


def box(name: bytes, *parts: bytes, wide: bool = False) -> bytes:
    """A box of an MP4 file; a wide one has its length behind its name."""
    content = b"".join(parts)
    size = len(content) + (16 if wide else 8)
    return (struct.pack(">I4sQ", 1, name, size) if wide else struct.pack(">I4s", size, name)) + content
