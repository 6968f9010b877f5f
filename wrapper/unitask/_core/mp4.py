"""Length of an MP4 video, from its structure; pictures are not decoded (ISO/IEC 14496-12)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction


def seconds(content: bytes) -> Fraction | None:
    """How long the film is; None when the file does not say, or is no MP4."""
    try:
        for header in _inside(content, b"moov", b"mvhd"):
            wide = header[0] == 1
            scale, length = struct.unpack_from(*((">IQ", header, 20) if wide else (">II", header, 12)))
            unknown = length == (2**64 - 1 if wide else 2**32 - 1)  # 8.2.2.3: all ones
            return Fraction(length, scale) if length and scale and not unknown else None
    except (struct.error, IndexError):
        return None
    return None


def frames(content: bytes) -> Fraction | None:
    """How many pictures its first video track has; None when the file does not say, or is no MP4."""
    try:
        for track in _inside(content, b"moov", b"trak", b"mdia"):
            if any(handler[8:12] == b"vide" for handler in _inside(track, b"hdlr")):
                for sizes in _inside(track, b"minf", b"stbl", b"stsz"):
                    (count,) = struct.unpack_from(">I", sizes, 8)
                    return Fraction(count) if count else None
    except struct.error:
        return None
    return None


def _inside(content: bytes, name: bytes, *rest: bytes) -> Iterator[bytes]:
    """The contents of the boxes at a path of names."""
    place = 0
    while place + 8 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, place)
        head = 8
        if size == 1:  # the size is too long for its place and stands behind
            head, (size,) = 16, struct.unpack_from(">Q", content, place + 8)
        elif size == 0:  # up to the end of the file
            size = len(content)
        if size < head:
            return
        if kind == name:
            inner = content[place + head : place + size]
            yield from _inside(inner, *rest) if rest else (inner,)
        place += size
