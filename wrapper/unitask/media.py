"""Pictures, videos and sounds as you have them, and what the API takes.

A file may be given as a path, bytes, a file object, a PIL image, a numpy array, a data URI, a base64 string, a URL or
an `Upload`. URLs are sent as given; the content of everything else goes along in base64 (Image Faceswap, 2025-04-03),
or is uploaded first where the field takes a URL alone or the content is large (`_core/attaching.py`).
Nothing that you give is changed.
"""

from __future__ import annotations

import base64
import binascii
import io
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast
from urllib.parse import urlsplit

from .errors import InvalidInput

if TYPE_CHECKING:
    from fractions import Fraction

__all__ = ["Attachment", "Media", "Picture", "PictureInfo", "Upload", "inspect_picture"]

LARGEST_FILE = 10 * 1024 * 1024  # bytes; upload page, and the pages of most families


class _ReadableFile(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class _PilImage(Protocol):
    @property
    def mode(self) -> str: ...
    def convert(self, mode: str) -> Any: ...
    def save(self, fp: Any, format: str | None = None) -> None: ...  # noqa: A002 - Pillow's own name


class _Array(Protocol):
    @property
    def __array_interface__(self) -> dict[str, Any]: ...
    def tobytes(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that the provider keeps for 24 hours; give it wherever a file is taken.

    Attributes:
        url: Where it lies.
        expires_at: When it is deleted, in UTC, as counted from when it was sent.
        sha256: Of its content, as hexadecimal digits.
    """

    url: str
    expires_at: datetime
    sha256: str


class Attachment(str):
    """A file in base64, or in a data URI, as it goes along in a request; it remembers the file."""

    content: bytes
    only_url: bool  # the field takes nothing but a URL, so it must be uploaded

    def __repr__(self) -> str:
        return f"<file of {len(self.content)} bytes>"


Picture: TypeAlias = (
    "str | os.PathLike[str] | bytes | bytearray | memoryview | _ReadableFile | _PilImage | _Array | Upload"
)
Media: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | _ReadableFile | Upload"
EXTENSIONS = {"jpeg": (".jpg", ".jpeg"), "png": (".png",), "webp": (".webp",)}


@dataclass(frozen=True, slots=True)
class PictureInfo:
    """What a picture's first bytes say: its format (jpeg, png, webp, gif, bmp, tiff) and its size in pixels.

    The size is None for a format that the API does not take.
    """

    format: str
    width: int | None = None
    height: int | None = None


def wire_form(picture: Picture) -> tuple[str, bytes | None]:
    """What to send for a picture, and its content if it is here; a URL's content is not.

    Raises:
        ValueError: It cannot be read, or is none of the kinds that are taken; the message says which and why.
    """
    if isinstance(picture, Upload):
        return picture.url, None
    if isinstance(picture, str):
        return _from_text(picture)
    content = _content(picture)
    return base64.b64encode(content).decode("ascii"), content


def read_file(file: Media) -> bytes:
    """The content of a file that is here.

    Raises:
        InvalidInput: It cannot be read, or it is a URL.
    """
    try:
        sent, content = wire_form(file)
    except ValueError as error:
        raise InvalidInput(str(error)) from None
    if content is None:
        raise InvalidInput(f"{sent!r:.120} has an address already: give it as it is")
    return content


def attachment(sent: str, content: bytes, rule: Mapping[str, Any]) -> Attachment:
    """A file that goes along in a request, for a field with this `x-media` rule."""
    attached = Attachment(sent)
    attached.content, attached.only_url = content, "base64" not in rule.get("accepts", ("base64",))
    return attached


def upload_ending(content: bytes) -> str | None:
    """The file name ending with which a file can be uploaded; None when uploads do not take such files."""
    return next((ending for magic, ending in _UPLOADABLE if re.match(magic, content, re.DOTALL)), None)


def problems(sent: str, content: bytes | None, rule: Mapping[str, Any], *, uploads: bool = False) -> Iterator[str]:
    """What is wrong with a file for a field with this `x-media` rule, one sentence each.

    Args:
        sent: What would be sent.
        content: The content, if it is here.
        rule: Of the field.
        uploads: Whether it can be uploaded first.
    """
    if content is None:
        yield from _url_problems(sent, _formats(rule) if rule["kind"] == "image" else [])
    elif not content:
        yield "it is empty (0 bytes)"
    else:
        way = list(_way_problems(content, rule, uploads))
        yield from way
        if rule["kind"] == "image" and not way:
            yield from _picture_problems(content, rule)


def _way_problems(content: bytes, rule: Mapping[str, Any], uploads: bool) -> Iterator[str]:
    """Why the content cannot be sent, whatever it is."""
    if len(content) > LARGEST_FILE:
        yield f"it has {len(content) / 1e6:.1f} MB; at most 10 MB can be sent: shrink it, or give a URL"
    if "base64" in rule.get("accepts", ("base64",)):
        return
    if not uploads:
        yield "only a URL is taken here: upload the file first"
    elif upload_ending(content) is None:
        endings = ", ".join(ending for _, ending in _UPLOADABLE)
        yield f"only a URL is taken here, and an upload takes {endings}; it starts with {content[:12]!r}"


def _picture_problems(content: bytes, rule: Mapping[str, Any]) -> Iterator[str]:
    try:
        info = inspect_picture(content)
    except ValueError as error:
        yield str(error)
        return
    formats = _formats(rule)
    if formats and info.format not in formats:
        yield f"it is a {info.format} picture by its content; {', '.join(formats)} are taken: convert it"
    limit = rule.get("exclusive_max_side")
    if limit and info.width and info.height and max(info.width, info.height) >= limit:
        yield f"it is {info.width} x {info.height} pixels; both sides must be under {limit}: shrink it"


def _formats(rule: Mapping[str, Any]) -> list[str]:
    return cast("list[str]", rule.get("formats", []))


def measured(what: str, file: Any) -> Fraction | None:
    """The pixels of a picture, or the seconds or frames of a video; None when it is not here, or does not say.

    A stream that can be read only once is not read.
    """
    if hasattr(file, "read") and not (hasattr(file, "seekable") and file.seekable()):
        return None
    try:
        _, content = wire_form(file)
        return None if content is None else _measured(what, content)
    except ValueError:
        return None


def measured_as_sent(what: str, text: object) -> Fraction | None:
    """The same for what stands in a request: no path is looked for."""
    if not isinstance(text, str) or text[:8].lower().startswith(("http://", "https://")):
        return None
    try:
        data = text.partition(",")[2] if text[:5].lower() == "data:" else text
        return _measured(what, text.content if isinstance(text, Attachment) else _decode(data))
    except ValueError:
        return None


def _measured(what: str, content: bytes) -> Fraction | None:
    from fractions import Fraction  # here, and below: only an estimate needs them

    from ._core import mp4

    if what != "pixels":
        return mp4.seconds(content) if what == "seconds" else mp4.frames(content)
    info = inspect_picture(content)
    return Fraction(info.width * info.height) if info.width and info.height else None


def inspect_picture(content: bytes) -> PictureInfo:
    """Format and size of an encoded picture, from its structure; pixels are not decoded.

    Raises:
        ValueError: It is no picture, or it is cut off.
    """
    for magic, read in _READERS:
        if re.match(magic, content, re.DOTALL):
            return read(content)
    raise ValueError(f"it is no picture: it starts with {content[:12]!r}")


def _from_text(text: str) -> tuple[str, bytes | None]:
    if re.match(r"https?://", text, re.IGNORECASE):
        return text, None
    if text[:5].lower() == "data:":
        head, comma, payload = text.partition(",")
        if not comma or not head.lower().endswith(";base64"):
            raise ValueError("the data URI is not of the form data:image/png;base64,...")
        return text, _decode(payload)
    if _exists(text) or len(text) < 256 or not re.fullmatch(r"[A-Za-z0-9+/=\s]+", text):
        return wire_form(Path(text)) if text else (text, b"")
    return text, _decode(text)


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # too long for a path, or a NUL in it
        return False


def _decode(payload: str) -> bytes:
    try:
        return base64.b64decode(re.sub(r"\s", "", payload), validate=True)
    except binascii.Error as error:
        raise ValueError(f"its base64 is broken: {error}") from None


def _content(picture: Any) -> bytes:
    """The encoded picture. The order matters: a PIL image can be read as an array too."""
    if isinstance(picture, bytes | bytearray):
        return bytes(picture)
    if isinstance(picture, memoryview):
        return cast("memoryview[int]", picture).tobytes()
    if isinstance(picture, os.PathLike):
        return _file_content(Path(cast("os.PathLike[str]", picture)))
    if hasattr(picture, "save") and hasattr(picture, "mode"):
        return _pil_content(picture)
    if hasattr(picture, "__array_interface__"):
        return _array_content(picture)
    if hasattr(picture, "read"):
        return _stream_content(picture)
    raise ValueError(
        f"a {type(picture).__name__} is no picture: give a path, bytes, a file object, a PIL image, a numpy array, "
        "a data URI or a URL"
    )


def _file_content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{str(path)!r:.200} cannot be read: {error.strerror or error}") from None


def _stream_content(stream: Any) -> bytes:
    try:
        place = stream.tell() if hasattr(stream, "seekable") and stream.seekable() else None
        try:
            content = stream.read()
        finally:
            if place is not None:
                stream.seek(place)
    except (OSError, ValueError) as error:
        raise ValueError(f"the file object cannot be read: {error}") from None
    if not isinstance(content, bytes):
        raise ValueError("the file object gives text; open it in binary mode ('rb')")
    return content


def _pil_content(image: _PilImage) -> bytes:
    buffer = io.BytesIO()
    try:
        plain = image if image.mode in ("1", "L", "LA", "P", "RGB", "RGBA") else image.convert("RGB")
        plain.save(buffer, format="PNG")
    except (OSError, SyntaxError, ValueError) as error:  # Pillow reads a file when its pixels are first needed
        raise ValueError(f"the PIL image cannot be read: {error}") from None
    return buffer.getvalue()


def _array_content(array: _Array) -> bytes:
    """A PNG of an array of unsigned bytes: (height, width), grey, or (height, width, 3 or 4) in RGB order."""
    interface = array.__array_interface__
    shape = tuple(interface["shape"])
    channels = shape[2] if len(shape) == 3 else 1
    if interface["typestr"] != "|u1" or len(shape) not in (2, 3) or channels not in (1, 3, 4) or 0 in shape:
        raise ValueError(
            f"an array of shape {shape} and type {interface['typestr']} is no picture: "
            "give (height, width[, 3 or 4]) of uint8, channels in RGB order"
        )
    height, width = shape[:2]
    pixels, row = array.tobytes(), width * channels
    lines = b"".join(b"\0" + pixels[start : start + row] for start in range(0, height * row, row))
    kind = {1: 0, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def _url_problems(url: str, formats: list[str]) -> Iterator[str]:
    endings = [ending for name in formats for ending in EXTENSIONS[name]]
    try:
        parts = urlsplit(url)
    except ValueError as error:
        yield f"the URL {url!r:.120} is malformed: {error}"
        return
    if not parts.hostname:
        yield f"the URL {url!r:.120} names no host"
    if endings and not parts.path.lower().endswith(tuple(endings)):
        yield f"the URL {url!r:.120} must end in {', '.join(endings)}; give the content instead, or validate=False"


def _png(content: bytes) -> PictureInfo:
    """PNG (W3C, 5.2 and 11.2): a signature, then chunks of length, name, data, checksum, from IHDR up to IEND."""
    place = 8
    while content[12:16] == b"IHDR" and place + 12 <= len(content):
        length, name = struct.unpack_from(">I4s", content, place)
        place += 12 + length
        if name == b"IEND" and place <= len(content):
            return PictureInfo("png", *struct.unpack_from(">II", content, 16))
    raise ValueError("it is a PNG that is cut off")


def _jpeg(content: bytes) -> PictureInfo:
    """JPEG (ITU-T T.81, annex B): segments of marker and length; the frame header SOFn holds the size."""
    place = 2
    while place + 9 <= len(content) and content[place] == 0xFF:
        marker = content[place + 1]
        if marker == 0xFF:  # fill byte
            place += 1
        elif marker in (0xC4, 0xC8, 0xCC) or not 0xC0 <= marker <= 0xCF:
            place += 2 + int.from_bytes(content[place + 2 : place + 4], "big")
        else:
            height, width = struct.unpack_from(">HH", content, place + 5)
            if b"\xff\xd9" not in content[place:]:
                break
            return PictureInfo("jpeg", width, height)
    raise ValueError("it is a JPEG that is cut off")


def _webp(content: bytes) -> PictureInfo:
    """WebP (RFC 9649, 2.3 to 2.7): a RIFF container whose first chunk is VP8, VP8L or VP8X."""
    if len(content) < 30 or len(content) < 8 + int.from_bytes(content[4:8], "little"):
        raise ValueError("it is a WebP that is cut off")
    match content[12:16]:
        case b"VP8X":
            sides = (
                1 + int.from_bytes(content[24:27], "little"),
                1 + int.from_bytes(content[27:30], "little"),
            )
        case b"VP8L":
            bits = int.from_bytes(content[21:25], "little")
            sides = (1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
        case b"VP8 ":
            sides = tuple(side & 0x3FFF for side in struct.unpack_from("<HH", content, 26))
        case chunk:
            raise ValueError(f"it is no WebP picture: its first chunk is {chunk!r}")
    return PictureInfo("webp", *sides)


def _named(name: str) -> Callable[[bytes], PictureInfo]:
    """For a format that is known only in order to be called by its name when it is refused."""
    return lambda _: PictureInfo(name)


_READERS: tuple[tuple[bytes, Callable[[bytes], PictureInfo]], ...] = (
    (rb"\x89PNG\r\n\x1a\n", _png),
    (rb"\xff\xd8\xff", _jpeg),
    (rb"RIFF....WEBP", _webp),
    (rb"GIF8[79]a", _named("gif")),
    (rb"BM....\0\0\0\0", _named("bmp")),
    (rb"II\*\0|MM\0\*", _named("tiff")),
    (rb"....ftyp(heic|heix|mif1|avif)", _named("heif")),
)
# What uploads take, by the first bytes (clients, 2025); the order matters only for RIFF
_UPLOADABLE: tuple[tuple[bytes, str], ...] = (
    (rb"\x89PNG\r\n\x1a\n", "png"),
    (rb"\xff\xd8\xff", "jpg"),
    (rb"RIFF....WEBP", "webp"),
    (rb"RIFF....WAVE", "wav"),
    (rb"....ftyp(?!heic|heix|mif1|avif)", "mp4"),
    (rb"ID3|\xff[\xe2-\xe7\xf2-\xf7\xfa-\xfb]", "mp3"),
)
