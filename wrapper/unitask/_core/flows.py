"""Each call about a task, written once. A flow yields steps and receives replies; both clients drive it.

Rules of this file: a submission is sent again only if it never left, or after HTTP 429 that names no task
(retry.py); any other outcome is decided or uncertain. A poll that fails is repeated while the patience lasts,
unless the provider refuses a task that it has never shown. The error of an interrupted wait names the task.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from typing import Any, Generic, TypeVar

from unitask_api.json_types import printable
from unitask_api.states import State

from .. import errors
from .._model.task import OutputT, Task
from .._model.timestamp import Timestamp
from . import envelope, polling, requests
from .effects import Flow, Reply, Response, Resumed, SendRequest, Sleep, Step, TaskUpdated, TransportFailure, no_answer
from .recovery import Submission
from .retry import RetryPolicy, Timeouts, clamp_retry_after, is_retryable

T = TypeVar("T")
ErrorT = TypeVar("ErrorT", bound=errors.UnitaskError)
SHORTEST_CALL = 0.1  # seconds that a request gets at least, after the deadline of many waits
SLOW_CALL = 5.0  # seconds that it gets at least before that
MOST_HALVINGS = 10  # of the time of a request


def submit(
    body: dict[str, Any], output_type: type[OutputT], retry_policy: RetryPolicy, submission: Submission | None = None
) -> Flow[Task[OutputT]]:
    """Submit a task, at most once; return it as accepted. `submission` is updated at each step."""
    submission = submission or Submission()
    started, attempt = (yield Sleep(0)).at, 0
    submission.body, submission.started = body, started
    while True:
        attempt += 1
        submission.in_doubt, send = True, requests.create(body)
        try:
            reply = yield send
        except BaseException:
            submission.in_doubt = send.progress.left is not False
            raise
        match reply:
            case Response():
                outcome: Task[OutputT] | errors.UnitaskError | envelope.Unreadable
                outcome = envelope.read_task(reply, output_type, created=True)
            case TransportFailure(never_left=True):
                outcome = errors.Unreachable(
                    f"the submission was not sent, {reply.reason}. Check base_url and the network"
                )
            case _:
                outcome = submission.uncertain(f"no answer, {no_answer(reply)}", reply.at)
        if isinstance(outcome, Task):
            submission.task_id = outcome.id
            yield TaskUpdated(outcome)
            return outcome
        if isinstance(outcome, envelope.Unreadable):
            answer, outcome = outcome.error, submission.uncertain(outcome.reason, reply.at)
            outcome.headers, outcome.body, outcome.task_id = answer.headers, answer.body, answer.task_id
        outcome.attempts, outcome.elapsed = attempt, reply.at.monotonic - started.monotonic
        if attempt >= retry_policy.attempts or not _may_be_resent(outcome):
            raise outcome
        submission.in_doubt = False
        yield Sleep(retry_policy.pause(attempt, getattr(outcome, "retry_after", None)))


def _may_be_resent(outcome: errors.UnitaskError) -> bool:
    """Whether a submission with this outcome provably was not accepted, and may be accepted the next time."""
    if isinstance(outcome, errors.ApiError):
        return outcome.status == 429 and outcome.task_id is None
    return isinstance(outcome, errors.Unreachable)


def wait(
    task_id: str,
    output_type: type[OutputT],
    kind: str | None,
    limits: Timeouts,
    *,
    seen: Task[OutputT] | None = None,
    exists: bool = False,
) -> Flow[Task[OutputT]]:
    """Poll until the task is completed, like `watch`. Raise `TaskFailed` when it ends in another way."""
    poller = _Poller(task_id, output_type, limits, exists=exists)
    task = yield from _watch(poller, kind, seen)
    if task.state is not State.COMPLETED:
        raise poller.with_polls(envelope.task_failed(task))
    return task


def watch(
    task_id: str,
    output_type: type[OutputT],
    kind: str | None,
    limits: Timeouts,
    *,
    seen: Task[OutputT] | None = None,
    exists: bool = False,
) -> Flow[Task[OutputT]]:
    """Poll until the task is done, however it ends, and yield each change.

    `kind` is its name in the catalogue; None takes it from the first poll. Without `seen`, that poll is immediate.
    """
    return _watch(_Poller(task_id, output_type, limits, exists=exists), kind, seen)


def _watch(poller: _Poller[OutputT], kind: str | None, seen: Task[OutputT] | None) -> Flow[Task[OutputT]]:
    limits = poller.limits
    with _going_on(poller.task_id):
        yield from poller.begin()
        poller.note(seen)
        submitted, is_new = (None, False) if seen is None else (poller.started.monotonic, True)
        unfinished, age = poller.started.monotonic, 0.0  # when it was last seen not yet done
        while seen is None or not seen.done:
            pause, name = 0.0, kind or polling.kind_of(seen)
            if seen is not None:
                if submitted is None:
                    submitted = poller.submitted(seen)
                    age = poller.now - submitted  # what it did before is not known
                unfinished, polled, age = poller.now, age, poller.now - submitted
                limits.durations.note_poll(name, polled, age, ended=False)
                pause = max(poller.pace, limits.durations.next_poll_delay(name, age))
            usual = limits.durations.usual_seconds(name)
            timeout = polling.default_timeout(usual) if limits.timeout is None else limits.timeout
            before, seen = seen, (yield from poller.poll(pause, poller.started.monotonic + timeout))
            if before is None or seen.raw != before.raw:
                yield TaskUpdated(seen)
        watched = None if submitted is None else poller.now - submitted
        least, most = unfinished - poller.started.monotonic, math.inf if watched is None or not is_new else watched
        limits.durations.note_end(kind or polling.kind_of(seen), seen, age, watched, least=least, most=most)
        return seen


@contextmanager
def _going_on(task_id: str) -> Generator[None]:
    """Name the task in every exception of a block: it goes on."""
    try:
        yield
    except errors.UnitaskError as error:
        error.task_id = error.task_id or task_id
        raise
    except BaseException as interruption:
        interruption.add_note(goes_on(task_id))
        raise


def goes_on(task_id: str) -> str:
    return f"unitask: task {printable(task_id)} goes on; client.wait({task_id!r}) waits for it again"


def get(task_id: str, output_type: type[OutputT], limits: Timeouts, *, exists: bool = False) -> Flow[Task[OutputT]]:
    """Poll once. Repeat a poll that brings no usable answer while the patience lasts."""
    poller = _Poller(task_id, output_type, limits, exists=exists)
    yield from poller.begin()
    return (yield from poller.poll(0.0, math.inf))


def together(waits: Sequence[tuple[str, Flow[T]]], timeout: float | None = None) -> Flow[list[T | errors.UnitaskError]]:
    """Drive several waits in one, each with the id of its task; return the result or the error of each, in their order.

    The one that is due first is next. Requests are sent one after another, so a slow one is limited (`_Calls`).
    """
    now = (yield Sleep(0)).at
    calls = _Calls(math.inf if timeout is None else now.monotonic + timeout)
    ends: dict[int, T | errors.UnitaskError] = {}
    due = dict.fromkeys(range(len(waits)), now.monotonic)
    queue = [(ticks, place) for place, ticks in due.items()]  # a heap; an entry that differs from `due` is out of date
    place_of = dict[str, int]()  # a notification of one of these tasks ends the sleep of its wait
    for _, flow in waits:
        next(flow)  # to its first step, which is Sleep(0)
    try:
        while due:
            while due.get(queue[0][1]) != queue[0][0]:
                heappop(queue)
            ticks, place = queue[0]
            if ticks > now.monotonic:
                resumed = yield Sleep(ticks - now.monotonic, notification_of=place_of.keys())
                now = resumed.at
                notified = resumed.notification_of if isinstance(resumed, Resumed) else None
                place = place_of.get(notified or "", place)
            task_id, flow = waits[place]
            place_of.pop(task_id, None)
            if place == queue[0][1]:
                heappop(queue)
            calls.others_due = bool(queue) and queue[0][0] <= now.monotonic
            now, outcome = yield from _turn(task_id, flow, now, calls)
            if isinstance(outcome, Sleep):
                due[place] = now.monotonic + outcome.seconds
                heappush(queue, (due[place], place))
                place_of.update(dict.fromkeys(outcome.notification_of, place))
            else:
                ends[place] = outcome.result
                del due[place]
    except BaseException as interruption:
        for place in due:
            interruption.add_note(goes_on(waits[place][0]))
        raise
    return [ends[place] for place in range(len(waits))]


@dataclass(slots=True)
class _End(Generic[T]):
    result: T | errors.UnitaskError


def _turn(task_id: str, flow: Flow[T], now: Timestamp, calls: _Calls) -> Flow[tuple[Timestamp, Sleep | _End[T]]]:
    """Drive a wait from the end of a sleep to its next sleep, or to its end; return the time, too."""
    is_callers = False  # an error of the caller's function ends all waits
    try:
        step = flow.send(Resumed(now))
        while not isinstance(step, Sleep):
            step = calls.bounded(step, now)
            try:
                reply = yield step
            except Exception as error:
                is_callers = not isinstance(step, SendRequest)
                if is_callers:
                    raise
                step = flow.throw(error)
            else:
                calls.note(step, reply, reply.at.monotonic - now.monotonic)
                now = reply.at  # before the wait goes on: it may end
                step = flow.send(reply)
    except StopIteration as end:
        return now, _End(end.value)
    except Exception as error:
        if is_callers:
            raise
        return now, _End(_ending(error, task_id))
    return now, step


def _ending(cause: Exception, task_id: str) -> errors.UnitaskError:
    """Return the error of a wait as an error of unitask that names its task."""
    if isinstance(cause, errors.UnitaskError):
        return cause  # `_going_on` has named the task
    reason = f"the wait for task {task_id} ended with {type(cause).__name__}, the cause of this error"
    error = errors.Unreachable(f"{reason}. client.wait({task_id!r}) waits for it again", task_id=task_id)
    error.__cause__ = cause
    return error


@dataclass(slots=True)
class _Calls:
    """How long each request of several waits may take: while others are due, half of the time that is left, or less."""

    deadline: float  # on the monotonic clock
    slow: int = 0  # requests without an answer in time, less those with one
    others_due: bool = False  # whether other waits are due

    def bounded(self, step: Step, now: Timestamp) -> Step:
        left = self.deadline - now.monotonic
        if not isinstance(step, SendRequest) or step.timeout is None or not (self.others_due or left <= 0):
            return step
        if left <= 0:
            limit = max(SHORTEST_CALL, 1.0 / 2**self.slow)
        else:
            limit = max(1.0, min(left / 2, max(SLOW_CALL, step.timeout / 2**self.slow)))
        return replace(step, timeout=min(step.timeout, limit))

    def note(self, step: Step, reply: Reply, took: float) -> None:
        if isinstance(reply, Response) and not reply.broken:
            self.slow = max(0, self.slow - 1)
        elif isinstance(step, SendRequest) and step.timeout is not None and took >= step.timeout / 2:
            self.slow = min(MOST_HALVINGS, self.slow + 1)


@dataclass(slots=True)
class _Poller(Generic[OutputT]):
    """Polls one task, and repeats polls that fail."""

    task_id: str
    output_type: type[OutputT]
    limits: Timeouts
    exists: bool = False  # the provider has accepted or shown the task
    started: Timestamp = field(default_factory=lambda: Timestamp(0.0, 0.0))
    now: float = 0.0  # when the last answer came
    headers: Mapping[str, str] = field(default_factory=dict[str, str])  # of the last answer, for support
    last: Task[OutputT] | None = None
    polls: int = 0
    pace: float = 0.0  # seconds that the provider asked to leave between polls
    statuses: list[tuple[float, str]] = field(default_factory=list[tuple[float, str]])  # when each was first seen

    def begin(self) -> Flow[None]:
        self.started = (yield Sleep(0)).at
        self.now = self.started.monotonic

    def poll(self, pause: float, deadline: float) -> Flow[Task[OutputT]]:
        failing_since, failures = self.now + pause, 0
        while True:
            if self.polls and self.now >= deadline:
                waited, polls, statuses = self.elapsed, self.polls, tuple(self.statuses)
                raise self.with_polls(
                    errors.WaitTimeout(self.task_id, task=self.last, waited=waited, polls=polls, statuses=statuses)
                )
            seconds = max(0.0, min(pause, deadline - self.now))
            self.now = (yield Sleep(seconds, notification_of=() if failures else (self.task_id,))).at.monotonic
            seconds = min(self.limits.http_timeout, max(1.0, deadline - self.now))  # a second at the deadline, too
            reply = yield requests.get_task(self.task_id, seconds, self.output_type.PROTOCOL)
            self.now, self.polls = reply.at.monotonic, self.polls + 1
            found = self._read(reply)
            if isinstance(found, Task):
                self.note(found)
                return found
            failures += 1
            error = found.error if isinstance(found, envelope.Unreadable) else found
            may_pass = isinstance(found, envelope.Unreadable) or self.exists or is_retryable(found)
            is_last = failures >= self.limits.retry_policy.reads or self.now - failing_since > self.limits.patience
            if is_last or not may_pass:
                error.task_id = self.task_id
                if self.exists:
                    error.about_running(self.task_id)
                error.attempts, error.elapsed = failures, self.elapsed
                raise error
            pause = self.limits.retry_policy.pause(failures, getattr(error, "retry_after", None))

    def with_polls(self, error: ErrorT) -> ErrorT:
        error.attempts, error.elapsed, error.headers = self.polls, self.elapsed, self.headers
        return error

    def note(self, task: Task[OutputT] | None) -> None:
        if task is None:
            return
        self.last, self.exists, status = task, True, str(task.status)
        if not self.statuses or self.statuses[-1][1] != status:
            self.statuses.append((self.elapsed, status))

    @property
    def elapsed(self) -> float:
        return self.now - self.started.monotonic

    def submitted(self, task: Task[OutputT]) -> float:
        """Return when a task was submitted: as the provider says, else when the wait began."""
        created = task.created_at
        age = 0.0 if created is None else self.started.unix - created.timestamp()
        is_possible = 0 <= age <= polling.LONGEST_TASK  # otherwise one of the clocks is wrong
        return self.started.monotonic - (age if is_possible else 0.0)

    def _read(self, reply: Reply) -> Task[OutputT] | errors.ApiError | errors.Unreachable | envelope.Unreadable:
        if not isinstance(reply, Response) or reply.broken:
            return errors.Unreachable(f"no answer to a poll of task {self.task_id}, {no_answer(reply)}")
        self.headers = envelope.trace_headers(reply)
        found = envelope.read_task(reply, self.output_type)
        if isinstance(found, Task):
            if found.id != self.task_id:
                reason = f"task {self.task_id!r} was requested, the answer is about {found.id!r}"
                return errors.ProviderBroken(reason, **envelope.facts(reply))
            asked = envelope.retry_after(reply)
            self.pace = 0.0 if asked is None else clamp_retry_after(asked)
        return found
