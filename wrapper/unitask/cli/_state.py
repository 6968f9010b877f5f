"""The submissions of the command line, kept so that `unitask find` works after a lost answer, a crash or a reboot.

They stand in submissions.jsonl in ~/.local/state/unitask ($XDG_STATE_HOME). A line is written before a submission is
sent, and another one when its outcome is known. The lines have digests of the input, and no key.
"""

import dataclasses
import errno
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .. import errors
from .._base_client import PROCESS, Clock
from .._core import recovery, requests
from .._core.effects import Flow
from .._core.recovery import Submission
from .._model import task_token
from .._model._json import as_object
from .._model.task import Outcome, OutputT, Recovery, Task
from .._model.timestamp import Timestamp
from .._terminal import say
from ..client import Client
from ..download import keep_names
from ..inputs import TaskInput
from ..webhooks import remember
from ._config import folder

ACCEPTED, SETTLED = "accepted", "settled"
OPEN = ("sent", "uncertain", ACCEPTED)  # outcomes of submissions of which the user has no result
LAST_TIME = datetime.max.replace(tzinfo=UTC).timestamp()  # of a row that can be shown
LARGEST = 4 << 20  # bytes of the file, before it becomes submissions.old.jsonl; a submission takes some 600


@dataclass(frozen=True, slots=True)
class Submitted:
    """A submission of the command line, as far as it is known.

    Attributes:
        key: A random text, of this submission alone.
        at: When it was sent first, in unix seconds.
        name: Its class in `unitask.tasks`.
        base_url: The provider.
        outcome: "sent" as long as its outcome is not known, then "accepted", "refused" or "uncertain";
            "absent" after a search, and "settled" when the user has what became of the task.
        task_id: Its task, when it is known.
        handle: What `unitask wait` takes: the id, or the token of a legacy task.
    """

    key: str
    at: float
    name: str
    base_url: str
    model: str
    task_type: str
    intent: str  # see `recovery.from_json`
    outcome: str = "sent"
    task_id: str | None = None
    handle: str | None = None
    token: str | None = None  # of its error, when it is uncertain


def state_file() -> Path:
    """Return the file of the submissions."""
    return folder("XDG_STATE_HOME", ".local/state") / "submissions.jsonl"


def submissions() -> list[Submitted]:
    """Return the submissions of the file, the oldest first; damaged lines are left out."""
    found: dict[str, Submitted] = {}
    path, names = state_file(), {field.name for field in dataclasses.fields(Submitted)}
    for part in (path.with_suffix(".old.jsonl"), path):
        try:
            lines = part.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise errors.JournalError(f"{part} cannot be read: {error.strerror or error}") from error
        for line in lines:
            with suppress(ValueError, TypeError, KeyError, RecursionError):
                row = {name: value for name, value in as_object(json.loads(line)).items() if name in names}
                before = found.get(row["key"])
                found[row["key"]] = dataclasses.replace(before, **row) if before else Submitted(**row)
    return [row for row in found.values() if _is_readable(row)]


def _is_readable(row: Submitted) -> bool:
    """Whether each field has a value of its type."""
    fields: dict[str, object] = dataclasses.asdict(row)
    at = fields.pop("at")
    is_time = isinstance(at, int | float) and 0 <= at < LAST_TIME
    return is_time and all(isinstance(text, str | None) for text in fields.values())


READ_TIME = requests.history(requests.HistoryQuery(page_size=1))  # the provider's time, on which a search depends


class RecordingClient(Client):
    """A client that writes down each submission before it is sent."""

    def lost(self, row: Submitted) -> errors.SubmissionUncertain:
        """Return the error of a submission of an earlier command, for `find`."""
        if self._dated is None:
            self._take(READ_TIME)
        error = recovery.from_json(row.intent, row.model, row.task_type, self._clock(), self._dated, PROCESS)
        if row.token is not None:  # it has better bounds of the time
            fields, error = error.identity.fields, task_token.read_uncertain(row.token)
            error.identity = dataclasses.replace(error.identity, fields=fields)
        return error

    def search(self, row: Submitted, timeout: float | None = None) -> Recovery:
        """Search a submission of an earlier command, and write down what became of it."""
        for other in submissions():
            if other.task_id is not None and other.base_url == self.base_url:
                remember(self._own_ids, other.task_id, other.key)  # it is not the task of this one
        found = self.find(self.lost(row), timeout=timeout)
        if found.task is not None:
            note(row.key, outcome=ACCEPTED, task_id=found.task.id, handle=handle(found.task))
        elif found.outcome is Outcome.ABSENT:
            note(row.key, outcome="absent")
        return found

    def _submit_flow(
        self, body: dict[str, Any], task: TaskInput[OutputT], submission: Submission, **given: Any
    ) -> Flow[Task[OutputT]]:
        flow = super()._submit_flow(body, task, submission, **given)
        return recorded(flow, submission, type(task).__name__, self.base_url, self._clock)


def recorded(
    flow: Flow[Task[OutputT]], submission: Submission, name: str, base_url: str, clock: Clock
) -> Flow[Task[OutputT]]:
    """Carry out the flow of a submission; write a line before it is sent, and another one when its outcome is known."""
    is_written = False

    def write() -> Flow[None]:
        nonlocal is_written
        if submission.dated() is None:
            yield READ_TIME
        _append_intent(submission, name, base_url, clock())
        is_written = True

    submission.before_sending.append(write)
    try:
        created = yield from flow
    except errors.UnitaskError as error:
        if is_written:
            token = error.token if isinstance(error, errors.SubmissionUncertain) else None
            note(submission.token, outcome="uncertain" if token else "refused", token=token, task_id=error.task_id)
        raise
    note(submission.token, outcome=ACCEPTED, task_id=created.id, handle=handle(created))
    return created


def _append_intent(submission: Submission, name: str, base_url: str, at: Timestamp) -> None:
    row = Submitted(
        key=submission.token,
        at=at.unix,
        name=name,
        base_url=base_url,
        model=submission.body["model"],
        task_type=submission.body["task_type"],
        intent=submission.to_json(at),
    )
    _append({name: value for name, value in dataclasses.asdict(row).items() if value is not None})


def note(key: str, **facts: str | None) -> None:
    """Write what became of a submission; warn if that is impossible, since what was sent is reported in any case."""
    try:
        _append({"key": key, **facts})
    except errors.JournalError as error:
        say(f"unitask: warning: {error}")


def settle(task_id: str) -> None:
    """Write down that the user has what became of a task, so that `unitask find` does not name it; warn if it fails."""
    try:
        rows = submissions()
    except errors.UnitaskError as error:
        say(f"unitask: warning: {error}")
        return
    for row in rows:
        if row.task_id == task_id and row.outcome == ACCEPTED:
            note(row.key, outcome=SETTLED)


def handle(task: Task[Any]) -> str:
    """Return what `unitask wait` takes for a task: its id, or the token of a legacy task."""
    return task.id if task.output_type.PROTOCOL == "unified" else task.token


def _append(row: dict[str, Any]) -> None:
    """Write a line to the disk."""
    path = state_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if path.exists() and path.stat().st_size > LARGEST:
            path.replace(path.with_suffix(".old.jsonl"))
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            line = f"\n{json.dumps(row)}\n".encode()  # the last line may be cut off
            if os.write(file, line) < len(line):
                raise OSError(errno.ENOSPC, "the disk is full")
            os.fsync(file)
        finally:
            os.close(file)
        keep_names(path.parent)
    except OSError as error:
        reason = f"the record of submissions, {path}, cannot be written: {error.strerror or error}"
        raise errors.JournalError(f"{reason}. Set XDG_STATE_HOME to a folder that can be written") from error
