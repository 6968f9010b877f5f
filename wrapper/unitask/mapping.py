"""What `Client.map` yields and reports, and the state of one such call."""

import logging
import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, Generic, TypeAlias, cast

from ._core.pool import Job, Pool, Turn
from ._core.retry import RetryPolicy
from ._model.task import OutputT, Task
from ._model.timestamp import Timestamp
from .budget import Budget
from .errors import JournalError, TaskFailed, UnitaskError
from .inputs import Options, TaskInput

__all__ = ["MapProgress", "MapResult"]

MapTurn: TypeAlias = Turn[TaskInput[Any]]
FILE_ATTEMPTS, FILE_PAUSE = 60, 10.0  # for which a server of files that fails is tried again; seconds between them
log: logging.Logger = logging.getLogger("unitask")


@dataclass(frozen=True, slots=True)
class MapResult(Generic[OutputT]):
    """What became of one input of `Client.map`.

    Attributes:
        index: Its number among the inputs, from 0.
        input: The input.
        task: The completed task; None if there is none.
        error: Why there is no task, or why its files were not fetched; None after a success.
        files: The files that were fetched.
    """

    index: int
    input: TaskInput[OutputT]
    task: Task[OutputT] | None
    error: UnitaskError | None = None
    files: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class MapProgress:
    """How far a call of `Client.map` is.

    Attributes:
        total: The number of inputs; None if they have no length.
        read: Inputs that were read.
        running: Tasks that were accepted and have not ended.
        done: Completed tasks.
        failed: Inputs without a completed task.
        spent_usd: The bills of the completed tasks.
        paused_by: Why all requests wait, such as HTTP 429; None unless they do.
    """

    total: int | None
    read: int
    running: int
    done: int
    failed: int
    spent_usd: float
    paused_by: str | None = None

    @property
    def rest(self) -> int | None:
        """Inputs without a result; None if the inputs have no length."""
        return None if self.total is None else self.total - self.done - self.failed


@dataclass(slots=True, eq=False)
class MapRun:
    """One call of `Client.map`; for clients."""

    pool: Pool[TaskInput[Any]]
    total: int | None
    options: Options
    budgets: tuple[Budget, ...]
    to: str | os.PathLike[str] | None
    retry_policy: RetryPolicy | None = None  # of submissions; None: that of the client
    overwrite: bool = False
    validate: bool = True
    ordered: bool = False
    on_progress: Callable[[MapProgress], object] | None = None
    guard: Lock = field(default_factory=Lock)  # of the pool
    sleeps_until: float = -math.inf  # when the worker that waits for the next turn goes on by itself
    was_full: bool = False  # whether the pool was full when it began to wait
    turns: set[MapTurn] = field(default_factory=set[MapTurn])  # that go on
    _results: dict[int, MapResult[Any]] = field(default_factory=dict[int, MapResult[Any]])  # that were not yielded
    _yielded: int = 0

    def next(self, at: Timestamp, *, waits: bool = True) -> MapTurn | float | None:
        """Return the next turn of the pool, as `Pool.next`; `waits`: the caller waits until there is one."""
        with self.guard:
            found = self.pool.next(at)
            if isinstance(found, Turn):
                self.turns.add(found)
            if waits:
                self.sleeps_until, self.was_full = found if isinstance(found, float) else -math.inf, self.pool.is_full
            return found

    def finish(self, turn: MapTurn, now: Timestamp) -> bool:
        """Take back a turn, as `Pool.finish`; what a task that has ended does not cost is free for others."""
        for budget in self.budgets:
            task = cast("Task[Any] | None", turn.error.task if isinstance(turn.error, TaskFailed) else turn.task)
            if task is not None:
                budget.see(task)
        with self.guard:
            self.turns.discard(turn)
            return self.pool.finish(turn, now)

    def put(self, result: MapResult[Any]) -> None:
        """Add a result."""
        with self.guard:
            self._results[result.index] = result

    def pop(self) -> MapResult[Any] | None:
        """Return the next result to yield; None if there is none now."""
        with self.guard:
            place = self._yielded if self.ordered else next(iter(self._results), -1)
            if place not in self._results:
                return None
            self.pool.take()
            self._yielded += 1
        result = self._results[place]
        del self._results[place]  # not `pop`: an interruption after a call loses what the call returned
        return result

    @property
    def has_room(self) -> bool:
        """Whether the pool may read an input that it could not read when it began to wait."""
        return self.was_full and not self.pool.is_full

    def take_lost(self) -> list[Job[TaskInput[Any]]]:
        """Return the jobs to search, as `Pool.take_lost`."""
        with self.guard:
            return self.pool.take_lost()

    def notify(self, task_id: str, now: float) -> None:
        """Poll a task now, as `Pool.notify`."""
        with self.guard:
            self.pool.notify(task_id, now)

    def result(self, turn: MapTurn) -> MapResult[Any]:
        """Return the result of a job that has ended."""
        job, error = turn.job, cast("UnitaskError | None", turn.error)
        files = tuple(map(Path, job.row.files)) if job.row is not None else ()
        files = files if all(file.is_file() for file in files) else ()  # otherwise they are fetched again
        return MapResult(job.index, job.input, turn.task if error is None else None, error, files)

    def brings_forward(self, due: float | None) -> bool:
        """Whether the worker that waits for the next turn waits too long: one is due at this time, or none (None)."""
        may_be_notified = self.pool.limits.has_webhook  # of a task whose submission was not yet answered
        is_earlier = due is None or not due >= self.sleeps_until
        return self.sleeps_until > -math.inf and (may_be_notified or is_earlier)

    def report(self) -> None:
        """Report the progress."""
        if self.on_progress is not None:
            counts = self.pool.counts
            running, done, failed = len(self.pool.waiting), counts.done, counts.failed
            at = MapProgress(self.total, counts.read, running, done, failed, counts.spent_usd, self.pool.paused_by)
            self.on_progress(at)

    def raise_stop(self) -> None:
        """Raise the error that ended the submissions, if one did."""
        if self.pool.stopped_by is not None:
            raise self.pool.stopped_by

    def note(self, interruption: BaseException, others: Iterable[object] = ()) -> None:
        """Name the tasks that an interruption leaves: those that go on, and those without a result that was taken.

        `others` are more errors that ended workers.
        """
        ended = [result.task or result.error for result in self._results.values()]
        ids = [item.id if isinstance(item, Task) else getattr(item, "task_id", None) for item in [*ended, *others]]
        ids = [*self.pool.waiting, *ids, getattr(interruption, "task_id", None)]
        if named := [*dict.fromkeys(filter(None, ids))]:
            note = f"unitask: {len(named)} tasks were accepted and not yielded; client.wait_all({named}) waits for them"
            log.warning("map was stopped by %s: %s", type(interruption).__name__, note)
            interruption.add_note(note)


def is_result(error: Exception) -> bool:
    """Whether an error is the result of one input; another one ends the call."""
    return isinstance(error, UnitaskError) and not isinstance(error, JournalError)
