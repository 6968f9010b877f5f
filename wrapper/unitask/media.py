"""Pictures, videos and sounds as you have them, and the form in which they are sent.

Rules of this file: what is checked is what is sent; any exception of an object that was given becomes a ValueError.
"""

import base64
import binascii
import contextlib
import inspect
import os
import re
import stat
from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, Protocol, TypeAlias, cast
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from . import _pixels
from ._core.contents import format_of, inspect_picture, video_frames, video_seconds
from ._core.uploads import UPLOADABLE, Attachment, Upload, upload_ending
from .errors import InvalidInput

__all__ = ["Media", "Picture"]


class _ReadableFile(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class _Array(Protocol):
    """An array, or a PIL image."""

    @property
    def __array_interface__(self) -> dict[str, Any]: ...


class _FileUpload(Protocol):
    """An upload of FastAPI or Starlette, whose own `read` is async."""

    @property
    def file(self) -> _ReadableFile: ...


Media: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | _ReadableFile | _FileUpload | Upload"
Picture: TypeAlias = "Media | _Array"
LARGEST_FILE = 10 * 1024 * 1024  # bytes; upload page, and the pages of most families
MOST_READ = 256 * 1024 * 1024  # bytes of a file that are read at all, since validate=False may send more than that
EXTENSIONS = {"jpeg": (".jpg", ".jpeg"), "png": (".png",), "webp": (".webp",)}


def wire_form(picture: Picture) -> tuple[str, bytes | None]:
    """Return the form in which a picture is sent, and its content, None for an address; raise ValueError for others."""
    try:
        if isinstance(picture, Upload):
            return picture.url, None
        if isinstance(picture, str):
            return _from_text(picture)
        return _in_base64(_content(picture))
    except ValueError:
        raise
    except Exception as error:  # an object of the caller's may raise anything
        raise ValueError(
            f"the {type(picture).__name__} cannot be read: {type(error).__name__}: {error!s:.200}"
        ) from error


def _in_base64(content: bytes) -> tuple[str, bytes]:
    return base64.b64encode(content).decode("ascii"), content


def read_file(file: Media) -> bytes:
    """Return the content of a file; raise InvalidInput if it cannot be read, or is a URL."""
    try:
        sent, content = wire_form(file)
    except ValueError as error:
        raise InvalidInput(str(error)) from None
    if content is None:
        raise InvalidInput(f"{sent!r:.120} is an address already: give it as it is")
    return content


def inside(text: str, folder: Path | None) -> str | Path:
    """Return a URL or a data URI as it is, and a file of a folder as its path; raise ValueError for any other text.

    Args:
        text: A URL, a data URI, or a path: absolute, or relative to the folder.
        folder: The folder, without symbolic links; None to take no files.
    """
    if _ADDRESS.match(text) or text[:5].lower() == "data:":
        return text
    try:
        path = folder and (folder / text).resolve()
        if folder and path and path.is_relative_to(folder) and path.is_file():
            return path
    except (OSError, ValueError, RuntimeError):  # too long for a path, a NUL in it, a loop of symbolic links
        pass
    place = f"a file in {str(folder)!r}" if folder else "a file: no folder is open to this program"
    raise ValueError(f"{text!r:.120} is neither a URL, nor a data URI, nor {place}")


def attachment(sent: str, content: bytes, rule: Mapping[str, Any]) -> Attachment:
    """Return a file as it is sent in a field with this `x-media` rule."""
    attached = Attachment(sent)
    attached.content, attached.only_url = content, "base64" not in rule.get("accepts", ("base64",))
    return attached


def is_usual_url(value: object, rule: Mapping[str, Any]) -> bool:
    """Return whether a value is certainly a URL that fits a field with this `x-media` rule, in a tenth of the time."""
    formats = rule.get("formats", ()) if rule["kind"] == "image" else ()
    return isinstance(value, str) and _usual_url(tuple(formats)).fullmatch(value) is not None


@cache
def _usual_url(formats: tuple[str, ...]) -> re.Pattern[str]:
    endings = "|".join(re.escape(ending) for name in formats for ending in EXTENSIONS[name])
    return re.compile(rf"https?://[a-z0-9.-]+/[\w!$%&'()*+,./:;=@~-]*(?i:{endings})", re.ASCII)


def problems(sent: str, content: bytes | None, rule: Mapping[str, Any], *, uploads: bool = False) -> Iterator[str]:
    """Yield what is wrong with a file for a field with this `x-media` rule; `uploads`: it can be uploaded first."""
    formats: list[str] = rule.get("formats", [])
    is_picture, takes_base64 = rule["kind"] == "image", "base64" in rule.get("accepts", ("base64",))
    if content is None:
        yield from _url_problems(sent, formats if is_picture else [])
    elif not content:
        yield "it is empty (0 bytes)"
    elif len(content) > LARGEST_FILE:
        yield f"it {_too_large(len(content))}"
    elif not takes_base64 and not uploads:
        yield "only a URL is taken here: upload the file first"
    elif not takes_base64 and upload_ending(content) is None:
        endings = ", ".join(ending for _, ending in UPLOADABLE)
        yield f"only a URL is taken here, and an upload takes {endings}; it starts with {content[:12]!r}"
    elif is_picture:
        yield from _picture_problems(content, formats, rule.get("exclusive_max_side"))


def _picture_problems(content: bytes, formats: list[str], limit: int | None) -> Iterator[str]:
    try:
        info = inspect_picture(content)
    except ValueError as error:
        yield str(error)
        return
    if formats and info.format not in formats:
        yield f"it is a {info.format} picture by its content; {', '.join(formats)} are taken: convert it"
    if limit and info.width and info.height and max(info.width, info.height) >= limit:
        yield f"it is {info.width} x {info.height} pixels; both sides must be under {limit}: shrink it"


def measured(what: str, file: Any) -> Fraction | None:
    """Return the pixels of a picture, or the seconds or frames of a video; None where they are not known."""
    try:
        if isinstance(file, Attachment):
            content: bytes | None = file.content
        elif (stream := _stream(file)) is not None and not _is_seekable(stream):
            return None  # it can be read only once
        else:
            _, content = wire_form(file)
        if content is None:
            return None
        if what != "pixels":
            return video_seconds(content) if what == "seconds" else video_frames(content)
        info = inspect_picture(content)
        return Fraction(info.width * info.height) if info.width and info.height else None
    except Exception:  # an object of the caller's may raise anything
        return None


def _from_text(text: str) -> tuple[str, bytes | None]:
    pasted = _without_quotes(text)
    if pasted != text and not _exists(text):
        text = pasted
    if _ADDRESS.match(text):
        return text, None
    if not text:
        return text, b""
    if text[:5].lower() == "data:":
        head, comma, payload = text.partition(",")
        if not comma or not head.lower().endswith(";base64") or not head.isprintable():
            raise ValueError("the data URI is not of the form data:image/png;base64,...")
        payload = "".join(payload.split())  # tools break lines, which not every decoder ignores
        return f"{head},{payload}", _decode(payload)
    return _from_path_or_base64(text)


def _from_path_or_base64(text: str) -> tuple[str, bytes | None]:
    if _exists(text):
        return _in_base64(_file_content(Path(text)))
    if text[:5].lower() == "file:":
        return _in_base64(_file_content(_path_of(text)))
    if scheme := re.match(r"[A-Za-z][A-Za-z0-9+.-]*(?=://)", text):
        raise ValueError(f"{text!r:.120} is a {scheme[0]} address, which is not taken: give an https URL or the file")
    payload = "".join(text.split())
    if re.fullmatch(r"[A-Za-z0-9+/=]+", payload):
        if len(text) >= 256:
            return payload, _decode(payload)
        with contextlib.suppress(ValueError):
            content = _decode(payload)
            if format_of(content) or content.startswith(b"ID3"):
                return payload, content
    return _in_base64(_file_content(Path(from_home(text))))


_ADDRESS = re.compile(r"(?:https?|asset)://", re.IGNORECASE)  # asset://: stored by the provider (a client, 2026-08)
_QUOTES = ('""', "''", "\u201c\u201d", "\u2018\u2019")


def _without_quotes(text: str) -> str:
    """Return a text as it was before it was pasted: file managers put quotes around a path, and terminals a space."""
    stripped = text.strip()
    return stripped[1:-1] if len(stripped) > 2 and stripped[0] + stripped[-1] in _QUOTES else stripped


def _path_of(url: str) -> Path:
    """Return the path in a file URL (RFC 8089)."""
    parts = urlsplit(url)
    if unquote(parts.netloc).lower() not in ("", "localhost") or not parts.path.startswith("/"):
        raise ValueError(f"{url!r:.120} is not a file URL of this computer: give file:///folder/file, or the path")
    return Path(url2pathname(parts.path))


def from_home(path: str) -> str:
    """Expand ~ in a path; shells leave it alone in field=~/me.png and --to=~/out.png."""
    return os.path.expanduser(path)  # noqa: PTH111 - pathlib drops a slash at the end, and raises for an unknown user


def _file_content(path: Path) -> bytes:
    """Read a regular file. A pipe may never end, and can be read once only; an estimate reads a file, too."""
    try:
        info = path.stat()
        if info.st_size <= MOST_READ and (stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode)):
            return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in it
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"{str(path)!r:.200} cannot be read: {reason}") from None
    if not stat.S_ISREG(info.st_mode):
        raise ValueError(f"{str(path)!r:.200} is a pipe or a device: read it, and give its bytes")
    raise ValueError(f"{str(path)!r:.200} {_too_large(info.st_size)}")


def _too_large(size: int) -> str:
    return f"has {size / 1e6:.1f} MB; at most 10 MB can be sent: shrink it, or give a URL"


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # too long for a path, or a NUL in it
        return False


def _decode(payload: str) -> bytes:
    try:
        return base64.b64decode(payload, validate=True)
    except binascii.Error as error:
        raise ValueError(f"its base64 is broken: {error}") from None


def _content(picture: Any) -> bytes:
    """Return the encoded picture. The order matters: a PIL image can be read as an array too."""
    if isinstance(picture, bytes | bytearray | memoryview):
        return bytes(cast("bytes", picture))
    if isinstance(picture, os.PathLike):
        return _file_content(Path(os.fsdecode(cast("os.PathLike[str]", picture))))
    if _pixels.is_pil_image(picture):
        return _pixels.pil_png(picture)
    if hasattr(picture, "__array_interface__"):
        return _pixels.array_png(picture)
    if (stream := _stream(picture)) is not None:
        return _stream_content(stream)
    raise ValueError(
        f"an object of type {type(picture).__name__} is not a picture: give a path, bytes, "
        "a file object, a PIL image, a numpy array, a data URI or a URL"
    )


def _stream(file: Any) -> Any:
    """Return the object whose `read` gives the content, which is `file` of an upload of FastAPI; None without one."""
    if not inspect.iscoroutinefunction(getattr(file, "read", None)):
        return file if hasattr(file, "read") else None
    inner = getattr(file, "file", None)
    if not hasattr(inner, "read"):
        raise ValueError(f"read() of the {type(file).__name__} is async: await it, and give the bytes")
    return inner


def _is_seekable(stream: Any) -> bool:
    return bool(hasattr(stream, "seekable") and stream.seekable())


def _stream_content(stream: Any) -> bytes:
    place = stream.tell() if _is_seekable(stream) else None
    try:
        content = stream.read()
    finally:
        if place is not None:
            stream.seek(place)
    if inspect.iscoroutine(content):
        content.close()  # or Python warns that it was never awaited
    if isinstance(content, str):
        raise ValueError("the file object gives text; open it in binary mode ('rb')")
    if not isinstance(content, bytes | bytearray | memoryview):
        name, kind = type(stream).__name__, type(content).__name__
        raise ValueError(f"read() of the {name} gives {kind}, not bytes: if it is async, await it and give the bytes")
    if not content and place:
        raise ValueError(f"the file object is at its end, after {place} bytes: seek(0) first")
    return bytes(cast("bytes", content))


def url_problem(url: str, wanted: str = "") -> str | None:
    """Return why a URL cannot be used, None when it can; with `wanted`, its scheme must be http or https."""
    if wanted and not re.match(r"https?://", url, re.IGNORECASE):
        return f"{url!r:.120} is not {wanted}"
    odd = next((char for char in url if char in ' \\<>"' or not char.isprintable()), None)
    if odd is not None:
        return f"the URL {url!r:.120} has {odd!r} in it: take it out, or write it in percent form"
    try:
        parts = urlsplit(url)
        has_host, _ = bool(parts.hostname), parts.port
    except ValueError as error:
        return f"the URL {url!r:.120} is malformed: {error}"
    return None if has_host else f"the URL {url!r:.120} names no host"


def _url_problems(url: str, formats: list[str]) -> Iterator[str]:
    if problem := url_problem(url):
        yield problem
        return
    endings = [ending for name in formats for ending in EXTENSIONS[name]]
    is_asset = url[:8].lower() == "asset://"  # the id of a file, which has no ending
    if endings and not is_asset and not urlsplit(url).path.lower().endswith(tuple(endings)):
        yield f"the URL {url!r:.120} must end in {', '.join(endings)}; give the content instead, or validate=False"
