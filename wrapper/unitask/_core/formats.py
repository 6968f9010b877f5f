"""Formats of files, by their first bytes: whether a file is whole, the size of a picture, the length of a video."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple, Protocol

_UNKNOWN_LENGTH = 0x7FFFF000  # of a sound that was written to a pipe: its length is 2 or 4 GB, or zero


class Content(Protocol):
    """The bytes of a file: bytes, or a file that is mapped into memory."""

    def __len__(self) -> int: ...
    def __getitem__(self, part: slice, /) -> bytes: ...
    def rfind(self, sub: bytes, start: int = 0, /) -> int: ...


class PictureInfo(NamedTuple):
    """Format and size of a picture."""

    format: str  # jpeg, png, webp, gif, bmp, tiff or heif
    width: int | None = None  # in pixels; None for a format that the API does not take
    height: int | None = None


@dataclass(frozen=True, slots=True)
class Format:
    """A format of files."""

    name: str
    magic: bytes  # a pattern of its first bytes
    is_whole: Callable[[Content], bool] = lambda _: True  # whether the end of a file is there
    # Width and height of a picture that the API takes; None where they are not readable.
    sides: Callable[[Content], tuple[int, int] | None] | None = None


def format_of(content: Content) -> Format | None:
    """Return the format of a file; None for an unknown one."""
    head = content[:64]
    return next((each for each in _FORMATS if re.match(each.magic, head, re.DOTALL)), None)


def inspect_picture(content: bytes) -> PictureInfo:
    """Return format and size of an encoded picture; pixels are not decoded.

    Raises:
        ValueError: It is not a picture, or it is cut off.
    """
    found = format_of(content)
    if found is None or found.name not in _PICTURES:
        raise ValueError(f"it is not a picture: it starts with {content[:12]!r}")
    if found.sides is None:
        return PictureInfo(found.name.lower())
    sides = found.sides(content)
    if sides is None or not found.is_whole(content):
        raise ValueError(f"it is a {found.name} that is cut off")
    return PictureInfo(found.name.lower(), *sides)


def video_seconds(content: bytes) -> Fraction | None:
    """Return the length of an MP4 (ISO/IEC 14496-12, 8.2.2); None when the file does not say it."""
    for header in _inside(content, b"moov", b"mvhd"):
        place, width = (20, 8) if header[:1] == b"\1" else (12, 4)
        scale, length = _number(header, place, 4), _number(header, place + 4, width)
        is_known = len(header) >= place + 4 + width and length < 256**width - 1
        return Fraction(length, scale) if is_known and length and scale else None
    return None


def video_frames(content: bytes) -> Fraction | None:
    """Return the number of pictures in the first video track of an MP4; None when the file does not say it."""
    for track in _inside(content, b"moov", b"trak", b"mdia"):
        if any(handler[8:12] == b"vide" for handler in _inside(track, b"hdlr")):
            for sizes in _inside(track, b"minf", b"stbl", b"stsz"):
                return Fraction(_number(sizes, 8, 4)) if len(sizes) >= 12 and any(sizes[8:12]) else None
    return None


def _number(content: Content, place: int, length: int) -> int:
    return int.from_bytes(content[place : place + length], "big")


def _little(content: Content, place: int, length: int) -> int:
    return int.from_bytes(content[place : place + length], "little")


def _png_is_whole(content: Content) -> bool:
    return content.rfind(b"\0\0\0\0IEND\xaeB\x60\x82") > 0


def _png_sides(content: Content) -> tuple[int, int] | None:
    return (_number(content, 16, 4), _number(content, 20, 4)) if content[12:16] == b"IHDR" else None


def _jpeg_sides(content: Content) -> tuple[int, int] | None:
    return _jpeg_head(content)[0]


def _jpeg_is_whole(content: Content) -> bool:
    """Whether the scan has its end; a thumbnail inside a segment has an end of its own."""
    _, place = _jpeg_head(content)
    return content.rfind(b"\xff\xd9", min(place, len(content))) > 0


def _jpeg_head(content: Content) -> tuple[tuple[int, int] | None, int]:
    """Return the size, and where the scan begins (ITU-T T.81, annex B): SOFn holds the size."""
    sides, place = None, 2
    while content[place : place + 1] == b"\xff" and (marker := _number(content, place + 1, 1)) != 0xDA:
        if marker == 0xFF:  # fill byte
            place += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            sides = _number(content, place + 7, 2), _number(content, place + 5, 2)
        place += 2 + _number(content, place + 2, 2)
    return sides, place


def _gif_is_whole(content: Content) -> bool:
    return content[-64:].rstrip(b"\0\r\n").endswith(b";")


def _riff_is_whole(content: Content) -> bool:
    """Whether a WebP, WAV or AVI has its length, which does not count the first eight bytes."""
    length = _little(content, 4, 4)
    is_known = length < _UNKNOWN_LENGTH and (length > 0 or content[8:12] == b"WEBP")
    return not is_known or len(content) >= 8 + length - (length % 2)


def _webp_sides(content: Content) -> tuple[int, int] | None:
    """RFC 9649, 2.3 to 2.7: the first chunk is VP8, VP8L or VP8X."""
    match content[12:16]:
        case b"VP8X":
            return 1 + _little(content, 24, 3), 1 + _little(content, 27, 3)
        case b"VP8L":
            bits = _little(content, 21, 4)
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case b"VP8 ":
            return _little(content, 26, 2) & 0x3FFF, _little(content, 28, 2) & 0x3FFF
        case _:
            return None


def _heif_is_whole(content: Content) -> bool:
    return _has_boxes(content, {b"meta", b"mdat"})


def _mp4_is_whole(content: Content) -> bool:
    return _has_boxes(content, {b"moov", b"mdat"})


def _has_boxes(content: Content, needed: set[bytes]) -> bool:
    boxes = list(_boxes(content))
    return all(end <= len(content) for _, _, end in boxes) and needed <= {name for name, _, _ in boxes}


def _boxes(content: Content) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and end of what is in each box (ISO/IEC 14496-12, 4.2)."""
    place = 0
    while place + 8 <= len(content):
        size, name, head = _number(content, place, 4), content[place + 4 : place + 8], 8
        if size == 1:  # the size is too long for its place and stands behind
            size, head = _number(content, place + 8, 8), 16
        elif size == 0:  # up to the end of the file
            size = len(content) - place
        if size < head or not re.fullmatch(rb"[\x20-\x7e\xa9]{4}", name):  # something else at the end
            return
        yield name, place + head, place + size
        place += size


def _inside(content: bytes, name: bytes, *rest: bytes) -> Iterator[bytes]:
    """Yield the contents of the boxes at a path of names."""
    for found, start, end in _boxes(content):
        if found == name:
            inner = content[start:end]
            yield from _inside(inner, *rest) if rest else (inner,)


def _glb_is_whole(content: Content) -> bool:
    return len(content) >= 12 and len(content) >= _little(content, 8, 4)


_PICTURES = ("PNG", "JPEG", "WebP", "GIF", "BMP", "TIFF", "HEIF")
_FORMATS = (
    Format("PNG", rb"\x89PNG\r\n\x1a\n", _png_is_whole, _png_sides),
    Format("JPEG", rb"\xff\xd8\xff", _jpeg_is_whole, _jpeg_sides),
    Format("WebP", rb"RIFF....WEBP", _riff_is_whole, _webp_sides),
    Format("GIF", rb"GIF8[79]a", _gif_is_whole),
    Format("BMP", rb"BM....\0\0\0\0"),
    Format("TIFF", rb"II\*\0|MM\0\*"),
    Format("HEIF", rb"....ftyp(avif|avis|heic|heix|hevc|mif1|msf1)", _heif_is_whole),
    Format("WAV", rb"RIFF....WAVE", _riff_is_whole),
    Format("AVI", rb"RIFF....AVI ", _riff_is_whole),
    Format("MP4", rb"....(ftyp|moov|wide)", _mp4_is_whole),
    Format("GLB", rb"glTF", _glb_is_whole),
)
