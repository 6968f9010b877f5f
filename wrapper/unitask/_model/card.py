"""A task as HTML, for a notebook.

Rules of this file: what a provider wrote is escaped; nothing is loaded from elsewhere. A file is shown from its bytes,
or is a link. The size is limited.
"""

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape

from unitask_api.json_types import printable
from unitask_api.output_files import OutputFile, content_of, ending_of

LARGEST = 8 << 20  # bytes of files that one task shows; base64 makes them a third longer
MOST_FILES = 12
LONGEST_TEXT = 4000  # characters
LONGEST_WORD = 200  # characters
LONGEST_URL = 4000  # characters; browsers cut off longer ones
_STYLE = "max-width:100%;max-height:32em"
# Name, element and media type of a format, and how it begins. SVG is not shown, because it is a document of its own.
_FORMATS = (
    ("PNG", "img", "image/png", rb"\x89PNG\r\n\x1a\n"),
    ("JPEG", "img", "image/jpeg", rb"\xff\xd8\xff"),
    ("WebP", "img", "image/webp", rb"RIFF....WEBP"),
    ("GIF", "img", "image/gif", rb"GIF8[79]a"),
    ("AVIF", "img", "image/avif", rb"....ftypavi[fs]"),
    ("HEIF", "", "", rb"....ftyp(hei|hev|mif)"),  # most browsers cannot show it
    ("M4A", "audio", "audio/mp4", rb"....ftypM4A"),
    ("MP4", "video", "video/mp4", rb"....ftyp"),
    ("WebM", "video", "video/webm", rb"\x1aE\xdf\xa3"),
    ("WAV", "audio", "audio/wav", rb"RIFF....WAVE"),
    ("MP3", "audio", "audio/mpeg", rb"ID3|\xff[\xe2-\xe7\xf2-\xf7\xfa-\xff]"),
    ("FLAC", "audio", "audio/flac", rb"fLaC"),
    ("Ogg", "audio", "audio/ogg", rb"OggS"),
    ("GLB", "", "", rb"glTF"),
)


def html(
    title: str,
    facts: Sequence[str],
    files: Sequence[OutputFile],
    contents: Mapping[str, bytes | int],
    *,
    text: str = "",
) -> str:
    """Return a task as HTML.

    Args:
        title: The kind of the task.
        facts: Its id, status, cost and so on.
        files: Its output files.
        contents: By the URL of a file, its bytes, or only their number.
        text: Its output or failure as text.
    """
    shown = {file.url for file in worth_showing(files)}
    parts = [f"<div><b>{_escaped(title)}</b> {', '.join(map(_escaped, facts))}</div>"]
    left = LARGEST
    for file in files[:MOST_FILES]:
        data = content_of(file.url)
        content = data[1] if data else contents.get(file.url)
        media = ""
        if isinstance(content, bytes) and file.url in shown and len(content) <= left:
            media = _media(content, f"{file.kind or 'file'} {file.number}")
            left -= len(content) if media else 0
        parts.append(f"<div>{media}<div>{', '.join(_file_facts(file, content))}</div></div>")
    if len(files) > MOST_FILES:
        parts.append(f"<div>and {len(files) - MOST_FILES} more files in task.output.files</div>")
    if text:
        parts.append(f'<pre style="white-space:pre-wrap">{_escaped(text, LONGEST_TEXT, lines=True)}</pre>')
    return f"<div>{''.join(parts)}</div>"


def worth_showing(files: Sequence[OutputFile]) -> list[OutputFile]:
    """Return the results among files, and the previews if no result can be shown, such as a 3-D model."""
    results, previews = ([file for file in files[:MOST_FILES] if file.role == role] for role in ("result", "preview"))
    return results if any(file.kind not in ("model", "file") for file in results) else results + previews


def _media(content: bytes, name: str) -> str:
    """Return an element that shows these bytes; empty if no browser can."""
    _, element, media_type = _format(content)
    source = f'src="data:{media_type};base64,{base64.b64encode(content).decode()}" style="{_STYLE}"'
    if element == "img":
        return f'<img alt="{name}" {source}>'
    return f"<{element} controls {source}></{element}>" if element else ""


def _format(content: bytes) -> tuple[str, str, str]:
    head = content[:64]
    return next((each[:3] for each in _FORMATS if re.match(each[3], head, re.DOTALL)), ("", "", ""))


def _file_facts(file: OutputFile, content: bytes | int | None) -> Iterator[str]:
    name = " ".join(filter(None, ["" if file.role == "result" else file.role, file.kind or "file", str(file.number)]))
    is_link = re.match("https?://", file.url, re.IGNORECASE) and len(file.url) <= LONGEST_URL
    yield (
        f'<a href="{escape(file.url)}" target="_blank" rel="noopener noreferrer">{name}</a>'
        if is_link and file.url.isprintable()
        else name
    )
    form = _format(content)[0] if isinstance(content, bytes) else ""
    if form := form or ending_of(file.url)[1:].upper():
        yield _escaped(form)
    if file.width and file.height:
        yield f"{file.width} x {file.height}"
    if file.duration_s:
        yield f"{file.duration_s:g} s"
    if content is not None:
        size = len(content) if isinstance(content, bytes) else content
        yield f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"


def _escaped(text: str, longest: int = LONGEST_WORD, *, lines: bool = False) -> str:
    """Escape a text of a provider, and shorten it; `lines` keeps its line breaks."""
    text = text if len(text) <= longest else f"{text[:longest]}..."
    return escape("\n".join(map(printable, text.splitlines())) if lines else printable(text))
