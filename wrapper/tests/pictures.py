"""Pictures made at test time. No faces are needed here: the wrapper looks at format and size alone."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image

MIME = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "GIF": "image/gif"}


def picture(width: int = 12, height: int = 8, mode: str = "RGB") -> Image.Image:
    """A picture whose every pixel differs from its neighbours."""
    across, down = (
        Image.linear_gradient("L").resize((width, height)),
        Image.radial_gradient("L").resize((width, height)),
    )
    return Image.merge("RGB", (across, down, across.rotate(180))).convert(mode)


def encoded(width: int = 12, height: int = 8, form: str = "PNG", mode: str = "RGB", **options: Any) -> bytes:
    """The same as a file of a format of Pillow's."""
    file = io.BytesIO()
    picture(width, height, mode).save(file, form, **options)
    return file.getvalue()


def decoded(content: bytes, mode: str | None = None) -> Image.Image:
    """A picture out of its file, as Pillow reads it."""
    image = Image.open(io.BytesIO(content))
    image.load()
    return image.convert(mode) if mode else image
