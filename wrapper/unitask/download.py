"""Output files: where each one goes, and whether it is what was promised.

Rules of this file: a file appears under its name whole and checked, or not at all, also after a loss of power; an
existing file is replaced only on request. The key is not used: output hosts must never see it (PiAPI blog, 2026).
"""

from __future__ import annotations

import base64
import contextlib
import mmap
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, cast

from unitask_api import output_files
from unitask_api.output_files import OutputFile
from unitask_api.states import State

from ._core import contents, range_download
from ._core.effects import Response
from ._core.range_download import DownloadAttemptError
from ._core.retry import RetryPolicy
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
    patience: float = 0.0  # seconds for which the host of a file may be unreachable

    def paths(self, outcomes: Sequence[Path | BaseException]) -> list[Path]:
        """Return the paths of the files, from the path or the error of each; raise the error of those that failed."""
        paths = [outcome for outcome in outcomes if isinstance(outcome, Path)]
        errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        failures = [error for error in errors if isinstance(error, DownloadFailed)]
        if len(failures) < len(errors):
            raise next(error for error in errors if not isinstance(error, DownloadFailed))
        if not failures:
            return paths
        if len(self.targets) == 1:
            raise failures[0]
        fetched = ", ".join(repr(str(path)) for path in paths) or "none"
        raise DownloadFailed(
            f"{len(failures)} of {len(self.targets)} files are missing: "
            f"{'; '.join(failure.reason for failure in failures)}. Fetched: {fetched}",
            then=recourse(self.task or failures[0].missing),
            url=failures[0].url,
            task_id=failures[0].task_id,
            fetched=tuple(paths),
            missing=tuple(file for failure in failures for file in failure.missing),
        ) from failures[0]


def check_destination(to: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Check that an output can be written to a place, before its task is submitted and paid.

    A file is written and removed in the folder, or in the nearest folder above it that exists.

    Args:
        to: The place, as `download` takes it.
        overwrite: Whether an existing file may be replaced.

    Raises:
        InvalidInput: The place is taken or cannot be written, or its disk has less than `LEAST_FREE` bytes free.
    """
    place = Path(to)
    if problem := _folder_problem(place) if names_folder(to) else place_problem(place, overwrite=overwrite):
        raise InvalidInput(problem)
    folder = next(part for part in (place, *place.parents) if part.is_dir())
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
    with contextlib.suppress(OSError, ValueError):  # a name that is too long, or that has a NUL in it
        if place.is_dir():
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
    """Decide which files to fetch, and where they go; the arguments are those of `Client.download`."""
    what = task if isinstance(task, Task) else [task] if isinstance(task, (OutputFile, str)) else list(task)
    try:
        if not isinstance(cast("object", parallel), int) or parallel < 1:
            raise InvalidInput(f"parallel is {parallel!r}: give a whole number from 1")
        files = _files_of(what, previews=previews) if isinstance(what, Task) else _given(what)
        targets = list(_targets(files, to, is_only=isinstance(what, Task) and len(files) == 1, overwrite=overwrite))
        if len({target.path for target in targets}) < len(targets):
            raise InvalidInput("two of the files would have one name: fetch them into different folders")
        problems = [place_problem(target.path, overwrite=overwrite) for target in targets]
        if any(problems):
            raise InvalidInput(*filter(None, problems))
    except InvalidInput as error:  # nothing is fetched, but the task exists and may be paid
        task_id = next(iter(_ids(what)), None)
        raise InvalidInput(
            *error.problems, undone="nothing was fetched", then=recourse(what), task_id=task_id
        ) from None
    return Batch(targets, min(parallel, len(targets)), what if isinstance(what, Task) else None)


def _ids(what: Task[Any] | Sequence[object]) -> list[str]:
    """Return the tasks of files, each once."""
    if isinstance(what, Task):
        return [what.id]
    return list(dict.fromkeys(file.task_id for file in what if isinstance(file, OutputFile) and file.task_id))


def recourse(what: Task[Any] | Sequence[object]) -> str:
    """Return what is paid, and how to fetch it: a sentence for the end of an error; empty without a paid task."""
    names = _ids(what)
    if isinstance(what, Task):
        names = [what.id if what.output_type.PROTOCOL == "unified" else what.token]
        if not what.done:
            return f"Task {what.id!r} is not done: client.wait({names[0]!r}) waits for it"
        if what.state is not State.COMPLETED:
            return ""
    return " ".join(
        f"Task {name!r} is done and paid: client.download(client.get({name!r}), 'out/') fetches its files."
        for name in names
    ).rstrip(".")


def _files_of(task: Task[Any], *, previews: bool) -> list[OutputFile]:
    files = task.output.files
    chosen = [file for file in files if file.role == "result" or (previews and file.role == "preview")]
    if chosen:
        return chosen
    text = output_files.text_of(task.output.raw, type(task.output).__name__)  # empty unless text is all that it made
    if not text or task.state is not State.COMPLETED:
        others = f"but {len(files)} of other roles: pass those that you want" if files else f"(status {task.status!r})"
        raise InvalidInput(f"task {task.id} has no output file {others}")
    content = base64.b64encode(f"{text}\n".encode("utf-8", "replace")).decode()
    return [OutputFile(f"data:text/plain;base64,{content}", task_id=task.id)]


def _given(files: Sequence[object]) -> list[OutputFile]:
    if not files:
        raise InvalidInput("the list is empty: give files or a task")
    chosen = [file for file in files if isinstance(file, OutputFile)]
    if len(chosen) < len(files):
        wrong = next(file for file in files if not isinstance(file, OutputFile))
        raise InvalidInput(f"{wrong!r:.80} is not a file of a task: give a task (client.get finds it by its id)")
    return list(dict.fromkeys(chosen))


def _targets(
    files: list[OutputFile], to: str | os.PathLike[str], *, is_only: bool, overwrite: bool
) -> Iterator[Target]:
    place, numbers = Path(to), count(1)
    is_folder = names_folder(to)
    if len(files) == 1 and not is_folder:
        yield Target(files[0], place, unnamed=False, overwrite=overwrite)
        return
    for file in files:
        ending = output_files.ending_of(file.url)
        if is_folder:
            stem = re.sub(r"[^A-Za-z0-9_-]", "_", file.task_id) or "output"
            path = place / (f"{stem}{ending}" if is_only else f"{stem}-{file.number}{ending}")
        else:
            ending = ending if output_files.is_ending(ending) else place.suffix
            names = (place.with_name(f"{place.stem}-{number}{ending}") for number in numbers)
            path = next(name for name in names if overwrite or not os.path.lexists(name))
        yield Target(file, path, unnamed=not ending, overwrite=overwrite)


def place_problem(path: Path, *, overwrite: bool) -> str | None:
    """Return why a file cannot be written at this path; None when it can be."""
    try:
        if path.is_dir():
            return f"{str(path)!r} is a folder: name a file, or end it with a slash to have files put into it"
        if os.path.lexists(path) and not overwrite:
            return f"{str(path)!r} exists: name another file, or allow to replace it (overwrite=True, --overwrite)"
        if path.exists() and not path.is_file():
            return f"{str(path)!r} is not a regular file, and is not replaced: name another file"
    except (OSError, ValueError) as error:  # a name that is too long, or that has a NUL in it
        return _unwritable(path, error)
    return _folder_problem(path.parent, path.name)


def _folder_problem(folder: Path, *names: str) -> str | None:
    """Return why files of these names cannot be put into a folder, which may be missing; None when they can be."""
    missing, part = list(names), folder
    try:
        while not part.is_dir():
            if os.path.lexists(part):
                return f"{str(part)!r} is a file, not a folder"
            missing.append(part.name)
            part = part.parent
        for name in missing:
            with contextlib.suppress(FileNotFoundError):
                (part / name).lstat()  # raises for a name that this file system does not allow
        with tempfile.NamedTemporaryFile(dir=part, prefix=".unitask-", suffix=".part", buffering=0) as probe:
            probe.write(bytes(4096))
    except (OSError, ValueError) as error:
        return _unwritable(folder.joinpath(*names), error)
    return None


def _free(folder: Path) -> int | None:
    """Return the bytes that are free on the disk of a folder; None where the system does not say."""
    try:
        disk = shutil.disk_usage(folder)
    except OSError:
        return None
    return disk.free if disk.total else None


def _unwritable(path: Path, error: Exception) -> str:
    return f"{str(path)!r:.300} cannot be written: {getattr(error, 'strerror', None) or error}"


def is_outage(error: Exception | None) -> bool:
    """Whether a download failed because its server could not be reached or had an error, which may pass."""
    cause = error and error.__cause__
    cause = cause.__cause__ if isinstance(cause, DownloadFailed) else cause
    return isinstance(cause, DownloadAttemptError) and cause.retryable and not cause.late


def keep_names(folder: Path) -> None:
    """Make the names of files durable, where the system can do that."""
    with contextlib.suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


class Sink:
    """Takes one output file as it arrives, in one attempt or several; use it as a context manager."""

    target: Target

    def __init__(self, batch: Batch, target: Target, retry_policy: RetryPolicy, http_timeout: float) -> None:
        self.target, self._batch, self._path = target, batch, target.path
        # A short name, however long the name is that the file will have.
        self._part_path = target.path.parent / f".unitask-{secrets.token_hex(16)}.part"
        self._part, self._attempts = range_download.Part(), range_download.Attempts(retry_policy, batch.patience)
        self._window, self._is_inline = min(http_timeout, range_download.LONGEST_WINDOW), False
        endings = (output_files.ending_of(target.file.url), target.path.suffix.lower())
        self._ending = next(filter(output_files.is_ending, endings), endings[0] or endings[1])
        self._kind = target.file.kind or output_files.kind_of_ending(self._ending)

    def __enter__(self) -> Sink:
        try:
            self.target.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._part_path.open("x+b")
        except (OSError, ValueError) as error:  # it was checked before, but that may be long ago
            raise self.failed(_unwritable(self.target.path, error)) from error
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # a full disk was reported before
            self._file.close()
        with contextlib.suppress(OSError):
            self._part_path.unlink(missing_ok=True)

    def take_inline(self) -> bool:
        """Read the file from its URL, if that is a data URI; return whether it was one."""
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
        """Check the head of an answer; raise `DownloadAttemptError` if it brings nothing of the file."""
        self._part = self._part.answered(head, self._ending)
        self._unpacking = range_download.Unpacking() if self._part.is_packed else None
        self._pace = range_download.Pace(self._window, head.at.monotonic)
        free, size = _free(self.target.path.parent), (self._part.total or 0) - self._part.size
        if free is not None and size > free:
            raise self.failed(f"it has {size} bytes more, and its disk has {free} free")
        with self._storing():
            self._file.seek(self._part.size)
            self._file.truncate()
        if self.target.unnamed:
            ending = output_files.ending_of_type(head.headers.get("content-type", ""))
            self._path = self.target.path.with_name(self.target.path.name + ending)
            if problem := place_problem(self._path, overwrite=self.target.overwrite):
                raise self.failed(problem)

    def write(self, chunk: bytes, now: Timestamp) -> None:
        """Take the next bytes of the answer, as they went over the wire."""
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
        """Check what came, and move it to its place; raise `DownloadAttemptError` for another file."""
        with self._storing():
            self._file.flush()
        if self._unpacking and not self._unpacking.is_whole:
            raise DownloadAttemptError("its compression is cut off", retryable=True)
        self._part.check_whole()
        if self.target.file.documented or not self._is_inline:  # an undocumented text in an output may be anything
            self._check_content()
        with self._storing():
            os.fsync(self._file.fileno())  # before it has its name, and a journal says that it is there
            self._file.close()
            self._put()
        keep_names(self._path.parent)
        return self._path

    def _check_content(self) -> None:
        try:
            mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError):  # a file system that cannot map files
            mapped = None
        with mapped or contextlib.nullcontext(self._part_path.read_bytes()) as content:
            contents.check(content, self._kind, self._ending)

    def again(self, error: Exception, now: Timestamp, *, retryable: bool) -> float:
        """Return the seconds until the next attempt; raise `DownloadFailed` if there is none."""
        if not isinstance(error, DownloadAttemptError):
            error = DownloadAttemptError(f"{type(error).__name__}: {error}", retryable=retryable, unreachable=True)
        pause = self._attempts.pause(error, self._part.size, now.monotonic)
        if error.discard:
            self._part = range_download.Part()
        if pause is None or self._batch.stopped or self._is_inline:
            raise self.failed(str(error)) from error
        return pause

    def failed(self, reason: str) -> DownloadFailed:
        """Return the error of this file."""
        file = self.target.file
        return DownloadFailed(
            f"{file.url:.300} was not fetched: {reason}",
            then=recourse(self._batch.task or [file]),
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
        except OSError:  # the name is taken, or the file system has no hard links
            if os.path.lexists(self._path):
                raise self.failed(f"{str(self._path)!r} was created meanwhile") from None
            self._part_path.replace(self._path)
