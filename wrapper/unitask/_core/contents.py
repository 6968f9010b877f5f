"""What the bytes of a file show: whether it is of its kind and whole, the size of a picture, the length of a video.

Rules of this file: what is certainly wrong is refused, and what is unknown is stored. A text is not a picture, video or
sound, whatever the server calls it; a container that says how long it is must be that long.
"""

import codecs
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import NamedTuple, Protocol, TypeAlias

from .range_download import DownloadAttemptError

HEAD = 4096  # bytes by which a text is recognised
_NAMES = {"image": "picture", "video": "video", "audio": "sound", "model": "3D model"}
_PAGE_ENDINGS = (".html", ".htm", ".xml")
# How a page begins, and what S3 and its like write: <Error><Code>.
_PAGES = frozenset(
    {"!doctype", "html", "head", "body", "error", "title", "meta", "script", "style", "center", "h1", "p"}
)
# Comments, processing instructions, and a document type with its entities.
_PROLOGUE = re.compile(r"(?:<!--.*?(?:-->|$)\s*|<\?.*?\?>\s*|<![^->\[]*(?:\[.*?\])?[^>]*>\s*)*", re.DOTALL)
_TEXT_MODELS = (".obj", ".mtl", ".ply", ".stl", ".off", ".gltf", ".dae", ".x3d", ".xyz", ".usda")
_UNKNOWN_LENGTH = 0x7FFFF000  # of a sound that was written to a pipe: its length is 2 or 4 GB, or zero


class Content(Protocol):
    """The bytes of a file: bytes, or a file that is mapped into memory."""

    def __len__(self) -> int: ...
    def __getitem__(self, part: slice, /) -> bytes: ...
    def rfind(self, sub: bytes, start: int = 0, /) -> int: ...


Sides: TypeAlias = tuple[int, int] | None  # width and height in pixels


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
    sides: Callable[[Content], Sides] | None = None  # the size of a picture that the API takes


def check(content: Content, kind: str | None, ending: str) -> None:
    """Raise `DownloadAttemptError` unless it may be a whole file of this kind, with this ending (".mp4", or empty)."""
    head = content[:HEAD]
    other = f"it is not a {_NAMES.get(kind or '', 'file')}: it starts with {head[:40]!r}"
    if kind in ("image", "video", "audio") and re.match(rb"%PDF|PK\x03\x04|\x1f\x8b", head):
        raise DownloadAttemptError(other)
    text = _text(head)
    if text is not None and not _fits(text, kind, ending):
        raise DownloadAttemptError(other, retryable=True, discard=True, late=True)  # as a page that says "not ready"
    found = format_of(content)
    if found and not found.is_whole(content):
        raise DownloadAttemptError(f"it is a {found.name} that is cut off", retryable=True, discard=True, late=True)


def _text(head: bytes) -> str | None:
    """Return the beginning of a file as a text; None if it is not a text."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return head.decode("utf-16", "replace")
    if re.search(rb"[\x00-\x07\x0e-\x1a\x1c-\x1f\x7f]", head):
        return None
    try:
        return codecs.getincrementaldecoder("utf-8-sig")().decode(head)  # it allows a character that is cut in two
    except UnicodeDecodeError:
        plain = len(re.findall(rb"[\t\n\r\x20-\x7e]", head))
        return head.decode("latin-1") if plain > 0.8 * len(head) else None


def _fits(text: str, kind: str | None, ending: str) -> bool:
    """Whether a text may be a file of this kind."""
    root = _root(text)
    match kind:
        case "image":
            return root == "svg"
        case "video" | "audio":
            return text.startswith("#EXTM3U")  # a list of parts, as players take it
        case "model":
            return root not in _PAGES and ending in _TEXT_MODELS
        case _:
            return root not in _PAGES or ending in _PAGE_ENDINGS


def _root(text: str) -> str:
    """Return the name of the first element of an XML or HTML document, in lower case; empty if it is not one."""
    text = text.lstrip("\ufeff \t\r\n")
    if text[:14].lower() == "<!doctype html":
        return "!doctype"
    found = re.match(r"<(?:[\w.-]+:)?([A-Za-z][\w.-]*)", _PROLOGUE.sub("", text, count=1))
    return found[1].lower() if found else ""


def format_of(content: Content) -> Format | None:
    """Return the format of a file; None for an unknown one."""
    head = content[:64]
    return next((each for each in _FORMATS if re.match(each.magic, head, re.DOTALL)), None)


def inspect_picture(content: bytes) -> PictureInfo:
    """Return format and size of an encoded picture, without decoding pixels; raise ValueError for anything else."""
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


def _png_sides(content: Content) -> Sides:
    return (_number(content, 16, 4), _number(content, 20, 4)) if content[12:16] == b"IHDR" else None


def _jpeg(content: Content) -> tuple[bool, Sides]:
    """Return whether the end is there, and the size, which SOFn has (ITU-T T.81, B); a thumbnail has its own end."""
    sides, place = None, 2
    while content[place : place + 1] == b"\xff" and (marker := _number(content, place + 1, 1)) != 0xDA:
        if marker == 0xFF:  # fill byte
            place += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            sides = _number(content, place + 7, 2), _number(content, place + 5, 2)
        place += 2 + _number(content, place + 2, 2)
    return content.rfind(b"\xff\xd9", min(place, len(content))) > 0, sides


def _webp_sides(content: Content) -> Sides:
    """RFC 9649."""
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


def _is_whole_riff(content: Content) -> bool:
    """Compare the length of a WebP, WAV or AVI, which does not count the first eight bytes."""
    length = _little(content, 4, 4)
    return length >= _UNKNOWN_LENGTH or len(content) >= 8 + length - (length % 2)


def _has_boxes(needed: set[bytes], content: Content) -> bool:
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


_PICTURES = ("PNG", "JPEG", "WebP", "GIF", "BMP", "TIFF", "HEIF")
_FORMATS = (
    Format("PNG", rb"\x89PNG\r\n\x1a\n", lambda content: content.rfind(b"\0\0\0\0IEND\xaeB\x60\x82") > 0, _png_sides),
    Format("JPEG", rb"\xff\xd8\xff", lambda content: _jpeg(content)[0], lambda content: _jpeg(content)[1]),
    Format("WebP", rb"RIFF....WEBP", _is_whole_riff, _webp_sides),
    Format("GIF", rb"GIF8[79]a", lambda content: content[-64:].rstrip(b"\0\r\n").endswith(b";")),
    Format("BMP", rb"BM....\0\0\0\0"),
    Format("TIFF", rb"II\*\0|MM\0\*"),
    Format("HEIF", rb"....ftyp(avif|avis|heic|heix|hevc|mif1|msf1)", partial(_has_boxes, {b"meta", b"mdat"})),
    Format("WAV", rb"RIFF....WAVE", _is_whole_riff),
    Format("MP4", rb"....(ftyp|moov|wide)", partial(_has_boxes, {b"moov", b"mdat"})),
    Format("GLB", rb"glTF", lambda content: len(content) >= max(12, _little(content, 8, 4))),
)
