"""What a command writes: results on stdout, for people on a terminal and for programs in a pipe; progress on stderr."""

import base64
import json
import os
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
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

LARGEST_PREVIEW = 4 << 20  # bytes of a picture
PREVIEW_COLUMNS = 40
_KITTY_CHUNK = 4096  # bytes of base64; the protocol allows no more


def put_json(value: object) -> None:
    """Write a value to stdout as JSON in ASCII, without control characters; NaN and infinity become text."""
    value = json.loads(json.dumps(value), parse_constant=str)
    put(json.dumps(value, indent=2).replace("\x7f", "\\u007f"))


@contextmanager
def progress(place: Place, *, quiet: bool = False) -> Generator[Callable[[Task[Output]], Any]]:
    """Yield a function that keeps each state of a task in `place`, and report it on stderr unless `quiet`.

    A terminal has one line that is drawn again; elsewhere each change is a line.
    """
    line = _Line(place)
    if is_terminal(sys.stderr) and not quiet:
        with Live(line, console=Console(stderr=True), refresh_per_second=5, transient=True):
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
    if ending is None or not given or given == ending:
        return None
    return f"{path.name} is {ending} by its content: name it {path.with_suffix(f'.{ending}').name}"


def preview(path: Path) -> str:
    """Return what shows a picture on this terminal; empty if the terminal or the file is not known to allow it."""
    protocol = _protocol()
    with path.open("rb") as file:
        content = file.read(LARGEST_PREVIEW + 1)
    ending = upload_ending(content)
    if len(content) > LARGEST_PREVIEW or ending not in ("png", "jpg", "webp"):
        return ""
    packed = base64.b64encode(content).decode()
    if protocol == "iterm":
        size = f"size={len(content)};width={PREVIEW_COLUMNS};preserveAspectRatio=1"
        return f"\x1b]1337;File=inline=1;{size}:{packed}\x07"
    if protocol == "kitty" and ending == "png":
        pieces = [packed[start : start + _KITTY_CHUNK] for start in range(0, len(packed), _KITTY_CHUNK)]
        keys = [f"a=T,f=100,c={PREVIEW_COLUMNS},", *[""] * (len(pieces) - 1)]
        more = [1] * (len(pieces) - 1) + [0]
        return "".join(f"\x1b_G{key}m={m};{piece}\x1b\\" for key, m, piece in zip(keys, more, pieces, strict=True))
    return ""


def _protocol() -> str | None:
    """Return the protocol for pictures of this terminal, by what it says in the environment."""
    program, term = os.environ.get("TERM_PROGRAM", ""), os.environ.get("TERM", "")
    if os.environ.get("CI") or "screen" in term or "tmux" in term:
        return None
    if os.environ.get("KITTY_WINDOW_ID") or "kitty" in term or "ghostty" in term:
        return "kitty"
    return "iterm" if program in ("iTerm.app", "WezTerm", "mintty") else None
