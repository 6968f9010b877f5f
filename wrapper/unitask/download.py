"""Output files: where each one goes, and whether what came is what was promised.

Rules of this file: a file appears under its name whole and checked, or not at all; an existing file is replaced only
when that is asked for. The key plays no part in it: output hosts must never see it (PiAPI blog, 2026).
"""

from __future__ import annotations

import base64
import contextlib
import mmap
import os
import re
import secrets
import shutil
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unitask_api import output_files
from unitask_api.output_files import OutputFile

from ._core import contents, range_download
from ._core.effects import Response
from ._core.range_download import DownloadAttemptError
from ._core.retry_policy import RetryPolicy
from ._model.state import State
from ._model.task import Task
from ._model.timestamp import Timestamp
from .errors import DownloadFailed, InvalidInput

LEAST_FREE = 32 << 20  # bytes that a disk must have free before a task is paid whose output goes there


@dataclass(frozen=True, slots=True)
class Target:
    """One output file and where it goes; `unnamed` is whether the path still lacks its ending."""

    file: OutputFile
    path: Path
    unnamed: bool
    overwrite: bool


@dataclass(slots=True)
class Batch:
    """Files that are fetched together, `parallel` of them at once; none is begun or continued once it is `stopped`."""

    targets: list[Target]
    parallel: int
    task: Task[Any] | None = None
    stopped: bool = False

    def paths(self, outcomes: Sequence[Path | BaseException]) -> list[Path]:
        """Where the files lie.

        Args:
            outcomes: What became of each target: its path, or why it is not there.

        Raises:
            DownloadFailed: Some are not there. It names those that are.
        """
        paths = [outcome for outcome in outcomes if isinstance(outcome, Path)]
        errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        failures = [error for error in errors if isinstance(error, DownloadFailed)]
        if len(failures) < len(errors):
            raise next(error for error in errors if not isinstance(error, DownloadFailed))
        if not failures:
            return paths
        if len(self.targets) == 1:
            raise failures[0]
        there = ", ".join(repr(str(path)) for path in paths) or "none"
        raise DownloadFailed(
            f"{len(failures)} of {len(self.targets)} files are missing: "
            f"{'; '.join(failure.reason for failure in failures)}. Fetched and whole: {there}",
            then=self.recourse(failures[0].missing),
            url=failures[0].url,
            task_id=failures[0].task_id,
            fetched=tuple(paths),
            missing=tuple(file for failure in failures for file in failure.missing),
        ) from failures[0]

    def recourse(self, files: Sequence[OutputFile]) -> str:
        """What to do when these files are not fetched, and what is paid: a sentence for the end of an error."""
        return _recourse(self.task or files)


def check_destination(to: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Prove that an output can be put into a place, before its task is created and paid.

    A file is written and removed in the folder, or in the nearest folder above it that exists; nothing else is made.

    Args:
        to: The place, as `download` takes it.
        overwrite: Whether an existing file may be replaced.

    Raises:
        InvalidInput: The place is taken or cannot be written, or its disk has less than `LEAST_FREE` bytes free.
    """
    place = Path(to)
    if problems := list(folder_problems(place) if names_folder(to) else place_problems(place, overwrite=overwrite)):
        raise InvalidInput(*problems)
    folder = _existing(place)
    if (free := _free(folder)) is not None and free < LEAST_FREE:
        raise InvalidInput(
            f"the disk of {str(folder)!r} has {free / 1e6:.1f} MB free, and an output may need more than "
            f"{LEAST_FREE / 1e6:.0f} MB: make room, or name a place on another disk"
        )


def names_folder(to: str | os.PathLike[str]) -> bool:
    """Whether a place is a folder to put files into; otherwise it is the name of a file (see `Client.download`)."""
    place, text = Path(to), os.fspath(to)
    if text.endswith(tuple(filter(None, ("/", os.sep, os.altsep)))):
        return True
    if _is_folder(place):
        return not output_files.is_ending(place.suffix)
    # pathlib drops the slash at the end of Path("out/"): a path object without an ending may be that
    return not isinstance(to, str) and not re.search("[A-Za-z]", place.suffix) and not os.path.lexists(place)


def plan(
    task: Task[Any] | OutputFile | Iterable[OutputFile],
    to: str | os.PathLike[str],
    *,
    previews: bool,
    overwrite: bool,
    parallel: int,
) -> Batch:
    """Which files to fetch, and where they go.

    Args:
        task: A completed task, or files of one or of several tasks.
        to: A folder, if it ends in a slash or is one: files are called by the task's id, and by their number in the
            list of its files unless a task has just one to fetch. Otherwise a file name.
        previews: Whether to fetch a task's previews as well as its results.
        overwrite: Whether existing files may be replaced.
        parallel: How many files to fetch at once.

    Raises:
        InvalidInput: There is nothing to fetch, or a place is taken or cannot be written.
    """
    what = task if isinstance(task, Task | OutputFile) else list(task)
    try:
        return _plan(what, to, previews=previews, overwrite=overwrite, parallel=parallel)
    except InvalidInput as error:  # nothing is fetched, but the task is there and may be paid
        files = [what] if isinstance(what, OutputFile) else what
        task_id = what.id if isinstance(what, Task) else next(iter(_ids(files)), None)
        raise InvalidInput(
            *error.problems, undone="nothing was fetched", then=_recourse(files), task_id=task_id
        ) from None


def _ids(files: Task[Any] | Sequence[object]) -> list[str]:
    """The tasks of files, each once."""
    if isinstance(files, Task):
        return [files.id]
    return list(dict.fromkeys(file.task_id for file in files if isinstance(file, OutputFile) and file.task_id))


def _recourse(what: Task[Any] | Sequence[object]) -> str:
    """What is paid, and how to fetch it: a sentence for the end of an error; empty when no task is known."""
    task = what if isinstance(what, Task) else None
    ids = _ids(what)
    if not ids or (task and task.done and task.state is not State.COMPLETED):
        return ""
    names = [task.id if task.output_type.PROTOCOL == "unified" else task.token] if task else ids
    if task and not task.done:
        return f"Task {task.id!r} is not done: client.wait({names[0]!r}) waits for it"
    cost = task.cost_usd if task else None
    paid = "paid for" if cost is None else f"paid for (${cost:.7f}".rstrip("0").rstrip(".") + ")"
    if len(names) > 1:
        return f"The tasks {', '.join(map(repr, names))} are done and {paid}: client.get finds each of them by its id"
    return f"Task {ids[0]!r} is done and {paid}: client.download(client.get({names[0]!r}), 'out/') fetches what it made"


def _plan(
    task: Task[Any] | OutputFile | Sequence[object],
    to: str | os.PathLike[str],
    *,
    previews: bool,
    overwrite: bool,
    parallel: int,
) -> Batch:
    if not _is_count(parallel):
        raise InvalidInput(f"parallel is {parallel!r}: give a whole number from 1")
    files = _of_task(task, previews=previews) if isinstance(task, Task) else _given(task)
    is_only = isinstance(task, Task) and len(files) == 1
    targets = list(_targets(files, to, is_only=is_only, overwrite=overwrite))
    if len({target.path for target in targets}) < len(targets):
        raise InvalidInput("two of the files would have one name: fetch them into different folders")
    if taken := [problem for target in targets for problem in place_problems(target.path, overwrite=overwrite)]:
        raise InvalidInput(*taken)
    return Batch(targets, min(parallel, len(targets)), task if isinstance(task, Task) else None)


def _of_task(task: Task[Any], *, previews: bool) -> list[OutputFile]:
    files = task.output.files
    chosen = [file for file in files if file.role == "result" or (previews and file.role == "preview")]
    if not chosen and task.state is State.COMPLETED:
        chosen = _text_file(task)
    if not chosen:
        others = f"but {len(files)} of other roles: pass those that you want" if files else f"(status {task.status!r})"
        raise InvalidInput(f"task {task.id} has no output file {others}")
    return chosen


def _text_file(task: Task[Any]) -> list[OutputFile]:
    """The text that is all a task made, as a file; none where it made no text."""
    text = output_files.text_of(task.output.raw, type(task.output).__name__)
    packed = base64.b64encode(f"{text}\n".encode("utf-8", "replace")).decode()
    return [OutputFile(f"data:text/plain;base64,{packed}", "file", task_id=task.id)] if text else []


def _given(files: OutputFile | Iterable[object]) -> list[OutputFile]:
    listed = [files] if isinstance(files, OutputFile) else list(files)
    chosen = [file for file in listed if isinstance(file, OutputFile)]
    if not listed:
        raise InvalidInput("there is no file to fetch: the list is empty")
    if len(chosen) < len(listed):
        wrong = next(file for file in listed if not isinstance(file, OutputFile))
        raise InvalidInput(f"{wrong!r:.80} is no file of a task: give a task (client.get finds it by its id)")
    return list(dict.fromkeys(chosen))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value > 0


def _targets(
    files: list[OutputFile], to: str | os.PathLike[str], *, is_only: bool, overwrite: bool
) -> Iterator[Target]:
    place = Path(to)
    if not names_folder(to):
        if len(files) > 1:
            whose = f"task {files[0].task_id} has" if len({file.task_id for file in files}) == 1 else "there are"
            raise InvalidInput(f"{whose} {len(files)} output files: name a folder (with a slash at its end)")
        yield Target(files[0], place, unnamed=False, overwrite=overwrite)
        return
    for file in files:
        stem = re.sub(r"[^A-Za-z0-9_-]", "_", file.task_id) or "output"
        ending = output_files.ending_of(file.url)
        name = f"{stem}{ending}" if is_only else f"{stem}-{file.number}{ending}"
        yield Target(file, place / name, unnamed=not ending, overwrite=overwrite)


def place_problems(path: Path, *, overwrite: bool) -> Iterator[str]:
    """Why a file cannot be written at this path, if so."""
    try:
        if path.is_dir():
            yield f"{str(path)!r} is a folder: name a file, or end it with a slash to have files put into it"
        elif os.path.lexists(path) and not overwrite:
            yield f"{str(path)!r} exists: name another file, or pass overwrite=True"
        elif path.exists() and not path.is_file():
            yield f"{str(path)!r} is no regular file, and is not replaced: name another file"
        else:
            path.lstat()
    except FileNotFoundError:
        yield from folder_problems(path.parent, path.name)
    except NotADirectoryError:
        yield from folder_problems(path.parent)
    except (OSError, ValueError) as error:  # a name that is too long, or that has a NUL in it
        yield _unwritable(path, error)
    else:
        yield from folder_problems(path.parent)


def folder_problems(folder: Path, *names: str) -> Iterator[str]:
    """Why no file can be put into this folder, or why it cannot be made, if so.

    Args:
        folder: It may be missing.
        *names: What shall be made in it.
    """
    missing = list(names)
    try:
        for part in (folder, *folder.parents):
            if part.is_dir():
                _try_out(part, missing)
                return
            if os.path.lexists(part):
                yield f"{str(part)!r} is a file, not a folder"
                return
            missing.append(part.name)
    except (OSError, ValueError) as error:
        yield _unwritable(folder.joinpath(*names), error)


def _try_out(folder: Path, missing: Iterable[str]) -> None:
    """Raise what the system says when a file is written in a folder; see whether it knows such names, too."""
    for name in missing:
        with contextlib.suppress(FileNotFoundError):
            (folder / name).lstat()
    probe = _part_in(folder)
    try:
        with probe.open("xb") as file:
            file.write(bytes(4096))
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)


def _part_in(folder: Path) -> Path:
    """The name of a file that is not whole yet. It is short, however long the name is that the file will have."""
    return folder / f".unitask-{secrets.token_hex(16)}.part"


def _existing(place: Path) -> Path:
    """The nearest folder that exists: the place itself, or one above it."""
    return next((part for part in (place, *place.parents) if part.is_dir()), Path())


def _free(folder: Path) -> int | None:
    """Bytes that are free on the disk of a folder; None where the system does not say."""
    try:
        disk = shutil.disk_usage(folder)
    except OSError:
        return None
    return disk.free if disk.total else None


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a name that is too long, or that has a NUL in it
        return False


def _unwritable(path: Path, error: Exception) -> str:
    return f"{str(path)!r:.300} cannot be written: {getattr(error, 'strerror', None) or error}"


class Sink:
    """Takes one output file as it arrives, in one attempt or several; use it as a context manager."""

    target: Target

    def __init__(self, batch: Batch, target: Target, retry_policy: RetryPolicy, http_timeout: float) -> None:
        self.target, self._batch, self._path = target, batch, target.path
        self._part_path = _part_in(target.path.parent)
        self._part, self._attempts = range_download.Part(), range_download.Attempts(retry_policy)
        self._window, self._is_inline = min(http_timeout, range_download.LONGEST_WINDOW), False
        endings = (output_files.ending_of(target.file.url), target.path.suffix.lower())
        self._ending = next(filter(output_files.is_ending, endings), endings[0] or endings[1])
        self._kind = target.file.kind or output_files.kind_of_ending(self._ending)

    def __enter__(self) -> Sink:
        try:
            self.target.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._part_path.open("x+b")
        except (OSError, ValueError) as error:  # it was tried out before, but that may be long ago
            raise self.failed(_unwritable(self.target.path, error)) from error
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # a full disk was reported before
            self._file.close()
        with contextlib.suppress(OSError):
            self._part_path.unlink(missing_ok=True)

    def take_inline(self) -> bool:
        """Take the file out of its URL, if that is a data URI; return whether it was one."""
        content = output_files.content_of(self.target.file.url)
        if content is None:
            return False
        self._is_inline, now = True, Timestamp(0, 0)
        self.begin(Response(200, {"content-type": content[0]}, b"", now))
        self.write(content[1], now)
        return True

    def headers(self) -> dict[str, str]:
        """The request headers of the next attempt."""
        return self._part.headers()

    def begin(self, head: Response) -> None:
        """Check the head of an answer before any of it is taken.

        Raises:
            Trouble: It brings nothing of the file.
        """
        self._part = self._part.answered(head, self._ending)
        self._unpacking = range_download.Unpacking(self._part.coding) if self._part.coding else None
        self._pace = range_download.Pace(self._window, head.at.monotonic)
        self._check_room((self._part.total or 0) - self._part.size)
        with self._storing():
            self._file.seek(self._part.size)
            self._file.truncate()
        if self.target.unnamed:
            ending = output_files.ending_of_type(head.headers.get("content-type", ""))
            self._path = self.target.path.with_name(self.target.path.name + ending)
            for problem in place_problems(self._path, overwrite=self.target.overwrite):
                raise self.failed(problem)

    def write(self, chunk: bytes, now: Timestamp) -> None:
        """Take the next bytes of the answer, as they went over the wire.

        Raises:
            Trouble: They come too slowly, or cannot be unpacked.
        """
        if self._batch.stopped:
            raise self.failed("the download was stopped")
        for piece in self._unpacking.feed(chunk) if self._unpacking else (chunk,):
            with self._storing():
                self._file.write(piece)
            self._part = replace(self._part, size=self._part.size + len(piece))
            if self._part.size > range_download.LARGEST:
                raise self.failed(f"it has more than {range_download.LARGEST >> 30} GB, which no output has")
        self._pace.see(len(chunk), now.monotonic)

    def finish(self) -> Path:
        """Check what came, and put it in its place.

        Raises:
            Trouble: It is not all of it, or something else.
        """
        with self._storing():
            self._file.flush()
        if self._unpacking:
            self._unpacking.check_whole()
        self._part.check_whole()
        if self.target.file.documented or not self._is_inline:  # an undocumented text in an output may be anything
            self._check_content()
        with self._storing():
            self._file.close()
            self._put()
        return self._path

    def _check_content(self) -> None:
        try:
            mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError):  # a file system that cannot map files
            mapped = None
        with mapped or contextlib.nullcontext(self._part_path.read_bytes()) as content:
            contents.check(content, self._kind, self._ending)

    def _check_room(self, size: int) -> None:
        free = _free(self.target.path.parent)
        if free is not None and size > free:
            raise self.failed(f"it has {size} bytes more, and its disk has {free} free")

    def again(self, error: Exception, *, retryable: bool) -> float:
        """Seconds until the next attempt, which goes on with what is there as far as it is of use.

        Args:
            error: What ended the last one.
            retryable: Whether it may be gone by the next one; a `Trouble` says that itself.

        Raises:
            DownloadFailed: There shall be none.
        """
        trouble = (
            error
            if isinstance(error, DownloadAttemptError)
            else DownloadAttemptError(f"{type(error).__name__}: {error}", retryable=retryable)
        )
        pause = self._attempts.pause(trouble, self._part.size)
        if trouble.discard:
            self._part = range_download.Part()
        if pause is None or self._batch.stopped or self._is_inline:
            raise self.failed(str(trouble)) from trouble
        return pause

    def failed(self, reason: str) -> DownloadFailed:
        """The error for this file."""
        file = self.target.file
        return DownloadFailed(
            f"{file.url:.300} was not fetched: {reason}",
            then=self._batch.recourse([file]),
            url=file.url,
            task_id=file.task_id or None,
            missing=(file,),
        )

    @contextlib.contextmanager
    def _storing(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise self.failed(f"it cannot be stored: {error.strerror or error}") from error

    def _put(self) -> None:
        if self.target.overwrite:
            self._part_path.replace(self._path)
            return
        try:
            os.link(self._part_path, self._path)  # unlike a rename, this fails if the name is taken meanwhile
        except FileExistsError:
            raise self.failed(f"{str(self._path)!r} was made meanwhile") from None
        except OSError:  # a file system without hard links
            if os.path.lexists(self._path):
                raise self.failed(f"{str(self._path)!r} was made meanwhile") from None
            self._part_path.replace(self._path)
