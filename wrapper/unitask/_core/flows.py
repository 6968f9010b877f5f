"""Each call, written once. A flow yields steps and receives replies; the sync and the async shell drive the same flow.

Rules of this file: a create is sent again only after `Delivery.NEVER` or a 429 (delivery.py says why); whatever else
happens to it is decided or uncertain. A look that fails is repeated for as long as the patience lasts. A wait that is
interrupted from outside says which task goes on.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic

from .. import errors
from ..task import OutputT, State, Task
from . import envelope, requests, spec, waiting
from .delivery import Resend, paced
from .messages import Answer, Changed, Delivery, Failure, Flow, Moment, Reply, Send, Sleep


@dataclass(frozen=True, slots=True)
class Limits:
    """How long to wait for what, in seconds.

    Attributes:
        timeout: For the task to be done, from now on; None for the usual limit of its type.
        patience: For looks that fail one after another.
        http_timeout: For one HTTP call.
        resend: Between calls that fail.
    """

    timeout: float | None
    patience: float
    http_timeout: float
    resend: Resend


def submit(body: dict[str, Any], output_type: type[OutputT], resend: Resend) -> Flow[Task[OutputT]]:
    """Create a task, at most once; return it as accepted."""
    started, attempt = (yield Sleep(0)).at, 0
    while True:
        attempt += 1
        try:
            reply = yield requests.create(body)
        except BaseException as interruption:
            interruption.add_note(f"unitask: the create of {_name(body)} may have been accepted")
            raise
        match reply:
            case Answer():
                outcome: Task[OutputT] | errors.UnitaskError | envelope.Unreadable
                outcome = envelope.read_task(reply, output_type, created=True)
            case Failure(Delivery.NEVER):
                reason = f"the create was not sent, {reply.reason}. Check base_url and the network"
                outcome = errors.Unreachable(reason, attempts=attempt)
            case _:
                raise _uncertain(body, f"no answer, {_reason(reply)}", (started, reply.at), attempt)
        if isinstance(outcome, Task):
            with _going_on(outcome.id):
                yield Changed(outcome)
            return outcome
        if isinstance(outcome, envelope.Unreadable):
            raise _uncertain(body, outcome.reason, (started, reply.at), attempt)
        if attempt >= resend.attempts or not isinstance(outcome, errors.Unreachable | errors.RateLimited):
            raise outcome
        yield Sleep(resend.pause(attempt, getattr(outcome, "retry_after", None)))


def _name(body: dict[str, Any]) -> str:
    return f"{body['model']} {body['task_type']}"


def _uncertain(
    body: dict[str, Any], reason: str, between: tuple[Moment, Moment], attempts: int
) -> errors.SubmissionUncertain:
    start, end = (datetime.fromtimestamp(moment.unix, UTC) for moment in between)
    model, task_type = body["model"], body["task_type"]
    identity = json.dumps([model, task_type, body["input"]], sort_keys=True)
    return errors.SubmissionUncertain(
        reason,
        model=model,
        task_type=task_type,
        sent_between=(start, end),
        fingerprint=hashlib.sha256(identity.encode()).hexdigest(),
        attempts=attempts,
    )


def run(body: dict[str, Any], output_type: type[OutputT], typical: float, limits: Limits) -> Flow[Task[OutputT]]:
    """Create a task and wait until it is completed."""
    task = yield from submit(body, output_type, limits.resend)
    return (yield from wait(task.id, output_type, typical, limits, seen=task))


def wait(
    task_id: str,
    output_type: type[OutputT],
    typical: float | None,
    limits: Limits,
    *,
    seen: Task[OutputT] | None = None,
) -> Flow[Task[OutputT]]:
    """Look until the task is completed. Raises `TaskFailed` when it ends in another way."""
    task = yield from watch(task_id, output_type, typical, limits, seen=seen)
    if task.state is not State.COMPLETED:
        raise errors.TaskFailed(task)
    return task


def watch(
    task_id: str,
    output_type: type[OutputT],
    typical: float | None,
    limits: Limits,
    *,
    seen: Task[OutputT] | None = None,
) -> Flow[Task[OutputT]]:
    """Look until the task is done, however it ends, and tell each change.

    Args:
        task_id: Which task.
        output_type: What reads its output.
        typical: The usual duration of such tasks in seconds; None to find it out from the first look.
        limits: How long to wait.
        seen: The task as it was accepted just now. Without it the first look is immediate.
    """
    with _going_on(task_id):
        started = (yield Sleep(0)).at.ticks
        looker = _Looker(task_id, output_type, limits, now=started)
        while seen is None or not seen.done:
            pause, usual = 0.0, typical or _usual_duration(seen)
            if seen is not None:
                pause = max(looker.pace, waiting.next_look(looker.now - started, usual))
            timeout = waiting.default_timeout(usual) if limits.timeout is None else limits.timeout
            before, seen = seen, (yield from looker.look(pause, started, started + timeout))
            if before is None or seen.raw != before.raw:
                yield Changed(seen)
        return seen


@contextmanager
def _going_on(task_id: str) -> Generator[None]:
    """Around the steps after a task is accepted: whatever stops them from outside says which task goes on."""
    try:
        yield
    except errors.UnitaskError:
        raise
    except BaseException as interruption:
        interruption.add_note(f"unitask: task {task_id} goes on; client.wait({task_id!r}) waits for it again")
        raise


def get(task_id: str, output_type: type[OutputT], limits: Limits) -> Flow[Task[OutputT]]:
    """Look once; a look that brings no usable answer is repeated while the patience lasts."""
    started = (yield Sleep(0)).at.ticks
    return (yield from _Looker(task_id, output_type, limits, now=started).look(0.0, started, math.inf))


@dataclass(slots=True)
class _Looker(Generic[OutputT]):
    """Looks at one task, and bears with looks that fail."""

    task_id: str
    output_type: type[OutputT]
    limits: Limits
    now: float  # when the last answer came
    last: Task[OutputT] | None = None
    looks: int = 0
    pace: float = 0.0  # seconds that the provider asked to leave between looks

    def look(self, pause: float, started: float, deadline: float) -> Flow[Task[OutputT]]:
        """After a pause, look until there is a usable answer."""
        failing_since, failures = self.now + pause, 0
        while True:
            if self.looks and self.now >= deadline:
                raise errors.WaitTimeout(self.task_id, task=self.last, waited=self.now - started, looks=self.looks)
            self.now = (yield Sleep(max(0.0, min(pause, deadline - self.now)))).at.ticks
            left = max(1.0, deadline - self.now)  # a last look, at the deadline, still gets a second
            reply = yield requests.look(self.task_id, min(self.limits.http_timeout, left), self.output_type.PROTOCOL)
            self.now, self.looks = reply.at.ticks, self.looks + 1
            found = self._read(reply)
            if isinstance(found, Task):
                return found
            failures += 1
            if not _worth_another_look(found) or self.now - failing_since > self.limits.patience:
                found.task_id = self.task_id
                raise found
            pause = self.limits.resend.pause(failures, getattr(found, "retry_after", None))

    def _read(self, reply: Reply) -> Task[OutputT] | errors.ApiError | errors.Unreachable:
        if not isinstance(reply, Answer):
            what = f"no answer to a look at task {self.task_id}, {_reason(reply)}"
            return errors.Unreachable(f"{what}. The task is not lost: wait for it again by its id", attempts=self.looks)
        found = envelope.read_task(reply, self.output_type)
        if isinstance(found, envelope.Unreadable):
            return found.error
        if isinstance(found, Task):
            if found.id != self.task_id:
                return envelope.another_task(reply, self.task_id, found.id)
            self.last, asked = found, envelope.retry_after(reply)
            self.pace = 0.0 if asked is None else paced(asked)
        return found


def _worth_another_look(trouble: errors.UnitaskError) -> bool:
    """Whether this may be gone by the next look: no answer, a limit, or a server in trouble."""
    if isinstance(trouble, errors.ProviderBroken):
        return not 300 <= trouble.status < 400
    return isinstance(trouble, errors.Unreachable | errors.RateLimited)


def _usual_duration(task: Task[Any] | None) -> float:
    entry = spec.find_task_type(task.model, task.task_type) if task else None
    return entry.typical_seconds if entry else waiting.UNKNOWN_TYPE


def acknowledge(send: Send, limits: Limits, task_id: str | None = None) -> Flow[str]:
    """Send a request that may be repeated and brings no task; return what the provider says to it.

    Args:
        send: The request.
        limits: How long to bear with failures.
        task_id: The task that it is about, if it is about one.
    """
    begun, failures = (yield Sleep(0)).at.ticks, 0
    while True:
        reply = yield send
        if isinstance(reply, Answer):
            said = envelope.read_acknowledgement(reply)
            if isinstance(said, str):
                return said
            trouble: errors.ApiError | errors.Unreachable = said
        else:
            trouble = errors.Unreachable(f"no answer, {_reason(reply)}", attempts=failures + 1)
        failures += 1
        if not _worth_another_look(trouble) or reply.at.ticks - begun > limits.patience:
            trouble.task_id = trouble.task_id or task_id
            raise trouble
        yield Sleep(limits.resend.pause(failures, getattr(trouble, "retry_after", None)))


def _reason(reply: Reply) -> str:
    return reply.reason if isinstance(reply, Failure) else repr(reply)
