"""The polls of one task: when the next one is due, and what an answer means. It does no I/O.

Rules of this file: a poll that fails is repeated while the patience lasts, unless the provider refuses a task that it
has never shown. A body that is the same as at the poll before is not read again.
"""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from .. import errors
from .._model.task import OutputT, Task
from .._model.timestamp import Timestamp
from . import envelope, polling, requests
from .effects import Reply, Response, SendRequest, no_answer
from .retry import Timeouts, clamp_retry_after, is_over, is_retryable

ErrorT = TypeVar("ErrorT", bound=errors.UnitaskError)
NO_HEADERS: Mapping[str, str] = {}  # of all tasks that have none
LEAST_REPEAT = 10.0  # seconds that a repeated poll gets at least, though the patience is over


@dataclass(slots=True, eq=False)
class Waiting(Generic[OutputT]):
    """A task that is polled. Call `pause`, `request` and `take` in turn, until it is `ended`."""

    task_id: str
    output_type: type[OutputT]
    kind: str | None  # its name in the catalogue; None takes it from the first answer
    limits: Timeouts
    started: Timestamp  # when the wait began
    exists: bool = False  # the provider has accepted or shown the task
    least_pause: float = 0.0  # seconds between polls of a task whose end a webhook reports
    keeps: bool = True  # whether to keep the last answer, for `WaitTimeout`, while the task goes on
    last: Task[OutputT] | None = None
    answer: int = 0  # the hash of the last answer; of no task before the first one
    ended: bool = False
    polls: int = 0
    statuses: tuple[tuple[float, str], ...] = ()  # each status word, and when it was first seen
    headers: Mapping[str, str] = field(default_factory=lambda: NO_HEADERS)  # of the last answer, for support
    _now: float = 0.0  # when the last answer came
    _submitted: float = math.nan  # when the task was submitted; NaN until that is known
    _unfinished: float = 0.0  # when it was last seen not yet done
    _pause: float = 0.0  # seconds to the next poll
    _pace: float = 0.0  # seconds that the provider asked to leave between polls
    _failures: int = 0  # polls that failed one after another
    _failing_since: float = 0.0  # when the first of them was sent: a poll that is sent late has not failed meanwhile
    _failure: errors.UnitaskError | None = None  # of the last one, with `keeps`
    _deadline: float = math.inf
    _is_new: bool = False  # this wait began when the task was submitted

    def __post_init__(self) -> None:
        self._now = self._unfinished = self.started.monotonic
        self._limit()
        if self.last is not None:  # the answer to its submission
            self._submitted, self._is_new = self._now, True
            self._see(self.last)

    def pause(self) -> float:
        """Return the seconds from the last answer to the next poll. Raise `WaitTimeout` when the time is up."""
        left = self._deadline - self._now
        if self.polls and left <= 0:
            waited, polls = self.elapsed, self.polls
            raise self.with_polls(
                errors.WaitTimeout(self.task_id, task=self.last, waited=waited, polls=polls, statuses=self.statuses)
            ) from self._failure
        return max(0.0, min(self._pause, left))

    @property
    def heeds_notifications(self) -> bool:
        """Whether a notification may bring the next poll forward; a pause after a failure is kept."""
        return not self._failures

    def postponed(self, now: float) -> float:
        """Return the seconds for which a poll that is due can wait, as other tasks have shown since it was planned."""
        if self._failures or math.isnan(self._submitted) or now < self._now + self._pause:  # brought forward
            return 0.0
        pause = self.limits.durations.next_poll_delay(self.kind or "", self._now - self._submitted)
        longer = min(pause, self._deadline - self._now) - (now - self._now)
        if longer < polling.SHORTEST:
            return 0.0
        self._pause = pause
        return longer

    def request(self, now: float) -> SendRequest:
        """Return the poll; `now` is on the monotonic clock."""
        seconds = min(self.limits.http_timeout, max(1.0, self._deadline - now))  # a second at the deadline, too
        if not self._failures:
            self._failing_since = now
        else:  # the first one may have taken all of the patience
            patience = max(self.limits.patience, self.limits.outage)
            seconds = min(seconds, max(LEAST_REPEAT, self._failing_since + patience - now))
        return requests.get_task(self.task_id, seconds, self.output_type.PROTOCOL)

    def take(self, reply: Reply) -> Task[OutputT] | None:
        """Take the answer to a poll; return the task if it has changed. Raise the error that ends the wait."""
        self._now, self.polls = reply.at.monotonic, self.polls + 1
        found = self._read(reply)
        if found is not None and not isinstance(found, Task):
            self._fail(found)
            return None
        self._failures, self._failure = 0, None
        if found is None:
            self._plan()
            return None
        before = self.last
        self._see(found)
        return None if before is not None and before.raw == found.raw else found

    def skip(self, at: Timestamp) -> None:
        """Take a poll that the provider did not carry out, because of too many requests."""
        self._now, self.polls, self._pause = at.monotonic, self.polls + 1, 0.0

    def with_polls(self, error: ErrorT) -> ErrorT:
        """Return an error with the facts of the polls so far."""
        error.attempts, error.elapsed, error.headers = self.polls, self.elapsed, dict(self.headers)
        return error

    @property
    def elapsed(self) -> float:
        return self._now - self.started.monotonic

    def _read(self, reply: Reply) -> Task[OutputT] | errors.UnitaskError | envelope.Unreadable | None:
        """Return the task, None if the answer is the same as the one before, or what is wrong with it."""
        if not isinstance(reply, Response) or reply.broken:
            return errors.Unreachable(f"no answer to a poll of task {self.task_id}, {no_answer(reply)}")
        self.headers = envelope.trace_headers(reply) if self.keeps else self.headers
        answer = hash_of(reply)
        is_same = answer == self.answer and (self.keeps or self._now < self._deadline)
        self.answer = answer
        found = None if is_same else envelope.read_task(reply, self.output_type)
        if isinstance(found, Task) and found.id != self.task_id:
            reason = f"task {self.task_id!r} was requested, the answer is about {found.id!r}"
            found = errors.ProviderBroken(reason, **envelope.facts(reply))
        if found is None or isinstance(found, Task):
            asked = envelope.retry_after(reply) if "retry-after" in reply.headers else None
            self._pace = 0.0 if asked is None else clamp_retry_after(asked)
        else:
            self.answer = 0
        return found

    def _see(self, task: Task[OutputT]) -> None:
        """Record an answer that shows the task, and plan the next poll."""
        self.exists, self.ended, status = True, task.done, sys.intern(str(task.status))  # one text for all tasks
        if not self.statuses or self.statuses[-1][1] != status:
            self.statuses = (*self.statuses, (self.elapsed, status))
        self.kind = self.kind or polling.kind_of(task)
        if self.ended:
            self._learn(task)
        else:
            if math.isnan(self._submitted):
                self._submitted, self._unfinished = self._submission(task), self._now
            self._plan()
        # without `keeps`, for the error of a wait that ends here
        self.last = task if self.keeps or self.ended or self._now >= self._deadline else None

    def _plan(self) -> None:
        kind, before, age = self.kind or "", self._unfinished - self._submitted, self._now - self._submitted
        self.limits.durations.note_poll(kind, before, age, ended=False)
        self._unfinished = self._now
        self._limit()
        self._pause = max(self._pace, self.least_pause, self.limits.durations.next_poll_delay(kind, age))

    def _learn(self, task: Task[OutputT]) -> None:
        before, age = self._unfinished - self._submitted, self._now - self._submitted  # NaN if not known
        least, most = self._unfinished - self.started.monotonic, age if self._is_new else math.inf
        self.limits.durations.note_end(self.kind or "", task, before, age, least=least, most=most)

    def _fail(self, found: errors.UnitaskError | envelope.Unreadable) -> None:
        """Plan to repeat a poll; raise its error if it is not repeated."""
        self._failures += 1
        error = found.error if isinstance(found, envelope.Unreadable) else found
        self._failure = error if self.keeps else None
        is_outage = isinstance(found, envelope.Unreadable) or is_retryable(error)
        patience = max(self.limits.patience, self.limits.outage) if is_outage else self.limits.patience
        is_last = is_over(self._failures, self._now - self._failing_since, patience, self.limits.retry_policy)
        if is_last or not (is_outage or self.exists):
            error.task_id = self.task_id
            if self.exists:
                error.about_running(self.task_id)
            error.attempts, error.elapsed = self._failures, self.elapsed
            raise error
        self._pause = self.limits.retry_policy.pause(self._failures, getattr(error, "retry_after", None))

    def _limit(self) -> None:
        """Set the deadline; the usual one follows what is learned of the kind."""
        timeout = self.limits.timeout
        if timeout is None:
            timeout = self.limits.durations.default_timeout(self.kind or "")
        self._deadline = self.started.monotonic + timeout

    def _submission(self, task: Task[OutputT]) -> float:
        """Return when a task was submitted: as the provider says, else when the wait began."""
        created = task.created_at
        age = 0.0 if created is None else self.started.unix - created.timestamp()
        is_possible = 0 <= age <= polling.LONGEST_TASK  # otherwise one of the clocks is wrong
        return self.started.monotonic - (age if is_possible else 0.0)


def hash_of(answer: Response) -> int:
    """Return a number that differs for answers that differ."""
    return hash((answer.status, answer.body))
