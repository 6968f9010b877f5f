"""What the tools answer: facts of a task as JSON, links to its files, and its pictures.

Rules of this file: what the provider wrote is data, in JSON and escaped; an answer stays below 1 MB.
"""

from __future__ import annotations

import base64
import io
import json
import mimetypes
from collections.abc import Sequence
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import anyio
from mcp_types import CallToolResult, ContentBlock, ImageContent, ResourceLink, TextContent
from PIL import Image
from unitask_api import output_files
from unitask_api.json_types import printable
from unitask_api.output_files import OutputFile
from unitask_api.states import State

from .._core.contents import format_of
from .._model.task import Task
from ..async_client import AsyncClient
from ..cli._state import handle
from ..errors import InvalidInput

MOST_PICTURES, LARGEST_PICTURE = 4, 180_000  # of one answer; bytes of one picture
SHOWN = ("image/png", "image/jpeg", "image/webp", "image/gif")  # as they are
SIDES = (1024, 640, 320)  # pixels of a picture that is not shown as it is
SHOWING = 15.0  # seconds for fetching the pictures of an answer
LARGEST_RESOURCE = 10 << 20  # bytes
LONGEST_TEXT, LONGEST_URL = 10_000, 4_000  # characters of what a task made, and of its address
MOST_FILES = 50  # that are listed; each is a resource, by its number


def text(facts: dict[str, Any]) -> TextContent:
    """Return facts as content."""
    return TextContent(type="text", text=json.dumps(facts, indent=2))


def said(value: object, length: int) -> str:
    """Return what the provider wrote as one escaped line."""
    return printable(str(value))[:length]


def facts_of(task: Task[Any]) -> dict[str, Any]:
    """Return what is known of a task."""
    facts: dict[str, Any] = {
        "task_id": handle(task),
        "state": task.state.value,
        "status": said(task.status, 200),
        "model": said(task.model, 200),
        "task_type": said(task.task_type, 200),
        "progress_percent": task.progress,
        "cost_usd": task.cost_usd or None,  # 0 until the provider fills it in
    }
    if not task.done:
        facts["next"] = "The task goes on, and it is paid: call wait with this task_id"
    elif task.state is State.COMPLETED:
        facts["files"] = [_facts_of_file(task, file) for file in task.output.files[:MOST_FILES]]
        facts["text"] = said(output_files.text_of(task.output.raw, type(task.output).__name__), LONGEST_TEXT) or None
    else:
        facts["failure"] = said(task.failure, 1000)
    return {name: value for name, value in facts.items() if value is not None}


def _facts_of_file(task: Task[Any], file: OutputFile) -> dict[str, Any]:
    url = None if file.url[:5].lower() == "data:" or len(file.url) > LONGEST_URL else printable(file.url)
    facts = {name: getattr(file, name) for name in ("number", "kind", "role", "width", "height", "duration_s")}
    return {name: value for name, value in {**facts, "url": url, "resource": _uri(task, file)}.items() if value}


def _uri(task: Task[Any], file: OutputFile) -> str:
    return f"unitask://tasks/{quote(handle(task), safe='')}/files/{file.number}"


async def answer(client: AsyncClient, task: Task[Any]) -> CallToolResult:
    """Return a task, with links to its files and with its pictures."""
    facts = facts_of(task)
    content: list[ContentBlock] = [text(facts)]
    if task.state is State.COMPLETED:
        files = task.output.files
        content += [_link(task, file) for file in files[:MOST_FILES]]
        pictures = [file for file in files if file.kind == "image" and file.role == "result"]
        content += await _pictures(client, pictures[:MOST_PICTURES])
    return CallToolResult(content=content, structured_content=facts)


def _link(task: Task[Any], file: OutputFile) -> ResourceLink:
    kind = mimetypes.guess_type(f"x{output_files.ending_of(file.url)}")[0]
    return ResourceLink(type="resource_link", uri=_uri(task, file), name=f"{file.role} {file.number}", mime_type=kind)


async def _pictures(client: AsyncClient, files: Sequence[OutputFile]) -> list[ContentBlock]:
    """Return pictures. One that cannot be shown does not hide the task."""
    shown: list[ContentBlock] = []
    with anyio.move_on_after(SHOWING):
        for file in files:
            try:
                content = await content_of(client, file)
                shown.append(await anyio.to_thread.run_sync(_picture, content))
            except Exception as error:  # Pillow raises anything for a broken file
                shown.append(text({"not_shown": file.number, "reason": said(error, 300)}))
    return shown


def _picture(content: bytes) -> ImageContent:
    """Return a picture as it is, or as a smaller JPEG on white."""
    if len(content) > LARGEST_PICTURE or mime_type(content) not in SHOWN:
        picture = Image.open(io.BytesIO(content)).convert("RGBA")
        for side in SIDES:
            picture.thumbnail((side, side))
            buffer = io.BytesIO()
            white = Image.new("RGBA", picture.size, "white")
            Image.alpha_composite(white, picture).convert("RGB").save(buffer, "JPEG", quality=85)
            content = buffer.getvalue()
            if len(content) <= LARGEST_PICTURE:
                break
    return ImageContent(type="image", data=base64.b64encode(content).decode(), mime_type=mime_type(content))


async def content_of(client: AsyncClient, file: OutputFile) -> bytes:
    """Return the content of an output file; raise InvalidInput for a large one."""
    with TemporaryDirectory() as folder:
        (path,) = await client.download(file, f"{folder}/")
        if (size := path.stat().st_size) > LARGEST_RESOURCE:
            raise InvalidInput(f"the file has {size / 1e6:.1f} MB, at most 10 MB are sent here: fetch it by its URL")
        return path.read_bytes()


def mime_type(content: bytes | str) -> str:
    """Return the media type of a file by its content."""
    found = format_of(content) if isinstance(content, bytes) else None
    return (found and mimetypes.guess_type(f"x.{found.name.lower()}")[0]) or "application/octet-stream"
