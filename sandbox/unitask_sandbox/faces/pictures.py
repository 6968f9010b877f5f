"""Encoded pictures in and out: limits before decoding, and the mark that says a result is synthetic."""

import io
import struct
import zlib
from typing import Final

import cv2
import numpy as np
from PIL import Image

from unitask_sandbox.faces.arrays import Pixels, as_pixels
from unitask_sandbox.faces.headers import picture_size
from unitask_sandbox.media_failures import picture_too_large, unreadable_picture

MAX_SIDE: Final = 2048  # A face swap refuses pictures with a side of this many pixels or more

SWAPPED: Final = "synthetic: face swapped by the unitask sandbox"

_PNG_HEADER: Final = 33  # bytes: signature 8, length 4, name 4, data 13, checksum 4
_XMP: Final = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/" dc:source="{}"/></rdf:RDF></x:xmpmeta>'
)


def decode(data: bytes, field: str, limit: int = MAX_SIDE) -> Pixels:
    """Return an encoded picture as ``(height, width, 3)`` BGR.

    Grey becomes BGR, sixteen bits become eight, transparency is dropped, an EXIF orientation is applied. A side of
    ``limit`` pixels or more fails before anything is decoded.
    """
    size = picture_size(data)
    if size is None:
        raise unreadable_picture(field)
    if max(size) >= limit:
        raise picture_too_large(field, *size, limit)
    picture = decoded(data)
    if picture is None:
        raise unreadable_picture(field)
    return picture


def decoded(data: bytes) -> Pixels | None:
    """Return an encoded picture as BGR; None when OpenCV cannot read it."""
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    # OpenCV's stub leaves out that imdecode returns None.
    return None if picture is None else as_pixels(picture)


def encode(picture: Pixels, mark: str, extension: str = "png") -> bytes:
    """Return a BGR picture as a PNG, JPEG or WebP file, a BGRA one as PNG, with a mark in its metadata."""
    if extension == "png":  # by OpenCV, which takes half the time of Pillow and writes no comment
        return _with_comment(cv2.imencode(".png", picture)[1].tobytes(), mark)
    target = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(picture[..., ::-1]))
    if extension == "webp":
        image.save(target, "WEBP", xmp=_XMP.format(mark).encode())
    else:
        image.save(target, "JPEG", quality=95, comment=mark)
    return target.getvalue()


def _with_comment(png: bytes, text: str) -> bytes:
    """Return a PNG with a ``tEXt`` chunk of the keyword ``Comment`` after its header."""
    body = b"tEXt" + b"Comment\x00" + text.encode("latin-1")
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return png[:_PNG_HEADER] + chunk + png[_PNG_HEADER:]
