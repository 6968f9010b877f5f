"""What `unitask bulk` writes while a job runs and at its end, and the words in which it reports an error."""

import contextlib
import json
import shlex
import sys
import time
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

from .. import errors
from .._core.journal import RowState, Totals
from .._core.pricing import CREDITS_PER_USD
from .._terminal import dollars, put, reason, say, show
from ..mapping import MapProgress, MapResult
from .input_file import InputFile
from .journal import Journal

LIVE, LOGGED = 0.2, 10.0  # seconds between two lines of the progress: on a terminal, and elsewhere
SHOWN = 10  # failures that the summary lists
UNSAVED = 10  # results in a row whose files could not be saved; after that no more tasks are paid for
NOT_SENT = "not sent"
ENDING = (
    *(errors.AuthenticationFailed, errors.InsufficientCredit, errors.PermissionDenied, errors.BudgetExceeded),
    errors.Unreachable,
)


class Line(NamedTuple):
    """What became of a line of the file."""

    line: int
    task_id: str | None
    state: str  # of its row in the journal, or "not sent"
    cost_usd: float | None
    files: tuple[str, ...]
    error: str | None

    @property
    def json(self) -> str:
        """An object of one line."""
        return json.dumps(self._asdict())


class Report:
    """What the command writes while a job runs, and at its end."""

    def __init__(self, source: InputFile, journal: Journal, options: SimpleNamespace, again: str) -> None:
        self.done: int = 0
        self.again: str = again
        self._is_wrong, self._has_unknown_price = False, False
        self._source, self._journal, self._as_json, self._is_quiet = source, journal, options.json, options.quiet
        self._is_live = sys.stderr is not None and sys.stderr.isatty() and not options.quiet
        self._due, self._failures, self._failed, self._unsaved = time.monotonic(), list[Line](), 0, 0

    def progress(self, at: MapProgress) -> None:
        """Write a line about the progress, if one is due."""
        now = time.monotonic()
        if self._is_quiet or now < self._due:
            return
        self._due = now + (LIVE if self._is_live else LOGGED)
        spent = dollars(at.spent_usd)
        text = f"{at.done} done, {at.running} running, {at.failed} failed, {spent} spent, {at.rest} left"
        text += f"; requests wait: {at.paused_by:.100}" if at.paused_by else ""
        if self._is_live:
            show(f"\r\x1b[K{text}")
        else:
            say(f"unitask: {text}")

    def result(self, result: MapResult[Any]) -> None:
        """Write a result; raise UnitaskError if the files of many could not be saved."""
        line = line_of(result, self._source.line_of(result.index))
        self._clear()
        if self._as_json:
            put(line.json)
        elif line.files:
            put(*line.files)
        if line.error is None:
            self.done, self._unsaved = self.done + 1, 0
            return
        has_price = getattr(result.error, "estimate_usd", 0.0) is not None
        if line.state == NOT_SENT and isinstance(result.error, ENDING) and has_price:  # the end says so
            return
        self._is_wrong |= line.state == NOT_SENT and isinstance(result.error, errors.InvalidInput)
        self._has_unknown_price |= not has_price
        self._failed += 1
        self._failures += [line] if len(self._failures) < SHOWN else []
        self._unsaved = self._unsaved + 1 if line.state == RowState.DONE else 0
        if self._unsaved == UNSAVED:
            raise errors.UnitaskError(
                f"the files of {UNSAVED} tasks, one after another, could not be saved: {line.error}"
            )

    def end(self, problem: str | None = None, *, first: str = "", more: str = "") -> None:
        """Write the summary, and the command that goes on: what to do before it, and what to add to it."""
        self._clear()
        rest, failed, unknown = len(self._source) - self.done, 0, 0
        settle, export = (
            shlex.join(["unitask", "bulk", word, str(self._journal.path)]) for word in ("settle", "export")
        )
        with contextlib.suppress(errors.JournalError):  # which is reported
            totals = self._journal.totals()
            failed, unknown = (totals.counts.get(state, 0) for state in (RowState.FAILED, RowState.UNKNOWN))
            say(f"unitask: {counts(totals, len(self._source))}; {money(totals, None)}")
        say(*(f"unitask: line {line.line}: {line.state}: {line.error}" for line in self._failures))
        if self._failed > SHOWN:
            say(f"unitask: {self._failed - SHOWN} more lines failed: `{export}` lists all lines")
        if problem:
            say(f"unitask: {problem}")
        if unknown:
            say(
                "unitask: unknown tasks may have been accepted and paid; the next run searches them again. If you know "
                f"what became of one: `{settle} LINE --task-id ID` or `--not-sent`; `{export}` says why it is unknown"
            )
        if rest > failed + unknown:
            first = first or ("correct the wrong lines, then " if self._is_wrong else "")
            more = more or (" --max-usd none" if self._has_unknown_price else "")
            say(f"unitask: {first}`{self.again}{more}` goes on; nothing that was sent is sent again")
        elif failed:
            say(f"unitask: failed tasks are not sent again: give their lines as another file; `{export}` lists them")

    def _clear(self) -> None:
        if self._is_live:
            show("\r\x1b[K")


def line_of(result: MapResult[Any], line: int) -> Line:
    """Return what became of a line, from its result."""
    error, task = result.error, result.task
    if task is not None:
        state: str = RowState.DONE
    elif isinstance(error, errors.TaskFailed):
        state, task = RowState.FAILED, cast("Any", error.task)
    elif isinstance(error, errors.SubmissionUncertain):
        state = RowState.UNKNOWN
    else:
        state = RowState.SENT if error is not None and error.task_id else NOT_SENT
    task_id = task.id if task is not None else error.task_id if error is not None else None
    cost = task.cost_usd if task is not None and state == RowState.DONE else 0.0 if state == RowState.FAILED else None
    why = None if error is None else reason(error)
    return Line(line, task_id, state, cost, tuple(map(str, result.files)), why)


def money(totals: Totals, limit: int | None) -> str:
    """Return what was spent and is held, of which limit."""
    spent, held = totals.spent / CREDITS_PER_USD, totals.held / CREDITS_PER_USD
    text = f"spent {dollars(spent)}" + (f", held {dollars(held)}" if held else "")
    return text + (f" of {dollars(limit / CREDITS_PER_USD)}" if limit is not None else "")


def counts(totals: Totals, inputs: int | None) -> str:
    """Return how many tasks are in which state."""
    numbers = [f"{number} {state.value}" for state, number in totals.counts.items() if number]
    if inputs is not None:
        numbers.append(f"{inputs - sum(totals.counts.values())} {NOT_SENT}, of {inputs}")
    return ", ".join(numbers) or "nothing was sent"
