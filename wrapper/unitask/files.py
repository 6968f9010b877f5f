"""Output files: where each one goes, and whether what came is what was promised.

Rules of this file: a file appears under its name whole and checked, or not at all; an existing file is replaced only
when that is asked for. The key plays no part in it: output hosts must never see it (PiAPI blog, 2026).
"""

from __future__ import annotations

import contextlib
import os
import re
import uuid
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from . import media
from ._core import spec
from .errors import DownloadFailed, InvalidInput
from .task import Output, Task

CHUNK = 1 << 16  # bytes read at a time


@dataclass(frozen=True, slots=True)
class Target:
    """One output file and where it goes; `kind` is what it should be (image), None when the spec does not say."""

    url: str
    path: Path
    kind: str | None
    overwrite: bool
    task_id: str


def plan(task: Task[Output], to: str | os.PathLike[str], *, overwrite: bool) -> list[Target]:
    """The files of a task and where they go.

    Args:
        task: A completed task.
        to: A folder, if it ends in a slash or is one: files are called by the task's id. Otherwise a file name.
        overwrite: Whether existing files may be replaced.

    Raises:
        InvalidInput: There is nothing to fetch, or a place is taken.
    """
    urls = list(_urls(task))
    if not urls:
        raise InvalidInput(f"task {task.id} has no output file (status {task.status!r})")
    targets = [
        Target(url, path, kind, overwrite, task.id)
        for (url, kind), path in zip(urls, _paths(task, [url for url, _ in urls], to), strict=True)
    ]
    if taken := [problem for target in targets for problem in place_problems(target.path, overwrite=overwrite)]:
        raise InvalidInput(*taken)
    return targets


def place_problems(path: Path, *, overwrite: bool) -> Iterator[str]:
    """Why a file cannot be written at this path, if so."""
    try:
        if _is_folder(path):
            yield f"{str(path)!r} is a folder: name a file, or end it with a slash to have files put into it"
        elif path.exists() and not overwrite:
            yield f"{str(path)!r} exists: name another file, or pass overwrite=True"
    except OSError as error:  # a name that is too long
        yield _unwritable(path, error)
    else:
        yield from folder_problems(path.parent)


def folder_problems(folder: Path) -> Iterator[str]:
    """Why no file can be put into this folder, or why it cannot be made, if so."""
    for part in (folder, *folder.parents):
        try:
            if part.exists() and not part.is_dir():
                yield f"{str(part)!r} is a file, not a folder"
        except OSError as error:
            yield _unwritable(part, error)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name that is too long
        return False


def _unwritable(path: Path, error: Exception) -> str:
    return f"{str(path)!r} cannot be written: {getattr(error, 'strerror', None) or error}"


class Sink:
    """Takes one output file as it arrives; use it as a context manager, and `finish` it."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._part = target.path.with_name(f".{target.path.name}.{uuid.uuid4().hex}.part")
        self._expected: int | None = None

    def __enter__(self) -> Sink:
        try:
            self.target.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._part.open("xb")
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            raise InvalidInput(_unwritable(self.target.path, error)) from None
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # a full disk was told before
            self._file.close()
        self._part.unlink(missing_ok=True)

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Check the head of the answer before any of it is taken."""
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if status != 200:
            gone = "; outputs are kept for a few days only" if status in (403, 404, 410) else ""
            raise self.failed(f"HTTP {status}{gone}")
        if kind in ("text/html", "application/json", "application/problem+json"):
            raise self.failed(f"a page of type {kind} came instead of the file")
        length = headers.get("content-length", "")
        if length.isdecimal() and not headers.get("content-encoding"):
            self._expected = int(length)

    def write(self, chunk: bytes) -> None:
        """Take the next bytes."""
        with self._storing():
            self._file.write(chunk)

    def finish(self) -> Path:
        """Check what came, and put it in its place."""
        with self._storing():
            size = self._file.tell()
            self._file.close()
        if size == 0 or (self._expected is not None and size != self._expected):
            raise self.failed(f"{size} bytes came, {self._expected or 'some'} were announced")
        if self.target.kind == "image":
            try:
                media.inspect_picture(self._part.read_bytes())
            except ValueError as error:
                raise self.failed(str(error)) from None
        with self._storing():
            self._put()
        return self.target.path

    def failed(self, reason: str) -> DownloadFailed:
        """The error for this file."""
        return DownloadFailed(
            f"{self.target.url} was not fetched: {reason}", url=self.target.url, task_id=self.target.task_id
        )

    @contextlib.contextmanager
    def _storing(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise self.failed(f"it cannot be stored: {error.strerror or error}") from error

    def _put(self) -> None:
        if self.target.overwrite:
            self._part.replace(self.target.path)
            return
        try:
            os.link(self._part, self.target.path)  # unlike a rename, this fails if the name is taken meanwhile
        except FileExistsError:
            raise self.failed(f"{str(self.target.path)!r} was made meanwhile") from None
        except OSError:  # a file system without hard links
            self._part.replace(self.target.path)


def _urls(task: Task[Output]) -> Iterator[tuple[str, str | None]]:
    """Every URL in the output, in its order, with the kind of file that the spec promises there."""
    entry = spec.find_task_type(task.model, task.task_type)
    seen: set[str] = set()
    for name, value in task.output.raw.items():
        kind = spec.field_rule(entry.output, name).get("x-media", {}).get("kind") if entry else None
        for text in _texts(value):
            if re.match(r"https?://", text) and text not in seen:
                seen.add(text)
                yield text, kind


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _texts(list(cast("dict[str, object]", value).values()))
    elif isinstance(value, list):
        for item in cast("list[object]", value):
            yield from _texts(item)


def _paths(task: Task[Output], urls: list[str], to: str | os.PathLike[str]) -> list[Path]:
    text, place = os.fspath(to), Path(to)
    endings = [_ending(url) for url in urls]
    if text.endswith(("/", os.sep)) or (_is_folder(place) and not place.suffix):
        stem = re.sub(r"[^A-Za-z0-9_-]", "_", task.id)
        if len(urls) == 1:
            return [place / f"{stem}{endings[0]}"]
        return [place / f"{stem}-{number}{ending}" for number, ending in enumerate(endings, 1)]
    if len(urls) > 1:
        raise InvalidInput(f"task {task.id} has {len(urls)} output files: name a folder (with a slash at its end)")
    return [place]


def _ending(url: str) -> str:
    path = re.sub(r"[?#].*", "", url.partition("://")[2]).partition("/")[2]  # urlsplit raises for some
    found = re.search(r"\.[A-Za-z0-9]{1,5}$", path)
    return found.group().lower() if found else ""
