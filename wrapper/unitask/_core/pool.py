"""Submit many tasks and wait for them: which request is due next, within limits. It does no I/O.

One scheduler holds all tasks in a heap of due times; a task that is waited for is one small object, without a
generator. A client takes turns from it (`next`), carries each out, and gives it back (`finish`).

Rules of this file: inputs are read lazily, and at most `concurrency` of them have no result that was taken. HTTP 429,
or a request that never left, pauses all requests and slows the submissions; it is not the failure of one task. A
submission without an answer slows the others, since each one after it may have to be searched, too. An error that other
submissions would have, too, ends the submissions; tasks that were accepted are waited for.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any, Generic, TypeVar, cast

from unitask_api.json_types import printable
from unitask_api.states import State

from .. import errors
from .._model.task import Outcome, Task
from .._model.timestamp import Timestamp
from . import envelope
from .effects import Flow, Reply, Response, Resumed, SendRequest, Sleep, TaskUpdated, TransportFailure, no_answer
from .journal import PoolLimits, Row, RowState
from .ledger import Found, Ledger, read_outcome
from .pricing import bill_of
from .recovery import Submission
from .retry import RETRY_AFTER_CAP, Timeouts, clamp_retry_after
from .waiting import Waiting, hash_of

InputT = TypeVar("InputT")

FIRST_PAUSE = 1.0  # seconds of a pause of all requests, without Retry-After; doubled each time
LEAST_SPACING = 0.02  # seconds between two submissions after the first HTTP 429; doubled each time
MOST_SPACING = 10.0
RECOVERY = 0.9  # each accepted submission shortens the spacing by this factor
SAFETY_NET = 60.0  # seconds between polls of a task whose end a webhook reports
TOGETHER = 0.02  # seconds for which polls gather, since each time that they are due costs more than a poll
GATHERING = 2.0  # seconds for which submissions without an answer gather, to be searched in one reading
# Another submission would end so, too.
_ENDING_ERRORS = (
    *(errors.AuthenticationFailed, errors.BudgetExceeded, errors.InsufficientCredit, errors.PermissionDenied),
    errors.Unreachable,  # after all attempts
)


@dataclass(slots=True, eq=False)
class Job(Generic[InputT]):
    """An input, from when it is read until it has its result."""

    index: int
    input: InputT
    due: float = math.nan  # when its next turn is; NaN during a turn
    submission: Submission | None = None
    flow: Flow[Task[Any]] | None = None  # of its submission
    held: int | None = None  # credits that its task may cost; None if that is unknown
    uncertain: errors.SubmissionUncertain | None = None  # its task may have been accepted
    waiting: Waiting[Any] | None = None  # once its task is accepted
    row: Row | None = None  # of an earlier call: its result, or its lost submission
    is_notified: bool = False  # a notification came during a turn


@dataclass(slots=True, eq=False)
class Turn(Generic[InputT]):
    """What is due for a job, and how it ended."""

    job: Job[InputT]
    began: float
    at: Timestamp  # of the last reply; at first, when it began
    task: Task[Any] | None = None  # accepted, or ended
    error: Exception | None = None
    pause: float | None = None  # seconds until the submission goes on
    limited: float | None = None  # see `_limit`
    answer: int = 0  # to its submission; see `Waiting.answer`
    found: Sequence[tuple[Job[InputT], Found]] = ()  # by a search


@dataclass(slots=True)
class Counts:
    """How many inputs were read, and what became of them."""

    read: int = 0
    done: int = 0
    failed: int = 0
    spent_usd: float = 0.0


@dataclass(slots=True, eq=False)
class Pool(Generic[InputT]):
    """The tasks of one call of `map`."""

    inputs: Iterator[InputT] | None
    limits: PoolLimits
    timeouts: Timeouts
    ledger: Ledger | None = None
    counts: Counts = field(default_factory=Counts)
    is_input_ready: Callable[[], bool] = lambda: True  # whether `inputs` gives the next one, or its end, at once
    stopped_by: Exception | None = None  # why no more inputs are read
    is_closed: bool = False
    paused_by: str | None = None  # why all requests wait
    waiting: dict[str, Job[InputT]] = field(default_factory=dict[str, "Job[InputT]"])  # by the id of the task
    _queue: list[tuple[float, int, Job[InputT]]] = field(default_factory=list[Any])  # a heap; may have outdated entries
    _ready: list[Job[InputT]] = field(default_factory=list["Job[InputT]"])  # to be submitted before others are read
    _blocked: list[Job[InputT]] = field(default_factory=list["Job[InputT]"])  # refused by a budget that holds others
    _lost: list[Job[InputT]] = field(default_factory=list["Job[InputT]"])  # to be searched
    _search: Job[Any] = field(default_factory=lambda: Job[Any](-1, None))  # stands for the search of all these
    _puts: int = 0  # into the queue, so that its entries have an order
    _unfinished: int = 0  # jobs without a result
    _untaken: int = 0  # jobs whose result was not taken
    _slowed_at: float = -math.inf
    _paused_until: float = -math.inf
    _pauses: int = 0  # one after another
    _next_submission: float = -math.inf
    _spacing: float = 0.0  # seconds between submissions, besides `per_second`
    _owners: dict[str, str] = field(default_factory=dict[str, str])  # the number of the input of each task, by its id

    def __post_init__(self) -> None:
        if self.ledger is not None:
            self._owners = self.ledger.own

    def next(self, at: Timestamp) -> Turn[InputT] | float | None:
        """Return the turn that is due, else the time (monotonic) at which one is, else None: all have ended.

        The time is infinite if only the end of a turn, or the taking of a result, brings the next one.
        """
        now, job = at.monotonic, None
        while job is None:
            if self.is_closed:
                return None
            while self._queue and self._is_outdated(now):
                heappop(self._queue)
            due = self._queue[0][0] if self._queue else math.inf
            if due > now:
                due = max(due, now + TOGETHER)
            if due > now and self._may_submit():
                due = min(due, self._next_submission)
            due = max(due, self._paused_until)
            if due > now:
                return due if due < math.inf or self._unfinished or self.inputs is not None else None
            job = heappop(self._queue)[2] if self._queue and self._queue[0][0] <= now else self._read(at)
        if self._is_submission(job):
            self._next_submission = max(now, self._next_submission) + max(self._spacing, 1.0 / self.limits.per_second)
        job.due = math.nan
        return Turn(job, now, at)

    def is_search(self, turn: Turn[InputT]) -> bool:
        """Whether a turn is `search`."""
        return turn.job is self._search

    def _is_outdated(self, now: float) -> bool:
        """Whether the first entry of the queue is none of its job, or what is due is postponed."""
        due, _, job = self._queue[0]
        if due == job.due <= now < self._next_submission and self._is_submission(job):  # one that is sent again
            self._put(job, self._next_submission)
        if due == job.due <= now and job.waiting is not None and not job.is_notified:
            longer = job.waiting.postponed(now)
            if longer:
                self._put(job, now + longer)
        return due != job.due

    def _is_submission(self, job: Job[Any]) -> bool:
        """Whether the next turn of a job sends a submission."""
        return job.waiting is None and job.row is None and job.uncertain is None and job is not self._search

    def _may_submit(self) -> bool:
        if self._ready:
            return True
        return self.inputs is not None and not self._blocked and not self.is_full and self.is_input_ready()

    def _read(self, at: Timestamp) -> Job[InputT] | None:
        """Return the next job to submit, or that has its result; None if there is none, or it is in the queue now."""
        if self._ready:
            return self._ready.pop(0)
        try:
            job = Job(self.counts.read, next(self.inputs or iter(())))
            job.row = self.ledger.take(job.index, job.input) if self.ledger else None
        except StopIteration:
            self.inputs = None
            if error := self.ledger.missing_inputs(self.counts.read) if self.ledger else None:
                self._stop(error)
            return None
        except Exception as error:  # of the caller's iterator, or of the journal
            self._stop(error)
            return None
        self.counts.read, self._unfinished, self._untaken = job.index + 1, self._unfinished + 1, self._untaken + 1
        if job.row is None or job.row.state in (RowState.DONE, RowState.FAILED):
            return job
        self._continue(job, job.row, at)
        return None

    def _continue(self, job: Job[InputT], row: Row, at: Timestamp) -> None:
        """Go on with the task of an earlier call."""
        job.held = row.held
        if row.state is RowState.SENT and row.task_id is not None:
            self._wait(job, row.task_id, at)
            self._put(job, at.monotonic)
        else:
            self._lose(job, at.monotonic)

    def submit(self, turn: Turn[InputT], flow: Flow[Task[Any]] | None = None) -> Flow[None]:
        """Make the submission of a job up to its next pause, or to its end; `flow` begins it."""
        reply: Reply | None = Resumed(turn.at) if flow is None else None
        flow = turn.job.flow = flow or turn.job.flow
        assert flow is not None
        try:
            step = flow.send(cast("Reply", reply))
            while True:
                if isinstance(step, Sleep):
                    if step.seconds:
                        turn.pause = step.seconds
                        return
                    step = flow.send(Resumed(turn.at))
                    continue
                if isinstance(step, TaskUpdated) and self._is_taken(step.task, turn.job):
                    reason = f"the answer names task {printable(step.task.id)}, which is that of another input"
                    step = flow.throw(cast("Submission", turn.job.submission).uncertain(reason, turn.at))
                    continue
                try:
                    reply = yield step
                except BaseException as error:
                    step = flow.throw(error)
                    continue
                turn.at = reply.at
                if not isinstance(reply, Resumed):
                    turn.limited = self._limit(reply)
                    if isinstance(reply, Response):
                        turn.answer = hash_of(reply)
                step = flow.send(reply)
        except StopIteration as end:
            turn.task = end.value
        except Exception as error:
            turn.error = error

    def _is_taken(self, task: Task[Any], job: Job[InputT]) -> bool:
        """Whether another input has this task."""
        return self._owners.setdefault(task.id, str(job.index)) != str(job.index)  # atomic, since threads call this

    def poll(self, turn: Turn[InputT]) -> SendRequest:
        """Return the request that polls the task of a job."""
        assert turn.job.waiting is not None
        return turn.job.waiting.request(turn.at.monotonic)

    def polled(self, turn: Turn[InputT], reply: Reply) -> Task[Any] | None:
        """Take the answer to a poll; return the task if it has changed."""
        waiting, turn.at, changed = turn.job.waiting, reply.at, None
        assert waiting is not None
        try:
            turn.limited = self._limit(reply)
            if turn.limited is not None:
                waiting.skip(reply.at)
            else:
                changed = waiting.take(reply)
            if waiting.ended and waiting.last is not None:
                turn.task = waiting.last
                if turn.task.state is not State.COMPLETED:
                    turn.error = waiting.with_polls(envelope.task_failed(turn.task))
        except Exception as error:
            turn.error = error
            if isinstance(error, errors.UnitaskError):
                error.task_id = error.task_id or waiting.task_id
        return changed

    def write_end(self, turn: Turn[InputT]) -> Flow[None]:
        """Write how the task of a job has ended, if there is a journal."""
        if self.ledger is not None and turn.task is not None:
            job = turn.job
            yield from self.ledger.end(job.index, turn.task, bill_of(turn.task, job.held or 0))

    def take_lost(self) -> list[Job[InputT]]:
        """Return the jobs to search; for each, `uncertain` has to be set before `search`."""
        lost, self._lost = self._lost, []
        return lost

    def search(self, turn: Turn[InputT], lost: Sequence[Job[InputT]]) -> Flow[None]:
        """Search the tasks of submissions without an answer; `finish` goes on with their jobs."""
        assert self.ledger is not None
        try:
            found = yield from self.ledger.search({job.index: job.uncertain for job in lost if job.uncertain})
            turn.found, turn.at = [(job, found[job.index]) for job in lost], (yield Sleep(0)).at
        except Exception as error:
            turn.error = error

    def _go_on(self, job: Job[InputT], found: Found, at: Timestamp) -> None:
        """Go on with a job whose task was searched."""
        job.row = job.flow = job.submission = None
        if found.outcome is Outcome.ABSENT:
            job.uncertain = None
            self._ready.append(job)
            return
        if found.task is not None:
            self._wait(job, found.task.id, at, found.task)
        self._put(job, at.monotonic)  # without a task, its turn is its end

    def finish(self, turn: Turn[InputT], at: Timestamp) -> bool:
        """Take back a turn; return whether the job has its result: `turn.error`, else `turn.task`."""
        job, now, is_accepted = turn.job, at.monotonic, False
        if job is self._search:
            for one, found in turn.found:
                self._go_on(one, found, at)
            return False
        is_lost = isinstance(turn.error, errors.SubmissionUncertain) and job.uncertain is None
        if (turn.limited is not None or is_lost) and turn.began > self._slowed_at:  # one before says nothing new
            self._slow_down(turn.limited, now)
        elif turn.limited is None and turn.error is None:
            self._pauses, self.paused_by = 0, None
        if job.waiting is None and turn.task is not None and job.row is None:
            is_accepted = True  # it is polled at least once, also if it has ended already
            self._accept(job, turn.task, at, turn.answer)
        pause = turn.pause
        if job.waiting is not None and turn.error is None and (is_accepted or not job.waiting.ended):
            try:
                pause = job.waiting.pause()
            except errors.WaitTimeout as error:
                turn.error = error
        if turn.error is None and pause is not None:
            self._put(job, now if job.is_notified else now + pause)
            return False
        if job.waiting is None and self._is_put_back(job, turn.error, now):
            return False
        self._end(turn)
        return True

    def _is_put_back(self, job: Job[InputT], error: Exception | None, now: float) -> bool:
        """Keep a job whose submission may still succeed, or may have done so."""
        others = self._unfinished - 1 - len(self._blocked)  # their end may free money
        if isinstance(error, errors.BudgetExceeded) and others:
            job.flow = job.submission = None
            self._blocked.append(job)
            return True
        if isinstance(error, errors.SubmissionUncertain) and self.ledger is not None and job.uncertain is None:
            job.uncertain = error
            self._lose(job, now)
            return True
        return False

    @property
    def is_full(self) -> bool:
        """Whether the next input is read only when a result is taken."""
        return self._untaken >= self.limits.concurrency

    def take(self) -> None:
        """Note that a result was taken."""
        self._untaken -= 1

    def notify(self, task_id: str, now: float) -> None:
        """Poll a task now, since a notification of it has come."""
        job = self.waiting.get(task_id)
        if job is not None and job.due > now:
            self._put(job, now)
        elif job is not None:
            job.is_notified = True

    def close(self) -> None:
        """Begin no more turns."""
        self.is_closed = True

    def known(self, turn: Turn[InputT]) -> bool:
        """Whether the result of a job is known without a request; set it."""
        job = turn.job
        if job.uncertain is not None:
            turn.error = job.uncertain
        elif job.row is not None:
            outcome = read_outcome(job.row)
            turn.task, turn.error = (outcome, None) if isinstance(outcome, Task) else (None, outcome)
        return turn.task is not None or turn.error is not None

    def _put(self, job: Job[InputT], due: float) -> None:
        job.due, job.is_notified = due, False
        self._puts += 1
        heappush(self._queue, (due, self._puts, job))

    def _lose(self, job: Job[InputT], now: float) -> None:
        self._lost.append(job)
        if len(self._lost) == 1:
            self._put(self._search, now + GATHERING)

    def _accept(self, job: Job[InputT], task: Task[Any], now: Timestamp, answer: int) -> None:
        job.flow = job.submission = None
        self._wait(job, task.id, now, task, answer)
        self._spacing *= RECOVERY
        self._unblock()

    def _wait(
        self, job: Job[InputT], task_id: str, now: Timestamp, task: Task[Any] | None = None, answer: int = 0
    ) -> None:
        kind, output = type(job.input).__name__, cast("Any", job.input).output_type()
        least = SAFETY_NET if self.limits.has_webhook else 0.0
        settings: dict[str, Any] = {"least_pause": least, "keeps": False, "last": task, "answer": answer}
        job.waiting = Waiting(task_id, output, kind, self.timeouts, now, exists=True, **settings)
        self.waiting[task_id] = job

    def _end(self, turn: Turn[InputT]) -> None:
        job, task, error, self._unfinished = turn.job, turn.task, turn.error, self._unfinished - 1
        if job.waiting is not None:
            self.waiting.pop(job.waiting.task_id, None)
        elif isinstance(error, _ENDING_ERRORS) and getattr(error, "estimate_usd", 0.0) is not None:  # of a known cost
            self._stop(error)
        if error is None and task is not None:
            self.counts.done, self.counts.spent_usd = self.counts.done + 1, self.counts.spent_usd + (task.cost_usd or 0)
        else:
            self.counts.failed += 1
        self._unblock()

    def _unblock(self) -> None:
        """Try one more submission that was refused by a budget; if it is accepted, the next one follows."""
        self._ready += self._blocked[:1]
        del self._blocked[:1]

    def _stop(self, error: Exception) -> None:
        self.inputs, self.stopped_by = None, self.stopped_by or error

    def _slow_down(self, asked: float | None, now: float) -> None:
        self._slowed_at, self._spacing = now, min(MOST_SPACING, max(LEAST_SPACING, 2.0 * self._spacing))
        if asked is None:
            return
        pause = min(RETRY_AFTER_CAP, FIRST_PAUSE * 2.0**self._pauses) if math.isnan(asked) else clamp_retry_after(asked)
        self._paused_until, self._pauses = now + pause, min(10, self._pauses + 1)

    def _limit(self, reply: Reply) -> float | None:
        """Return the Retry-After of HTTP 429; NaN without one, and for a request that never left; else None.

        Such a reply pauses all requests.
        """
        if isinstance(reply, Response):
            if reply.status != 429:
                return None
            self.paused_by, asked = "HTTP 429", envelope.retry_after(reply)
            return math.nan if asked is None else asked
        if not isinstance(reply, TransportFailure) or not reply.never_left:
            return None
        self.paused_by = no_answer(reply)
        return math.nan
