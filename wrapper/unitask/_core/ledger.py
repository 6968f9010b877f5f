"""What one call of `map` writes into a journal, and what an earlier call has left there.

Rules of this file: a request is sent only after its row is on the disk, and nothing waits between the two. A row is
deleted only if its task provably was not accepted. A result is reported after its row was written.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from unitask_api.outputs import output_type

from .. import errors
from .._model import task_token
from .._model.task import CREDITS_PER_USD, Outcome, Output, Recovery, Task
from .._model.timestamp import Timestamp
from . import envelope
from .effects import Flow, SendRequest, Write
from .journal import Journal, Row, RowState, Verdict
from .recovery import Submission

LONGEST_SENDING = 60.0  # seconds after which a request that was sent has certainly arrived, or been lost


@dataclass(slots=True, eq=False)
class Ledger:
    """The journal of one call of `map`.

    Attributes:
        rows: What an earlier call has left, by the number of the input; a row is taken out when its input is read.
        own: The tasks of this job, so that a search does not take one for another.
    """

    journal: Journal
    digest: Callable[[Any], str]  # of an input
    find: Callable[[list[errors.SubmissionUncertain], Mapping[str, str]], Flow[list[Recovery]]]
    limit_usd: float | None = None
    rows: dict[int, Row] = field(default_factory=dict[int, Row])
    own: dict[str, str] = field(default_factory=dict[str, str])

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
        self, index: int, given: Any, held: int | None, flow: Flow[Task[Any]], submission: Submission
    ) -> Flow[Task[Any]]:
        """Write a row before a submission is sent, and its task when it was accepted."""
        written, reply = False, None
        try:
            step = next(flow)
            while True:
                if isinstance(step, SendRequest) and step.submission:
                    if not written:
                        yield from self._intend(index, given, held, submission)
                        written = True
                    step = replace(step, check=self.journal.check)
                try:
                    reply = yield step
                except BaseException as error:
                    step = flow.throw(error)
                    continue
                step = flow.send(reply)
        except StopIteration as end:
            task: Task[Any] = end.value
        except (errors.SubmissionUncertain, errors.JournalError):
            raise
        except errors.UnitaskError as error:
            if written and error.task_id is None:
                yield from self._write(self.journal.withdrawn(index))
            raise
        yield from self.accept(index, task.id)
        return task

    def accept(self, index: int, task_id: str) -> Flow[None]:
        """Write which task a row has."""
        self.own[task_id] = str(index)
        yield from self._write(self.journal.accepted(index, task_id), task_id)

    def end(self, index: int, task: Task[Any], spent: int) -> Flow[None]:
        """Write how a task has ended, and what it cost, in credits."""
        state = RowState.DONE if task.state == "completed" else RowState.FAILED
        outcome = json.dumps(task.raw, separators=(",", ":"))
        yield from self._write(self.journal.ended(index, state, outcome, spent), task.id)

    def keep(self, index: int, files: Sequence[Path]) -> Flow[None]:
        """Write which files a result has."""
        yield from self._write(self.journal.written(index, [str(path) for path in files]))

    def search(self, lost: Mapping[int, errors.SubmissionUncertain]) -> Flow[dict[int, Recovery]]:
        """Search tasks that may have been accepted, by the number of their input, and write what was found."""
        found = yield from self.find(list(lost.values()), self.own)
        results = dict(zip(lost, found, strict=True))
        for index, recovery in results.items():
            if recovery.task is not None:
                yield from self.accept(index, recovery.task.id)
            elif recovery.outcome is Outcome.ABSENT:
                yield from self._write(self.journal.withdrawn(index))
            else:
                outcome = json.dumps({"reason": recovery.reason})
                yield from self._write(self.journal.ended(index, RowState.UNKNOWN, outcome, 0))
        return results

    def _intend(self, index: int, given: Any, held: int | None, submission: Submission) -> Flow[None]:
        if self.limit_usd is not None and held is None:
            raise self._over(None)
        change = self.journal.intent(index, self.digest(given), intent_of(submission), held or 0)
        yield Write(change)
        match change.result():
            case Verdict.OVER:
                raise self._over(held)
            case Verdict.LOST:
                raise errors.JournalError("another worker has taken over this part of the job; nothing was sent")
            case _:
                pass

    def _over(self, held: int | None) -> errors.BudgetExceeded:
        totals = self.journal.totals()
        spent, kept = totals.spent / CREDITS_PER_USD, totals.held / CREDITS_PER_USD
        usd = None if held is None else held / CREDITS_PER_USD
        limit = spent + kept if self.limit_usd is None else self.limit_usd
        return errors.BudgetExceeded("the next task", estimate_usd=usd, limit_usd=limit, spent_usd=spent, held_usd=kept)

    def _write(self, change: Future[None], task_id: str | None = None) -> Flow[None]:
        yield Write(change)
        try:
            change.result()
        except errors.JournalError as error:
            error.task_id = task_id
            raise


def read_outcome(row: Row) -> Task[Output] | errors.UnitaskError:
    """Return the task of a row that is DONE, or the error of one that is FAILED or UNKNOWN."""
    said = json.loads(row.outcome or "{}")
    if row.state is RowState.UNKNOWN:
        return uncertain_of(row.intent)
    task = Task(said, output_type(said.get("model"), said.get("task_type"), said.get("input")))
    return task if row.state is RowState.DONE else envelope.task_failed(task)


def intent_of(submission: Submission) -> str:
    """Return the text from which a later process can search the task of a submission."""
    started = submission.started or Timestamp(0.0, 0.0)
    latest = Timestamp(started.monotonic + LONGEST_SENDING, started.unix + LONGEST_SENDING)
    return submission.uncertain("the program ended before the answer came", latest).token


def uncertain_of(intent: str) -> errors.SubmissionUncertain:
    """Return the error of a submission that a row stands for."""
    return task_token.read_uncertain(intent)
