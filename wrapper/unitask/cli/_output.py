"""What a command writes: results on stdout, for people on a terminal and for programs in a pipe; progress on stderr."""

import json
from collections.abc import Callable
from typing import Any, TextIO

from .._model.task import Output, Task
from .._terminal import put, say
from ._report import Place


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a stream is a terminal."""
    return stream is not None and stream.isatty()


def put_json(value: object) -> None:
    """Write a value to stdout as JSON in ASCII, without control characters; NaN and infinity become text."""
    value = json.loads(json.dumps(value), parse_constant=str)
    put(json.dumps(value, indent=2).replace("\x7f", "\\u007f"))


def progress(place: Place) -> Callable[[Task[Output]], Any]:
    """Return a function that reports a change of a task on stderr, and keeps the task."""

    def note(task: Task[Output]) -> None:
        place.task = task
        say(f"task {task.id}: {task.status!s:.200}")

    return note
