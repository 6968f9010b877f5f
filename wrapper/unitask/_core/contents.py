"""What the bytes of a fetched file say: whether it can be of its kind, and whether all of it is there.

Rules of this file: what is certainly wrong is refused, and what is not known is kept. A text is no picture, video or
sound, whatever the server calls it; a container that says how long it is, is held to that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from .range_download import DownloadAttemptError, Unpacking

HEAD = 4096  # bytes by which a text is recognised
_PIECE = 1 << 16  # bytes of a compressed file that are looked at together
_NAMES = {"image": "picture", "video": "video", "audio": "sound", "model": "3D model"}
_PAGE_ENDINGS = (".html", ".htm", ".xml")
# How a page begins, and what S3 and its like write: <Error><Code>.
_PAGES = frozenset(
    {"!doctype", "html", "head", "body", "error", "title", "meta", "script", "style", "center", "h1", "p"}
)
_TEXT_MODEL = re.compile(  # OBJ, MTL, PLY, STL, OFF, FBX and USD as text; points, as numbers
    r"\s*(#|;|(v[nt]?|[ogf]|mtllib|usemtl|newmtl|solid)\s|(ply|OFF)\s|[-+.\d]\S*[\s,]+[-+.\d])"
)
_PICTURES = (  # besides those of _FORMATS: BMP, TIFF, JPEG XL, JPEG 2000, ICO, PSD, EXR, HDR, QOI, DDS
    rb"BM|II\*\0|MM\0\*|II\xbc|\xff\x0a|\0\0\0\x0cJXL |\0\0\0\x0cjP  |\xff\x4f\xff\x51|\0\0[\x01\x02]\0"
    rb"|8BPS|v/1\x01|#\?R|qoif|DDS "
)
_PICTURE_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"hevc", b"mif1", b"msf1")
_UNKNOWN_LENGTH = 0x7FFFF000  # of a sound that was written to a pipe: its length is 2 or 4 GB, or zero


class Content(Protocol):
    """The bytes of a file: bytes, or a file that is mapped into memory."""

    def __len__(self) -> int: ...
    def __getitem__(self, part: slice, /) -> bytes: ...
    def rfind(self, sub: bytes, start: int = 0, /) -> int: ...


def check(content: Content, kind: str | None, ending: str, *, documented: bool) -> None:
    """Check that content may be a whole file of a kind.

    Args:
        content: All of it.
        kind: As of an `OutputFile`.
        ending: Of its URL or its name, with the dot; empty when there is none.
        documented: Whether the documents promise the kind; a picture is then of a known format.

    Raises:
        Trouble: It is of another kind, or it is cut off.
    """
    head = content[:HEAD]
    other = f"it is no {_NAMES.get(kind or '', 'file')}: it starts with {head[:40]!r}"
    if kind in ("image", "video", "audio") and re.match(rb"%PDF|PK\x03\x04|\x1f\x8b", head):
        raise DownloadAttemptError(other)
    text = _text(head)
    root = _root(text or "")
    if text is not None and not _fits(text, root, kind, ending):
        raise DownloadAttemptError(other, retryable=True, discard=True, late=True)  # as a page that says "not ready"
    form = next((form for form in _FORMATS if re.match(form.magic, head, re.DOTALL)), None)
    form = _SVG if root == "svg" else form
    if form and not form.is_whole(content):
        raise DownloadAttemptError(f"it is a {form.name} that is cut off", retryable=True, discard=True, late=True)
    if kind == "image" and documented and form is None and not re.match(_PICTURES, head):
        raise DownloadAttemptError(other)


def _text(head: bytes) -> str | None:
    """The beginning of a file as a text, None if it is none."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return head.decode("utf-16", "replace")
    if re.search(rb"[\x00-\x07\x0e-\x1a\x1c-\x1f\x7f]", head):
        return None
    try:
        return head[: -3 if len(head) == HEAD else None].decode("utf-8-sig", "strict")
    except UnicodeDecodeError as error:
        if error.end >= len(head) - 6:  # a character that the head cuts in two
            return head[: error.start].decode("utf-8-sig")
    plain = len(re.findall(rb"[\t\n\r\x20-\x7e]", head))
    return head.decode("latin-1") if plain > 0.8 * len(head) else None


def _fits(text: str, root: str, kind: str | None, ending: str) -> bool:
    """Whether a text with this root element may be a file of this kind."""
    match kind:
        case "image":
            return root == "svg" or text.startswith("#?R")
        case "video" | "audio":
            return text.startswith("#EXTM3U") or root == "mpd"  # lists of parts, as players take them
        case "model" if root:
            return root in ("collada", "x3d", "amf")
        case "model" if text.lstrip().startswith("{"):  # glTF has an asset, which may stand far behind
            return '"asset"' in text or len(text) > HEAD - 8
        case "model":
            return bool(_TEXT_MODEL.match(text))
        case _:
            return root not in _PAGES or ending in _PAGE_ENDINGS


def _root(text: str) -> str:
    """The name of the first element of an XML or HTML document, in lower case; empty if it is none."""
    rest = text.lstrip("\ufeff \t\r\n")
    while rest.startswith(("<?", "<!")):
        if rest[:14].lower() == "<!doctype html":
            return "!doctype"
        inner = "]" if re.match(r"<![^>-]*\[", rest) else ""
        end = "?>" if rest[1] == "?" else "-->" if rest.startswith("<!--") else f"{inner}>"
        rest = rest.partition(end)[2].lstrip()
    found = re.match(r"<(?:[\w.-]+:)?([A-Za-z][\w.-]*)", rest)
    return found[1].lower() if found else ""


def _number(content: Content, place: int, length: int, order: str) -> int:
    return int.from_bytes(content[place : place + length], "little" if order == "<" else "big")


def _png(content: Content) -> bool:
    return content.rfind(b"\0\0\0\0IEND\xaeB\x60\x82") > 0


def _jpeg(content: Content) -> bool:
    """ITU-T T.81, annex B: segments of marker and length up to the scan, which ends with EOI.

    A thumbnail inside a segment has an EOI of its own.
    """
    place = 2
    while (marker := content[place : place + 2])[:1] == b"\xff" and marker != b"\xff\xda":
        place += 1 if marker == b"\xff\xff" else 2 + _number(content, place + 2, 2, ">")
    return content.rfind(b"\xff\xd9", min(place, len(content))) > 0


def _gif(content: Content) -> bool:
    return content[-64:].rstrip(b"\0\r\n").endswith(b";")


def _riff(content: Content) -> bool:
    """WebP, WAV or AVI: a length, which leaves itself and the four bytes before it out."""
    length = _number(content, 4, 4, "<")
    is_known = length < _UNKNOWN_LENGTH and (length > 0 or content[8:12] == b"WEBP")
    return not is_known or len(content) >= 8 + length - (length % 2)


def _boxes(content: Content) -> bool:
    """MP4, MOV, AVIF and HEIC (ISO/IEC 14496-12): boxes of a length and a name; without some, nothing can be shown."""
    names = set[bytes]()
    for name, end in _each_box(content):
        if end > len(content):
            return False
        names.add(name)
    needed = {b"meta", b"mdat"} if content[8:12] in _PICTURE_BRANDS else {b"moov", b"mdat"}
    return needed <= names


def _each_box(content: Content) -> Iterator[tuple[bytes, int]]:
    place = 0
    while place + 8 <= len(content):
        size, name = _number(content, place, 4, ">"), content[place + 4 : place + 8]
        if size == 1:  # the length is too long for its place and stands behind
            size = _number(content, place + 8, 8, ">")
        if size == 0:  # up to the end of the file
            size = len(content) - place
        if size < 8 or not re.fullmatch(rb"[\x20-\x7e\xa9]{4}", name):  # something else at the end
            return
        place += size
        yield name, place


def _glb(content: Content) -> bool:
    return len(content) >= 12 and len(content) >= _number(content, 8, 4, "<")


def _zip(content: Content) -> bool:
    """The record at the end stands in the last 64 kB; the last thing in it is the length of a comment (APPNOTE)."""
    place = content.rfind(b"PK\x05\x06", max(0, len(content) - 65_557))
    return place >= 0 and len(content) >= place + 22 + _number(content, place + 20, 2, "<")


def _gzip(content: Content) -> bool:
    unpacking = Unpacking("gzip")
    try:
        for place in range(0, len(content), _PIECE):
            for _ in unpacking.feed(content[place : place + _PIECE]):
                pass
        unpacking.check_whole()
    except DownloadAttemptError as trouble:
        return not trouble.retryable  # what is broken or far too large is none of our business here
    return True


def _ogg(content: Content) -> bool:
    """The last page has its length in a table at its front (RFC 3533, 6)."""
    page = max(0, content.rfind(b"OggS"))
    parts = _number(content, page + 26, 1, "<")
    table = content[page + 27 : page + 27 + parts]
    return len(content) >= page + 27 + parts + sum(table)


def _matroska(content: Content) -> bool:
    """WebM: a head and a segment, each of a name and a length (RFC 8794, 4 to 6); a live one has no length."""
    place = 4
    for name in (b"", b"\x18\x53\x80\x67"):
        if content[place : place + len(name)] != name:
            return True
        place += len(name)
        first = _number(content, place, 1, ">")
        width = 9 - first.bit_length()
        length = _number(content, place, width, ">") & ((1 << 7 * width) - 1)
        if length == (1 << 7 * width) - 1:
            return True
        place += width + length
    return len(content) >= place


def _svg(content: Content) -> bool:
    return re.search(rb"</([\w.-]+:)?svg\s*>|<svg[^<>]*/>\s*\Z", content[-HEAD:]) is not None


@dataclass(frozen=True, slots=True)
class _Form:
    """A form of files: how they begin, what it is called, and whether one is whole."""

    magic: bytes
    name: str
    is_whole: Callable[[Content], bool]


_SVG = _Form(b"", "SVG", _svg)
_FORMATS = (
    _Form(rb"\x89PNG\r\n\x1a\n", "PNG", _png),
    _Form(rb"\xff\xd8\xff", "JPEG", _jpeg),
    _Form(rb"GIF8[79]a", "GIF", _gif),
    _Form(rb"RIFF....WEBP", "WebP", _riff),
    _Form(rb"RIFF....WAVE", "WAV", _riff),
    _Form(rb"RIFF....AVI ", "AVI", _riff),
    _Form(rb"....(ftyp|moov|wide)", "MP4", _boxes),
    _Form(rb"\x1a\x45\xdf\xa3", "WebM", _matroska),
    _Form(rb"OggS", "Ogg", _ogg),
    _Form(rb"glTF", "GLB", _glb),
    _Form(rb"PK\x03\x04", "ZIP", _zip),
    _Form(rb"\x1f\x8b\x08", "gzip", _gzip),
)
