"""Encoded pictures in and out: limits before decoding, and the mark that says a result is synthetic."""

import struct
import zlib
from typing import Final

import cv2
import numpy as np

from unitask_sandbox.faces.arrays import Pixels, as_pixels
from unitask_sandbox.faces.errors import PictureTooLarge, UnreadablePicture
from unitask_sandbox.faces.headers import PNG_SIGNATURE, picture_size

MAX_SIDE: Final = 2048
"""A face swap refuses pictures with a side of this many pixels or more."""

SYNTHETIC_MARK: Final = "synthetic: face swapped by the unitask sandbox"

_IHDR_END: Final = len(PNG_SIGNATURE) + 25  # length 4, name 4, data 13, checksum 4


def decode(data: bytes, role: str, limit: int = MAX_SIDE) -> Pixels:
    """Return an encoded picture as ``(height, width, 3)`` BGR.

    Grey becomes BGR, sixteen bits become eight, transparency is dropped, an EXIF orientation is applied.

    Args:
        data: The bytes of a PNG, JPEG or WebP file.
        role: The task's name for the picture, for the error.
        limit: Pixels that no side may reach.

    Raises:
        UnreadablePicture: The bytes are something else, or damaged.
        PictureTooLarge: A side is ``limit`` or more; the pixels were not decoded.
    """
    size = picture_size(data)
    if size is None:
        raise UnreadablePicture(role)
    if max(size) >= limit:
        raise PictureTooLarge(role, *size, limit)
    picture = _pixels(data)
    if picture is None:
        raise UnreadablePicture(role)
    return picture


def _pixels(data: bytes) -> Pixels | None:
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    # OpenCV's stub leaves out that imdecode returns None for what it cannot read.
    return None if picture is None else as_pixels(picture)


def encode(picture: Pixels, mark: str = SYNTHETIC_MARK) -> bytes:
    """Return a BGR or BGRA picture as a PNG that is marked as synthetic."""
    written, data = cv2.imencode(".png", picture)
    if not written:
        message = f"OpenCV could not write a picture of shape {picture.shape} as PNG"
        raise RuntimeError(message)
    return with_comment(data.tobytes(), mark)


def with_comment(png: bytes, text: str) -> bytes:
    """Return a PNG with a ``tEXt`` chunk of the keyword ``Comment`` after its header; OpenCV writes none."""
    body = b"tEXt" + b"Comment\x00" + text.encode("latin-1")
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return png[:_IHDR_END] + chunk + png[_IHDR_END:]
