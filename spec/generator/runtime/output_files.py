"""List the files in the output of a task.

x-media in the schemas of outputs says which fields hold a file (docs/adding-a-task-type.md). In an output without a
schema every URL is a file, and its ending gives its kind.

Nothing that a provider sends raises here. A value of an unexpected shape is not a file; `raw` keeps it. URLs are never
changed.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, get_args
from urllib.parse import unquote_to_bytes

from . import contract
from .json_types import as_object, is_list, is_object

Kind = Literal["image", "video", "audio", "model", "file"]
Role = Literal["result", "preview", "variant", "input"]  # in the order of the list

DEEPEST = 40  # levels of an output that are searched; the deepest known has 5
_DEEPEST_SCHEMA = 8  # levels of a schema that are searched; the deepest has 4
_HTTP = re.compile(r"https?://[^/?#]", re.IGNORECASE)
_DATA = re.compile(r"data:([^;,]*)[^,]*,", re.IGNORECASE)

# By ending: the kind of file and its media types. The first ending of a media type is its usual one.
_ENDINGS: Mapping[str, tuple[Kind, tuple[str, ...]]] = {
    ".png": ("image", ("image/png",)),
    ".jpg": ("image", ("image/jpeg", "image/jpg")),
    ".jpeg": ("image", ()),
    ".webp": ("image", ("image/webp",)),
    ".gif": ("image", ("image/gif",)),
    ".avif": ("image", ("image/avif",)),
    ".svg": ("image", ("image/svg+xml",)),
    ".mp4": ("video", ("video/mp4",)),
    ".webm": ("video", ("video/webm",)),
    ".mov": ("video", ("video/quicktime",)),
    ".mp3": ("audio", ("audio/mpeg", "audio/mp3")),
    ".wav": ("audio", ("audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave")),
    ".flac": ("audio", ("audio/flac", "audio/x-flac")),
    ".ogg": ("audio", ("audio/ogg",)),
    ".m4a": ("audio", ("audio/mp4", "audio/x-m4a")),
    ".aac": ("audio", ("audio/aac",)),
    ".glb": ("model", ("model/gltf-binary",)),
    ".gltf": ("model", ("model/gltf+json",)),
    ".obj": ("model", ("model/obj",)),
    ".ply": ("model", ()),
    ".stl": ("model", ("model/stl",)),
    ".fbx": ("model", ()),
    ".usdz": ("model", ("model/vnd.usdz+zip",)),
    ".txt": ("file", ("text/plain",)),
}
_ENDING_OF_TYPE = {media: ending for ending, (_, types) in _ENDINGS.items() for media in types}
_KINDS_OF_MEDIA: tuple[Kind, ...] = ("image", "video", "audio", "model")  # the main types of media types
_BASE64_BEGINS: Mapping[str, str] = {  # magic bytes in base64
    "iVBORw0KGgo": "image/png",
    "/9j/": "image/jpeg",
    "UklGR": "image/webp",
    "R0lGOD": "image/gif",
}


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A file that a task made.

    Attributes:
        url: The URL, exactly as the provider wrote it. A file inside the output is a data URI.
        kind: image, video, audio, model (3D) or file (something else); None when unknown.
        role: result; preview (a cover, a thumbnail, a by-product); variant (a result in another form, such as with a
            watermark); input (a file that you gave). An undocumented file is a result.
        place: The place in the output, such as ``works[0].video.resource``.
        width: In pixels; None when unknown.
        height: In pixels; None when unknown.
        duration_s: Length in seconds; None when unknown. Kling's milliseconds are converted.
        watermark: Whether it has a watermark; None when unknown.
        documented: Whether the documents name this file. If not, its kind is guessed.
        task_id: The task that made it; empty when unknown.
        number: The position in the list of the task's files, from 1.
    """

    url: str
    kind: Kind | None = None
    role: Role = "result"
    place: str = ""
    width: int | None = None
    height: int | None = None
    duration_s: float | None = None
    watermark: bool | None = None
    documented: bool = False
    task_id: str = ""
    number: int = 1

    def __repr__(self) -> str:
        url = self.url if len(self.url) <= 300 else f"{self.url[:100]}... ({len(self.url)} characters)"
        values = {each.name: getattr(self, each.name) for each in fields(self)} | {"url": url}
        return f"OutputFile({', '.join(f'{name}={value!r}' for name, value in values.items() if value is not None)})"


def files_of(output: Mapping[str, Any], schema: str, task_id: str) -> list[OutputFile]:
    """Return the files in an output: results first, then previews, variants and inputs, each in the provider's order.

    Args:
        output: The output, as the provider sent it.
        schema: The component that describes it, also one that the spec does not have.
        task_id: The id of the task.
    """
    rule = contract.components().get(schema)
    found: dict[str, OutputFile] = {}
    for file in _inside(dict(output), rule, _Context()):
        found[file.url] = _merged(found[file.url], file) if file.url in found else file
    ordered = sorted(found.values(), key=lambda file: _rank(file.role))
    return [replace(file, task_id=task_id, number=number) for number, file in enumerate(ordered, 1)]


def ending_of(url: str) -> str:
    """Return the ending of a URL's path in lower case, with its dot; "" without one."""
    path = re.sub(r"[?#].*", "", url.partition("://")[2], flags=re.DOTALL).partition("/")[2]  # urlsplit raises for some
    found = re.search(r"\.[A-Za-z0-9]{1,5}\Z", path)
    return found.group().lower() if found else ""


def text_of(output: Mapping[str, Any], schema: str) -> str:
    """Return the text of a task whose output is documented as text only; "" for any other task.

    Args:
        output: The output, as the provider sent it.
        schema: The component that describes it.
    """
    rule = contract.components().get(schema)
    if rule is None or _promises_files(rule):
        return ""
    return "".join(f"{text}\n\n" for text in _texts(dict(output), rule)).strip()


def is_ending(text: str) -> bool:
    """Return whether files of a known kind have this ending (with its dot)."""
    return text.lower() in _ENDINGS


def kind_of_ending(ending: str) -> Kind | None:
    """Return the kind of files with this ending (with its dot); None when unknown."""
    return _ENDINGS.get(ending.lower(), (None, ()))[0]


def ending_of_type(media_type: str) -> str:
    """Return the usual ending of a media type (Content-Type), with its dot; "" when unknown."""
    return _ENDING_OF_TYPE.get(media_type.partition(";")[0].strip().lower(), "")


def type_of_base64(text: str) -> str:
    """Return the media type of a picture in base64; "" when unknown."""
    return next((kind for begin, kind in _BASE64_BEGINS.items() if text.startswith(begin)), "")


def content_of(url: str) -> tuple[str, bytes] | None:
    """Return media type and content of a data URI (RFC 2397); None when it is not one, or is broken or empty."""
    head = _DATA.match(url)
    if not head:
        return None
    payload = url[head.end() :]
    try:
        if head.group()[:-1].lower().endswith(";base64"):
            content = base64.b64decode("".join(payload.split()), validate=True)
        else:
            content = unquote_to_bytes(payload)
    except ValueError:  # binascii.Error, or half a character
        return None
    return (head[1], content) if content else None


@dataclass(frozen=True, slots=True)
class _Context:
    """A place in an output, and what surrounds it."""

    place: str = ""
    role: Role = "result"
    beside: Mapping[str, Any] = field(default_factory=dict[str, Any])  # the object that the place is in
    depth: int = 0

    def into(self, step: str, **changes: Any) -> _Context:
        return replace(self, place=self.place + step, depth=self.depth + 1, **changes)


def _inside(value: object, rule: object, context: _Context) -> Iterator[OutputFile]:
    """Yield the files in a value by its schema, or by their URLs when there is none."""
    rules = as_object(rule)
    media = as_object(rules.get("x-media"))
    role = media.get("role", context.role)
    if _holds_url(context.beside.get(media.get("variant_of", ""))):
        role = "variant"
    context = replace(context, role=role)
    if context.depth > DEEPEST:
        return
    rules = contract.resolve(rules)
    if isinstance(value, str):
        yield from _file_at(value, rules, media, context)
    elif is_list(value):
        for number, item in enumerate(value):
            yield from _inside(item, rules.get("items"), context.into(f"[{number}]"))
    elif is_object(value):
        known, other = as_object(rules.get("properties")), rules.get("additionalProperties")
        for name, part in value.items():
            step = f".{name}" if context.place else name
            yield from _inside(part, known.get(name, other), context.into(step, beside=value))


def _promises_files(rule: object, depth: int = 0) -> bool:
    """Return whether a schema has a field that holds a file."""
    rules = as_object(rule)
    if "kind" in as_object(rules.get("x-media")):
        return True
    rules = contract.resolve(rules)
    below = (rules.get("items"), rules.get("additionalProperties"), *as_object(rules.get("properties")).values())
    return depth <= _DEEPEST_SCHEMA and any(_promises_files(part, depth + 1) for part in below)


def _texts(value: object, rule: object) -> Iterator[str]:
    """Yield the documented texts in a value, in the order of its schema."""
    rules = contract.resolve(as_object(rule))
    if isinstance(value, str):
        if "string" in rules.get("type", ()) and value.strip():
            yield value
    elif is_list(value):
        for item in value:
            yield from _texts(item, rules["items"]) if "items" in rules else ()
    elif is_object(value):
        for name, part in as_object(rules.get("properties")).items():
            yield from _texts(value.get(name), part)


def _file_at(text: str, rule: Mapping[str, Any], media: Mapping[str, Any], context: _Context) -> Iterator[OutputFile]:
    """Yield the file that a text is, unless the schema says that the text is something else."""
    is_documented = "kind" in media
    if not is_documented and "string" in rule.get("type", ()):
        return
    url = _as_documented(text, media) if is_documented else _as_guessed(text)
    if url is None:
        return
    yield OutputFile(
        url,
        kind=media["kind"] if is_documented else _guessed(url),
        role=context.role,
        place=context.place,
        width=_pixels(context.beside, media.get("width")),
        height=_pixels(context.beside, media.get("height")),
        duration_s=_seconds(context.beside, media),
        watermark=media.get("watermark"),
        documented=is_documented,
    )


def _as_documented(text: str, media: Mapping[str, Any]) -> str | None:
    """Return the URL in a field that holds a file; a data URI for a file in base64."""
    if _HTTP.match(text):
        return text
    url = text
    if "base64" in media.get("holds", ()) and not _DATA.match(text):
        packed = "".join(text.split())
        url = f"data:{type_of_base64(packed) or 'application/octet-stream'};base64,{packed}"
    return url if content_of(url) else None


def _as_guessed(text: str) -> str | None:
    """Return a text of unknown meaning if it is a URL or a data URI of a known kind."""
    if re.search(r"\s", text) or not (_HTTP.match(text) or (_DATA.match(text) and _guessed(text) and content_of(text))):
        return None
    return text


def _holds_url(value: object, depth: int = 0) -> bool:
    if isinstance(value, str):
        return bool(_HTTP.match(value))
    if depth > DEEPEST:
        return False
    items = value if is_list(value) else as_object(value).values()
    return any(_holds_url(item, depth + 1) for item in items)


def _guessed(url: str) -> Kind | None:
    if data := _DATA.match(url):
        main = data[1].partition("/")[0].strip().lower()
        return next((kind for kind in _KINDS_OF_MEDIA if kind == main), None)
    return kind_of_ending(ending_of(url))


def _number(beside: Mapping[str, Any], path: str | None) -> float | None:
    """Return the positive number at a path beside a file. Zero means unknown (Kling's covers)."""
    *steps, name = (path or "").split(".")
    for step in steps:
        beside = as_object(beside.get(step))
    value = beside.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if number > 0 and math.isfinite(number) else None


def _pixels(beside: Mapping[str, Any], path: str | None) -> int | None:
    number = _number(beside, path)
    return int(number) if number and number.is_integer() else None


def _seconds(beside: Mapping[str, Any], media: Mapping[str, Any]) -> float | None:
    seconds, milliseconds = (_number(beside, media.get(key)) for key in ("duration_s", "duration_ms"))
    return milliseconds / 1000 if milliseconds else seconds


def _rank(role: Role) -> int:
    return get_args(Role).index(role)


def _merged(first: OutputFile, second: OutputFile) -> OutputFile:
    """Merge two entries of one URL: the entry of the better role, completed from the other."""
    best, other = (second, first) if _rank(second.role) < _rank(first.role) else (first, second)
    missing = [name for name in ("kind", "width", "height", "duration_s", "watermark") if getattr(best, name) is None]
    return replace(
        best, documented=best.documented or other.documented, **{name: getattr(other, name) for name in missing}
    )
