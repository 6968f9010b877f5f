"""An error in the words of the command line: what happened, what is known of the task, and the next command."""

import re
import shlex
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

from .. import errors
from .._terminal import dollars, reason
from ..download import names_folder


class ExitCode(IntEnum):
    """How a command ends."""

    about: str

    def __new__(cls, code: int, about: str) -> "ExitCode":
        """Make a code with its meaning."""
        made = int.__new__(cls, code)
        made._value_, made.about = code, about
        return made

    DONE = 0, "done"
    UNEXPECTED = 1, "unexpected error"
    USAGE = 2, "wrong use or invalid input; nothing was sent"
    FAILED = 3, "the task failed, or the provider refused it"
    KEY = 4, "the key is wrong or not allowed to do this"
    MONEY = 5, "credit or --max-usd does not cover it"
    MISSING = 6, "there is no such task"
    TIME = 7, "time ran out; the task goes on"
    PROVIDER = 8, "the provider cannot be reached, or gives a broken answer"
    UNCERTAIN = 9, "it is not certain whether the task was accepted: `unitask find`"
    FILE = 10, "a file could not be read, fetched or written"
    INTERRUPTED = 130, "interrupted; a task goes on"
    CLOSED = 141, "stdout was closed"


class NoKey(errors.InvalidInput):
    """There is no key for a base URL."""

    def __init__(self, url: str, given: str | None = None) -> None:
        login = shlex.join(["unitask", "login", *(["--base-url", given] if given else [])])
        super().__init__(
            f"there is no API key for {url}: `{login}` stores one, or set UNITASK_API_KEY. Without an account, "
            "`unitask sandbox` starts the local provider, and prints the settings for it"
        )


# The first classes that fit decide: an error can have two.
CODES: tuple[tuple[tuple[type[BaseException], ...], ExitCode], ...] = (
    ((errors.InsufficientCredit, errors.BudgetExceeded), ExitCode.MONEY),
    ((errors.TaskFailed, errors.ContentRejected, errors.NoFaceFound, errors.BadInputMedia), ExitCode.FAILED),
    ((NoKey, errors.AuthenticationFailed, errors.PermissionDenied), ExitCode.KEY),
    ((errors.InvalidInput,), ExitCode.USAGE),
    ((errors.SubmissionUncertain,), ExitCode.UNCERTAIN),
    ((errors.JournalError, errors.DownloadFailed), ExitCode.FILE),
    ((errors.WaitTimeout,), ExitCode.TIME),
    ((errors.Unreachable, errors.ProviderBroken, errors.RateLimited), ExitCode.PROVIDER),
    ((errors.NotFound,), ExitCode.MISSING),
    ((errors.ApiError,), ExitCode.FAILED),
    ((errors.UnitaskError,), ExitCode.FILE),  # stdout
    ((KeyboardInterrupt,), ExitCode.INTERRUPTED),
)


def exit_code(error: BaseException, task: object = None) -> ExitCode:
    """Return how a command ends after an error; `task` is the one that was accepted before, and is paid."""
    code = next((code for kinds, code in CODES if isinstance(error, kinds)), ExitCode.UNEXPECTED)
    return ExitCode.FILE if code is ExitCode.USAGE and task else code  # its place is taken, for example


@dataclass(slots=True)
class Place:
    """Where a command puts its results, and the task that it has seen last."""

    to: str | None = None
    overwrite: bool = False
    base_url: str | None = None
    handle: str | None = None  # by which the user names the task: its id or token
    as_json: bool = False
    quiet: bool = False
    preview: bool | None = None
    task: Any = None
    goes_on: bool = True  # whether its task can be waited for when the command has ended

    def command(self, task_id: str, error: BaseException | None = None) -> str:
        """Return the command that continues with a task."""
        to = self.to
        if to and isinstance(error, errors.InvalidInput):
            if "no output file" in str(error):
                to = None
            elif not to.endswith("/"):  # its name is taken, or it is stdout
                to = f"{Path(to).parent}/"
        words = ["--to", to] if to else []
        # the numbers of FILE-1 go on, where --overwrite could replace the files of an earlier task
        is_begun = isinstance(error, errors.DownloadFailed) and error.fetched and to and names_folder(to)
        words += ["--overwrite"] if self.overwrite or is_begun else []
        words += ["--base-url", self.base_url] if self.base_url else []
        handle = self.handle or task_id
        if self.handle is None and self.task and self.task.output_type.PROTOCOL != "unified":
            handle = self.task.token  # its id alone does not say how to poll it
        words = [*words, "--", handle] if handle.startswith("-") else [handle, *words]
        return f"unitask wait {shlex.join(words)}"


def reports(error: BaseException, place: Place | None) -> Iterator[str]:
    """Yield what went wrong, what is known of the task, and what to do next."""
    names_task = place is None or place.handle is not None  # the command, and not an answer
    place = place or Place()
    notes = [note for note in getattr(error, "__notes__", ()) if note.startswith("unitask: ")]
    yield f"unitask: {_words(error)}"
    task_id = place.task.id if place.task else getattr(error, "task_id", None)
    if accepted := re.search(r"client\.wait\((['\"])(.+?)\1\)", " ".join(notes)):
        task_id = accepted[2]
    if isinstance(error, errors.SubmissionUncertain) or "may have been accepted" in " ".join(notes):
        if not isinstance(error, errors.SubmissionUncertain):
            yield notes[0].partition(". Call ")[0]
        yield "unitask: `unitask find` looks for it; do not run it again before that, since it may be paid"
    if isinstance(error, errors.Unreachable | errors.InvalidInput | errors.AuthenticationFailed):
        yield from notes
    if isinstance(error, errors.NotFound) and names_task and place.task is None:
        yield "unitask: check the id and the base URL; `unitask list` lists the tasks of the account"
    elif isinstance(error, errors.ApiError) and not isinstance(error, errors.ProviderBroken) and not _is_known(place):
        if isinstance(error, errors.RateLimited) and not names_task and task_id is None:
            asked = f"; the provider asks to wait {error.retry_after:.0f} s" if error.retry_after else ""
            yield f"unitask: the submission was not accepted, and nothing is paid{asked}"
        if task_id and not names_task:
            yield f"unitask: the provider lists the refused task as {task_id}"
    elif task_id and place.goes_on:
        yield from _accepted(place, task_id, error)


def _is_known(place: Place) -> bool:
    """Whether there is a task that goes on, since it was accepted or is waited for."""
    return place.task is not None or place.handle is not None


def _accepted(place: Place, task_id: str, error: BaseException) -> Iterator[str]:
    cost = place.task.cost_usd if place.task else None
    if not isinstance(error, errors.TaskFailed):
        cost = cost or None  # 0 until the provider fills it in
    state = place.task.state if place.task else "accepted"
    yield f"unitask: task {task_id}: {state}; paid: {dollars(cost) or 'unknown'}"
    if not isinstance(error, errors.TaskFailed):
        yield f"unitask: `{place.command(task_id, error)}` continues with it"


def _words(error: BaseException) -> str:
    """Return a message without the words of the Python API."""
    match error:
        case KeyboardInterrupt():
            return "interrupted"
        case BrokenPipeError():
            return ExitCode.CLOSED.about
        case errors.WaitTimeout():
            failure = f"; the last poll failed: {reason(error.__cause__)}" if error.__cause__ else ""
            return reason(error).partition(". It goes on")[0] + failure
        case errors.NotFound():
            return reason(error).removesuffix(f". {error.usual_next_step}")  # `reports` has a better one
        case errors.UnitaskError():
            return reason(error)
        case _:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(frame.filename).name}, line {frame.lineno}"
            return f"{type(error).__name__}: {error} ({place}); please report it"
