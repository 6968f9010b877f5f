"""What a command writes: results on stdout, for people on a terminal and for programs in a pipe; progress on stderr."""

import json
import os
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text
from unitask_api import contract
from unitask_api.json_types import printable

from .._core.uploads import upload_ending
from .._model.task import Output, Task
from .._terminal import dollars, is_terminal, kebab, put, say
from ._report import Place

PREVIEW_COLUMNS = 40


def put_json(value: object) -> None:
    """Write a value to stdout as JSON in ASCII, without control characters; NaN and infinity become text."""
    value = json.loads(json.dumps(value), parse_constant=str)
    put(json.dumps(value, indent=2).replace("\x7f", "\\u007f"))


@contextmanager
def progress(place: Place, *, quiet: bool = False) -> Generator[Callable[[Task[Output]], Any]]:
    """Yield a function that keeps each state of a task in `place`, and report it on stderr unless `quiet`.

    A terminal has one line that is drawn again, and removed if a summary follows; elsewhere each change is a line.
    """
    line = _Line(place)
    console = Console(stderr=True)
    if is_terminal(sys.stderr) and not quiet and not console.is_dumb_terminal:
        with Live(line, console=console, refresh_per_second=5, transient=is_terminal(sys.stdout)):
            yield line.note
        return

    def note(task: Task[Output]) -> None:
        line.note(task)
        if not quiet:
            say(f"task {task.id}: {task.status!s:.200}")

    yield note


class _Line:
    """The state of a task, the time that it takes, and its cost, in one line."""

    def __init__(self, place: Place) -> None:
        self._place, self._since, self._usual = place, time.monotonic(), None
        name = "dots" if "utf" in (getattr(sys.stderr, "encoding", None) or "").lower() else "line"
        self._spinner = Spinner(name)

    def note(self, task: Task[Output]) -> None:
        self._place.task = task

    def __rich__(self) -> Spinner:
        elapsed = time.monotonic() - self._since
        self._spinner.update(text=Text(live_line(self._place.task, elapsed), no_wrap=True, overflow="ellipsis"))
        return self._spinner


def live_line(task: Task[Any] | None, elapsed: float) -> str:
    """Return a line about a task that goes on; `elapsed` in seconds."""
    if task is None:
        return f"sending  {elapsed:.0f} s"
    entry = contract.find(task.model, task.task_type, task.raw.get("input"))
    percent = "" if task.progress is None else f" {task.progress:.0f} %"
    words = [f"task {printable(task.id)}", f"{printable(str(task.status)):.40}{percent}", f"{elapsed:.0f} s"]
    if entry is not None:
        left = entry.typical_seconds - elapsed
        words[-1] += f" of about {entry.typical_seconds:.0f} s" if left > 0 else ", longer than usual"
    return "  ".join([*words, *filter(None, [dollars(task.cost_usd or None)])])


def summary(task: Task[Any], paths: Iterable[Path], seconds: float | None = None) -> Iterator[str]:
    """Yield the lines that describe a task to a person, with its files and links."""
    entry = contract.find(task.model, task.task_type, task.raw.get("input"))
    name = kebab(entry.name) if entry else f"{task.model} {task.task_type}".strip()
    took = "" if seconds is None else f" in {seconds:.1f} s"
    cost = dollars(task.cost_usd) or "cost unknown"
    yield printable(f"{name}: {task.state}{took}, {cost}, task {task.id}")
    if task.failure:
        yield printable(f"  {task.failure}")
    for path in paths:
        yield f"  {printable(str(path))}  {_size(path)}"
    for file in task.output.files:
        yield printable(f"  {file.url}")


def _size(path: Path) -> str:
    size = path.stat().st_size
    return f"({size / 1e6:.1f} MB)" if size >= 1e6 else f"({size / 1e3:.1f} kB)"


def wrong_ending(path: Path) -> str | None:
    """Return what is wrong with the name of a file, by its content; None if nothing is known to be."""
    with path.open("rb") as file:
        ending = upload_ending(file.read(64))
    given = path.suffix.lower().removeprefix(".").replace("jpeg", "jpg")
    if ending is None or given == ending:
        return None
    folder = "" if given else f", or write {path.name}/ for a folder"
    return f"{path.name} is {ending} by its content: name it {path.with_suffix(f'.{ending}').name}{folder}"


def preview(path: Path) -> None:
    """Show a picture on stdout, if this terminal can show one (sixel, or the protocol of kitty)."""
    with path.open("rb") as file:
        is_picture = upload_ending(file.read(64)) in ("png", "jpg", "webp")
    if not is_picture or os.environ.get("CI") or not is_terminal(sys.stdin):
        return
    with suppress(Exception):  # a terminal may answer anything, and the file is there
        from textual_image import renderable  # lazy: its import asks the terminal what it can show

        if renderable.Image in (renderable.SixelImage, renderable.TGPImage):
            Console().print(renderable.Image(path, width=PREVIEW_COLUMNS))
