"""In a notebook: tasks with their pictures, and a progress bar while a client waits. Nothing outside of one.

A task has no I/O, so the first client registers with IPython how tasks are shown. Files are fetched at that moment: as
`download` does, without the key, in a limited time, and a file that cannot be fetched stays a link.
"""

import contextlib
import itertools
import re
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import Any, TypeVar, cast

import httpx
from unitask_api.json_types import printable
from unitask_api.output_files import OutputFile

from ._core.effects import Flow, TaskUpdated
from ._model.card import LARGEST, worth_showing
from ._model.task import Task
from .errors import ProviderBroken

T = TypeVar("T")
LONGEST = 5.0  # seconds for the files of a task; the kernel does nothing else meanwhile
_numbers = itertools.count(1)


def kernel_shell() -> Any:
    """Return the shell of the IPython kernel that runs this process; None outside of a notebook."""
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = get_ipython() if get_ipython else None
    return shell if getattr(shell, "kernel", None) is not None else None


def register(connect: Callable[[], httpx.Client]) -> None:
    """Let the notebook show tasks with their files; `connect` makes the HTTP client that fetches them."""
    if (shell := kernel_shell()) is not None:
        with contextlib.suppress(Exception):  # another shell than IPython's
            shell.display_formatter.mimebundle_formatter.for_type(Task, partial(shown, connect))


def shown(connect: Callable[[], httpx.Client], task: Task[Any], **_: object) -> dict[str, str]:
    """Return a task as a notebook shows it, with its files."""
    try:
        files = worth_showing(task.output.files) if task.done else []
    except ProviderBroken:
        files = []
    contents = fetched(connect, [file for file in files if file.url[:5].lower() != "data:"])
    return {"text/plain": f"{task!r:.500}", "text/html": task.to_html(contents)}


def fetched(
    connect: Callable[[], httpx.Client], files: Sequence[OutputFile], seconds: float = LONGEST
) -> dict[str, bytes | int]:
    """Fetch files for so many seconds; return the bytes of each by its URL, or the number of those not fetched."""
    contents: dict[str, bytes | int] = {}
    if files:
        deadline = time.monotonic() + seconds
        # a thread of its own: looking up a name has no time limit
        thread = threading.Thread(target=_fetch_all, args=(connect, files, contents, deadline), daemon=True)
        thread.start()
        thread.join(seconds)
    return dict(contents)


def _fetch_all(
    connect: Callable[[], httpx.Client], files: Sequence[OutputFile], contents: dict[str, bytes | int], deadline: float
) -> None:
    left = LARGEST
    with contextlib.suppress(Exception), connect() as http:
        for file in files:
            if time.monotonic() > deadline:
                return
            with contextlib.suppress(Exception):  # this one stays a link
                content = _fetch(http, file, left, deadline)
                if content is not None:
                    contents[file.url] = content
                    left -= len(content) if isinstance(content, bytes) else 0


def _fetch(http: httpx.Client, file: OutputFile, left: int, deadline: float) -> bytes | int | None:
    """Return the bytes of a file; only their number for what is not shown; None if neither is known."""
    headers, written = {"accept-encoding": "identity"}, {"written": file.url}
    with http.stream("GET", file.url, headers=headers, follow_redirects=True, extensions=written) as response:
        if not response.is_success:
            return None
        length = response.headers.get("content-length", "")
        size = int(length) if re.fullmatch("[0-9]{1,15}", length) else None
        if file.kind in ("model", "file") or (size or 0) > left:
            return size
        content = bytearray()
        for chunk in (response.content,) if response.is_stream_consumed else response.iter_raw():
            content += chunk
            if len(content) > left or time.monotonic() > deadline:
                return size
        return bytes(content)


@dataclass(slots=True)
class _Wait:
    task_id: str
    status: str
    progress: float | None = None


class Bar:
    """The progress bar of a client, for all tasks that it waits for at one time."""

    def __init__(self) -> None:
        self._waits: list[_Wait] = []
        self._ended = 0  # of them
        self._began: float | None = None  # seconds on the monotonic clock
        self._display_id = ""
        self._shown: object = None

    def around(self, flow: Flow[T], task_id: str, status: object = "waiting") -> Flow[T]:
        """Return the flow of a wait; in a notebook, it shows how far it is."""
        return flow if kernel_shell() is None else self._followed(flow, _Wait(task_id, str(status)))

    def _followed(self, flow: Flow[T], wait: _Wait) -> Flow[T]:
        if self._ended == len(self._waits):
            self._waits, self._ended, self._began, self._shown = [], 0, None, None
            self._display_id = f"unitask-{next(_numbers)}"
        self._waits.append(wait)
        now = self._began or 0.0
        try:
            step = next(flow)
            while True:
                if isinstance(step, TaskUpdated):
                    wait.status, wait.progress = str(step.task.status), step.task.progress
                try:
                    reply = yield step
                except BaseException as error:
                    step = flow.throw(error)
                else:
                    now = reply.at.monotonic
                    self._show(now)
                    step = flow.send(reply)
        except StopIteration as end:
            return cast("T", end.value)
        finally:
            self._ended += 1
            self._show(now)

    def _show(self, now: float) -> None:
        """Update the bar, at most once a second for many tasks."""
        with contextlib.suppress(Exception):  # a display must not end the wait for a paid task
            self._began = now if self._began is None else self._began
            seconds, is_over, wait = int(now - self._began), self._ended == len(self._waits), self._waits[0]
            is_one = len(self._waits) == 1
            state = (seconds, is_over, is_one and (wait.status, wait.progress))
            if state == self._shown:
                return
            if is_one:
                text, value, most = f"task {wait.task_id}: {wait.status}", wait.progress, 100
            else:
                text, value, most = f"{self._ended} of {len(self._waits)} tasks ended", self._ended, len(self._waits)
            text = f"{printable(text):.300}, {seconds} s"
            bar = "" if is_over else f"<progress {'' if value is None else f'value={value:g} max={most}'}></progress> "
            data = {"text/plain": text, "text/html": f"<div>{bar}{escape(text)}</div>"}
            transient, is_update = {"display_id": self._display_id}, self._shown is not None
            self._shown = state
            kernel_shell().display_pub.publish(data=data, metadata={}, transient=transient, update=is_update)
