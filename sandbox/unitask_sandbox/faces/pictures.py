"""Encoded pictures in and out: their size, limits before decoding, and the mark that says a result is synthetic."""

import io
from typing import Final

import cv2
import numpy as np
from PIL import Image
from PIL.ExifTags import Base
from PIL.Image import DecompressionBombError
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from unitask_sandbox.faces.arrays import Pixels
from unitask_sandbox.failures import IMAGE_TOO_LARGE, TaskFailure, unusable

MAX_SIDE: Final = 2048  # a face swap refuses pictures with a side of this many pixels or more
# Scans of a progressive JPEG: encoders write about ten, and 100,000 keep a decoder busy for minutes
MOST_SCANS: Final = 100
SWAPPED: Final = "synthetic: face swapped by the unitask sandbox"

_READERS: Final[dict[bytes, type[ImageFile]]] = {
    b"\x89PNG": PngImageFile,
    b"\xff\xd8": JpegImageFile,
    b"RIFF": WebPImageFile,
}


def picture_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height of a PNG, JPEG or WebP picture in pixels; None for anything else.

    Nothing is decoded. Pillow's readers are called directly: `Image.open` refuses large pictures without saying how
    large they are.
    """
    reader = next((reader for start, reader in _READERS.items() if data.startswith(start)), None)
    if reader is None or (reader is JpegImageFile and data.count(b"\xff\xda") > MOST_SCANS):
        return None
    try:
        with reader(io.BytesIO(data)) as picture:
            return picture.size
    except DecompressionBombError:  # a WebP whose size Pillow does not report; this is the largest
        return 16383, 16383
    except (OSError, SyntaxError, ValueError):  # Pillow's errors of a damaged header
        return None


def decode(data: bytes, field: str, limit: int = MAX_SIDE) -> Pixels:
    """Return an encoded picture as ``(height, width, 3)`` BGR.

    Grey becomes BGR, sixteen bits become eight, transparency is dropped, an EXIF orientation is applied. A side of
    ``limit`` pixels or more fails before anything is decoded.
    """
    size = picture_size(data)
    if size is None:
        raise unreadable(field)
    if max(size) >= limit:
        raise too_large(field, *size, limit)
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        raise unreadable(field) from None
    if picture is None:  # OpenCV's stub leaves that out
        raise unreadable(field)
    return picture


def encode(picture: Pixels | Image.Image, mark: str, extension: str = "png") -> bytes:
    """Return a BGR picture as a PNG, JPEG or WebP file, a BGRA one as PNG, with a mark in its metadata."""
    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(np.ascontiguousarray(picture[..., [2, 1, 0, 3][: picture.shape[2]]]))
    exif = Image.Exif()
    exif[Base.ImageDescription] = mark
    target = io.BytesIO()
    picture.save(target, extension.replace("jpg", "jpeg"), exif=exif, quality=95, compress_level=1)
    return target.getvalue()


# Failures in the provider's words where public clients show them (2025): clients match on the beginnings.
# ``field`` is the field of the task's input that holds the picture.


def unreadable(field: str) -> TaskFailure:
    """Return the failure for bytes that are not a whole picture."""
    return unusable("image", field, "not a readable PNG, JPEG or WebP picture")


def too_large(field: str, width: int, height: int, limit: int) -> TaskFailure:
    """Return the failure for a picture with a side of ``limit`` pixels or more."""
    wanted = f"each side must be under {limit} pixels"
    return TaskFailure(f"image size too large ({field}): {width}x{height}, {wanted}", IMAGE_TOO_LARGE)


def no_face(field: str) -> TaskFailure:
    """Return the failure for a picture without a face."""
    return TaskFailure(f"no face found in the image ({field})")
