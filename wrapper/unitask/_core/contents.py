"""Check the bytes of a downloaded file: whether it can be of its kind, and whether all of it is there.

Rules of this file: what is certainly wrong is refused, and what is unknown is stored. A text is not a picture, video or
sound, whatever the server calls it; a container that says how long it is must be that long.
"""

from __future__ import annotations

import codecs
import re

from .formats import Content, format_of
from .range_download import DownloadAttemptError

HEAD = 4096  # bytes by which a text is recognised
_NAMES = {"image": "picture", "video": "video", "audio": "sound", "model": "3D model"}
_PAGE_ENDINGS = (".html", ".htm", ".xml")
# How a page begins, and what S3 and its like write: <Error><Code>.
_PAGES = frozenset(
    {"!doctype", "html", "head", "body", "error", "title", "meta", "script", "style", "center", "h1", "p"}
)
_TEXT_MODELS = (".obj", ".mtl", ".ply", ".stl", ".off", ".gltf", ".dae", ".x3d", ".xyz", ".usda")


def check(content: Content, kind: str | None, ending: str) -> None:
    """Raise `DownloadAttemptError` unless content may be a whole file of a kind.

    `kind` is that of an `OutputFile`; `ending` that of its URL or its name, with the dot; empty when there is none.
    """
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
    rest = text.lstrip("\ufeff \t\r\n")
    while rest.startswith(("<?", "<!")):
        if rest[:14].lower() == "<!doctype html":
            return "!doctype"
        inner = "]" if re.match(r"<![^>-]*\[", rest) else ""
        end = "?>" if rest[1] == "?" else "-->" if rest.startswith("<!--") else f"{inner}>"
        rest = rest.partition(end)[2].lstrip()
    found = re.match(r"<(?:[\w.-]+:)?([A-Za-z][\w.-]*)", rest)
    return found[1].lower() if found else ""
