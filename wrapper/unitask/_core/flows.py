"""Each call about a task, written once. A flow yields steps and receives replies; both clients drive it.

Rules of this file: a submission is sent again only if it never left, or after HTTP 429 that names no task
(retry.py); any other outcome is decided or uncertain. The error of an interrupted wait names the task.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from typing import Any, Generic, TypeVar, cast

from unitask_api.json_types import printable
from unitask_api.states import State

from .. import errors
from .._model.task import OutputT, Task
from .._model.timestamp import Timestamp
from . import envelope, requests
from .effects import Flow, Reply, Response, Resumed, SendRequest, Sleep, Step, TaskUpdated, TransportFailure, no_answer
from .recovery import Submission
from .retry import RetryPolicy, Timeouts
from .waiting import Waiting

T = TypeVar("T")
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
        send = requests.create(body, submission.check)
        for prepare in submission.before_sending if attempt == 1 else ():
            yield from prepare()
        submission.in_doubt = True
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
            with _going_on(outcome.id):
                yield TaskUpdated(outcome)
            return outcome
        if isinstance(outcome, envelope.Unreadable):
            answer, outcome = outcome.error, submission.uncertain(outcome.reason, reply.at)
            outcome.headers, outcome.body, outcome.task_id = answer.headers, answer.body, answer.task_id
        outcome.attempts, outcome.elapsed = attempt, reply.at.monotonic - started.monotonic
        pause = retry_policy.pause(attempt, getattr(outcome, "retry_after", None))
        is_last = attempt >= retry_policy.attempts or outcome.elapsed + pause > retry_policy.within
        if is_last or not _may_be_resent(outcome):
            raise outcome
        submission.in_doubt = False
        yield Sleep(pause)


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
    waiting = yield from _begin(task_id, output_type, kind, limits, seen, exists=exists)
    task = yield from _watch(waiting)
    if task.state is not State.COMPLETED:
        raise waiting.with_polls(envelope.task_failed(task))
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
    return (yield from _watch((yield from _begin(task_id, output_type, kind, limits, seen, exists=exists))))


def _begin(
    task_id: str,
    output_type: type[OutputT],
    kind: str | None,
    limits: Timeouts,
    seen: Task[OutputT] | None = None,
    *,
    exists: bool,
) -> Flow[Waiting[OutputT]]:
    with _going_on(task_id):
        started = (yield Sleep(0)).at
        return Waiting(task_id, output_type, kind, limits, started, exists, last=seen)


def _watch(waiting: Waiting[OutputT]) -> Flow[Task[OutputT]]:
    with _going_on(waiting.task_id):
        while not waiting.ended:
            if (changed := (yield from _poll(waiting))) is not None:
                yield TaskUpdated(changed)
        return cast("Task[OutputT]", waiting.last)


def _poll(waiting: Waiting[OutputT]) -> Flow[Task[OutputT] | None]:
    """Poll once, when it is due; return the task if it has changed."""
    heeded = (waiting.task_id,) if waiting.heeds_notifications else ()
    now = (yield Sleep(waiting.pause(), notification_of=heeded)).at.monotonic
    while longer := waiting.postponed(now):
        now = (yield Sleep(longer, notification_of=heeded)).at.monotonic
    return waiting.take((yield waiting.request(now)))


@contextmanager
def _going_on(task_id: str) -> Generator[None]:
    """Name the task in every exception of a block: it goes on."""
    try:
        yield
    except errors.UnitaskError as error:
        if error.task_id is None:  # raised by the caller's function, or by a closed client
            error.about_running(task_id)
        raise
    except BaseException as interruption:
        interruption.add_note(goes_on(task_id))
        raise


def goes_on(task_id: str) -> str:
    return f"unitask: task {printable(task_id)} goes on; client.wait({task_id!r}) waits for it again"


def get(task_id: str, output_type: type[OutputT], limits: Timeouts, *, exists: bool = False) -> Flow[Task[OutputT]]:
    """Poll once. Repeat a poll that brings no usable answer while the patience lasts."""
    limits = replace(limits, timeout=math.inf)
    waiting = yield from _begin(task_id, output_type, None, limits, exists=exists)
    while (task := (yield from _poll(waiting))) is None:
        pass
    return task


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
        if is_callers:
            raise
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
