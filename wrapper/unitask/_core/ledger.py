"""What one call of `map` writes into a journal, and what an earlier call has left there.

Rules of this file: a request is sent only after its row is on the disk, and nothing waits between the two. A row is
deleted only if its task provably was not accepted. A result is reported after its row was written.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from unitask_api.outputs import output_type

from .. import errors
from .._model.task import CREDITS_PER_USD, Outcome, Output, Recovery, Task
from . import envelope, requests
from .effects import Flow, Response, Sleep, Write
from .journal import Journal, Row, RowState, Verdict
from .recovery import Submission, adopt, latest

T = TypeVar("T")
_JSON = json.JSONEncoder(separators=(",", ":"))


class Found(NamedTuple):
    """What became of a submission that was searched."""

    outcome: Outcome = Outcome.UNCLEAR
    task: Task[Any] | None = None


@dataclass(slots=True, eq=False)
class Ledger:
    """The journal of one call of `map`.

    Attributes:
        rows: What an earlier call has left, by the number of the input; a row is taken out when its input is read.
        own: The tasks of this job, so that a search does not take one for another.
        sending: Submissions that were sent and whose task is not known yet, for the same purpose.
    """

    journal: Journal
    digest: Callable[[Any], str]  # of an input
    find: Callable[..., Flow[list[Recovery]]]  # searches errors, as `recovery.find_many`
    limit_usd: float | None = None
    rows: dict[int, Row] = field(default_factory=dict[int, Row])
    own: dict[str, str] = field(default_factory=dict[str, str])
    sending: dict[int, Submission] = field(default_factory=dict[int, Submission])
    _has_requested: bool = False  # the provider's time
    _failure: errors.JournalError | None = None  # of a change for which nothing waited

    def __post_init__(self) -> None:
        for row in self.journal.rows():
            self.rows[row.key] = row
            if row.task_id is not None:
                self.own[row.task_id] = str(row.key)

    def take(self, index: int, given: Any) -> Row | None:
        """Return the row of an input, if there is one; raise InvalidInput if it is the row of another input."""
        row = self.rows.pop(index, None)
        if row is not None and row.digest != self.digest(given):
            raise errors.InvalidInput(
                f"input {index} is not the one in the journal: give the same inputs in their order, or a new journal"
            )
        return row

    def submission(
        self,
        index: int,
        given: Any,
        held: int | None,
        flow: Flow[Task[Any]],
        submission: Submission,
    ) -> Flow[Task[Any]]:
        """Write a row before a submission is sent, and its task when it was accepted; see `Submission.to_json`."""
        submission.check = self.journal.check
        submission.before_sending.append(partial(self._intend, index, given, held, submission))
        try:
            task = yield from flow
        except (errors.SubmissionUncertain, errors.JournalError):
            raise
        except errors.UnitaskError as error:
            is_written = self.sending.pop(index, None) is not None
            if is_written and error.task_id is None:
                yield from self._withdraw(index)
            raise
        self.accept(index, task.id).add_done_callback(partial(self._note_failure, task.id))
        return task

    def missing_inputs(self, read: int) -> errors.InvalidInput | None:
        """Return an error if rows are left when all inputs were read: tasks that nothing would wait for."""
        missing = [row for row in self.rows.values() if row.digest]  # those without one are of other shards
        if not missing:
            return None
        return errors.InvalidInput(
            f"there are {read} inputs, and the journal has {len(missing)} more: give the same inputs in their order"
        )

    def accept(self, index: int, task_id: str) -> Future[None]:
        """Begin to write which task a row has. Nothing waits for it, since later changes are written after it."""
        self.own[task_id] = str(index)
        self.sending.pop(index, None)
        try:
            return self.journal.accepted(index, task_id)
        except errors.JournalError as error:
            error.task_id = task_id
            raise

    def _note_failure(self, task_id: str, change: Future[None]) -> None:
        error = change.exception()
        if isinstance(error, errors.JournalError):
            error.task_id = task_id
            self._failure = self._failure or error

    def end(self, index: int, task: Task[Any], spent: int) -> Flow[None]:
        """Write how a task has ended, and what it cost, in credits."""
        state = RowState.DONE if task.state == "completed" else RowState.FAILED
        outcome = _JSON.encode(task.raw)
        yield from self._write(lambda: self.journal.ended(index, state, outcome, spent), task.id)

    def keep(self, index: int, files: Sequence[Path]) -> Flow[None]:
        """Write which files a result has."""
        yield from self._write(lambda: self.journal.written(index, [str(path) for path in files]))

    def search(self, lost: Mapping[int, errors.SubmissionUncertain]) -> Flow[dict[int, Found]]:
        """Search tasks that may have been accepted, by the number of their input, and write what was found.

        A task with the same input is taken for the one that is searched: it has the result that is wanted.
        """
        left, results = dict(lost), dict[int, Found]()
        for timeout in (0.0, None):  # what is there is written at once; the rest may enter the history later
            found = yield from self.find(list(left.values()), self.own, self.sending, timeout)
            for (index, error), recovery, task in zip(list(left.items()), found, adopt(found), strict=True):
                is_marked = error.identity.correlation_id is not None  # then its own task may come later
                if timeout is not None and recovery.task is None and (task is None or is_marked):
                    continue
                results[index] = Found(recovery.outcome, task)
                left.pop(index)
                self.sending.pop(index, None)
                if task is not None:
                    yield from self._write(partial(self.accept, index, task.id), task.id)
                elif recovery.outcome is Outcome.ABSENT:
                    yield from self._withdraw(index)
                else:
                    yield from self._park(index, error, recovery.reason)
            if not left:
                break
        return results

    def _intend(self, index: int, given: Any, held: int | None, submission: Submission) -> Flow[None]:
        if self._failure is not None:
            raise self._failure
        if self.limit_usd is not None and held is None:
            raise self._over(None)
        if submission.dated() is None and not self._has_requested:
            # A later process has to know when it was sent on the provider's clock.
            self._has_requested = isinstance((yield requests.history(requests.HistoryQuery(page_size=1))), Response)
        intent = submission.to_json((yield Sleep(0)).at)
        match (yield from self._written(self.journal.intent(index, self.digest(given), intent, held or 0))):
            case Verdict.OVER:
                raise self._over(held)
            case Verdict.LOST:
                raise errors.JournalError("another worker has taken over this part of the job; nothing was sent")
            case _:
                self.sending[index] = submission

    def _over(self, held: int | None) -> errors.BudgetExceeded:
        totals = self.journal.totals()
        spent, kept = totals.spent / CREDITS_PER_USD, totals.held / CREDITS_PER_USD
        usd = None if held is None else held / CREDITS_PER_USD
        limit = spent + kept if self.limit_usd is None else self.limit_usd
        return errors.BudgetExceeded("the next task", estimate_usd=usd, limit_usd=limit, spent_usd=spent, held_usd=kept)

    def _withdraw(self, index: int) -> Flow[None]:
        yield from self._write(lambda: self.journal.withdrawn(index))

    def _park(self, index: int, error: errors.SubmissionUncertain, reason: str) -> Flow[None]:
        outcome = json.dumps({"reason": reason, "sent_before": latest(error)})
        yield from self._write(lambda: self.journal.ended(index, RowState.UNKNOWN, outcome, 0))

    def _write(self, write: Callable[[], Future[None]], task_id: str | None = None) -> Flow[None]:
        try:
            yield from self._written(write())
        except errors.JournalError as error:
            error.task_id = error.task_id or task_id
            raise

    def _written(self, change: Future[T]) -> Flow[T]:
        """Wait for a change; raise its error, or that of an earlier change for which nothing waited."""
        yield Write(change)
        result = change.result()
        if self._failure is not None:
            raise self._failure
        return result


def read_outcome(row: Row) -> Task[Output] | errors.UnitaskError:
    """Return the task of a row that is DONE, or the error of one that is FAILED."""
    said = json.loads(row.outcome or "{}")
    task = Task(said, output_type(said.get("model"), said.get("task_type"), said.get("input")))
    return task if row.state is RowState.DONE else envelope.task_failed(task)
