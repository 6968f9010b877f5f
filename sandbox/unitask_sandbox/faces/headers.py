"""Width and height of a PNG, JPEG or WebP picture from its first bytes, without decoding it.

A small file can hold an enormous picture and fill the memory when decoded; its header is checked before that. So is
the number of its scans, which fill the time.
"""

import struct
from collections.abc import Callable

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

# JPEG markers (ISO/IEC 10918-1, table B.1).
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # C4, C8, CC are tables and an extension
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})  # TEM, restart markers, start of image
_START_OF_SCAN = 0xDA

MAX_SCANS = 100
"""Scans of a progressive JPEG; each takes as long as a whole picture, and encoders make about ten."""


def picture_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height in pixels, or None if this is no PNG, JPEG or WebP header."""
    try:
        size = _reader(data)(data)
    except (struct.error, IndexError):  # the file ends inside its header
        return None
    return size if size is not None and min(size) > 0 else None


def _reader(data: bytes) -> Callable[[bytes], tuple[int, int] | None]:
    if data.startswith(PNG_SIGNATURE):
        return _png_size
    if data.startswith(b"\xff\xd8"):
        return _jpeg_size
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp_size
    return _no_size


def _no_size(_data: bytes) -> None:
    return None


def _png_size(data: bytes) -> tuple[int, int] | None:
    """IHDR is always the first chunk: length, name, width, height."""
    name, width, height = struct.unpack_from(">4sII", data, 12)
    return (width, height) if name == b"IHDR" else None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """The frame header is a segment before the first scan; a thumbnail's own is inside another segment."""
    if data.count(bytes([0xFF, _START_OF_SCAN])) > MAX_SCANS:
        return None
    at = 2
    while data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker in _WITHOUT_LENGTH:
            at += 2
        elif marker in _START_OF_FRAME:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        elif marker == _START_OF_SCAN:
            return None
        else:
            at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    return None


def _webp_size(data: bytes) -> tuple[int, int] | None:
    """The first chunk says the kind: lossy, lossless, or extended with a canvas size (RFC 9649)."""
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        return (width, height) if len(data) >= 30 else None
    if kind == b"VP8L" and data[20] == 0x2F:
        bits = struct.unpack_from("<I", data, 21)[0]
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF  # the two high bits are a display scale
    return None
