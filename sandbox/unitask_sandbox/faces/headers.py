"""Sizes of encoded pictures, read by Pillow from their headers: nothing is decoded."""

import io
from typing import Final

from PIL.Image import DecompressionBombError
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

# Scans of a progressive JPEG: encoders write about ten, and 100,000 keep a decoder busy for minutes
MOST_SCANS: Final = 100

_READERS: Final[dict[bytes, type[ImageFile]]] = {
    b"\x89PNG": PngImageFile,
    b"\xff\xd8": JpegImageFile,
    b"RIFF": WebPImageFile,
}


def picture_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height of a PNG, JPEG or WebP picture in pixels; None for anything else.

    Pillow's readers are called directly: `Image.open` refuses large pictures without saying how large they are.
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
