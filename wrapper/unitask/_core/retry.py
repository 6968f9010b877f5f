"""Requests that cost nothing and may be repeated: cancel, account, history, upload, and a poll that may fail."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from .. import errors
from .._model.state import State
from .._model.task import Output, Task
from . import envelope, requests
from .effects import Flow, Response, SendRequest, Sleep, no_answer
from .retry_policy import Timeouts, is_retryable

T = TypeVar("T")


def send_with_retry(
    send: SendRequest,
    read: Callable[[Response], T | errors.ApiError],
    limits: Timeouts,
    task_id: str | None = None,
    deadline: float = math.inf,
) -> Flow[T]:
    """Send a request until it is answered; return what is read from the answer.

    Args:
        send: The request.
        read: What is wanted of the answer, or the error that it is.
        limits: How long to bear with failures.
        task_id: The task that it is about, if it is about one.
        deadline: Nothing is sent after this time, in monotonic seconds.
    """
    begun, failures = (yield Sleep(0)).at.monotonic, 0
    if begun > deadline:
        raise errors.Unreachable(f"no time was left for {send.method} {send.path}")
    if deadline < math.inf:
        send = replace(send, timeout=min(limits.http_timeout, max(1.0, deadline - begun)))
    while True:
        reply = yield send
        if isinstance(reply, Response) and not reply.broken:
            found = read(reply)
            if not isinstance(found, errors.ApiError):
                return found
            trouble: errors.ApiError | errors.Unreachable = found
        else:
            trouble = errors.Unreachable(f"no answer to {send.method} {send.path}, {no_answer(reply)}")
        failures += 1
        pause = limits.retry_policy.pause(failures, getattr(trouble, "retry_after", None))
        is_late = reply.at.monotonic - begun > limits.patience or reply.at.monotonic + pause > deadline
        if is_late or failures >= limits.retry_policy.reads or not is_retryable(trouble):
            trouble.task_id = trouble.task_id or task_id
            trouble.attempts, trouble.elapsed = failures, reply.at.monotonic - begun
            raise trouble
        yield Sleep(pause)


def cancel(task_id: str, limits: Timeouts) -> Flow[str]:
    """Cancel a task; return what the provider says of it.

    A cancel that is repeated may be refused because the first one did it and its answer was lost; a poll decides.
    """
    try:
        return (yield from send_with_retry(requests.cancel(task_id), envelope.read_acknowledgement, limits, task_id))
    except errors.InvalidRequest as refusal:
        if refusal.attempts > 1:
            seen = yield from get_task(task_id, limits)
            if seen is not None and seen.state is State.CANCELLED:
                return ""
        raise


def get_task(
    task_id: str, limits: Timeouts, output_type: type[Output] = Output, deadline: float = math.inf
) -> Flow[Task[Output] | None]:
    """A task as it is; None when it cannot be polled.

    Args:
        task_id: Which task.
        limits: How long to bear with failures.
        output_type: What reads its output; it knows the protocol of the task.
        deadline: Nothing is sent after this time, in monotonic seconds.
    """

    def read(answer: Response) -> Task[Output] | errors.ApiError:
        found = envelope.read_task(answer, output_type)
        return found.error if isinstance(found, envelope.Unreadable) else found

    try:
        found = yield from send_with_retry(
            requests.get_task(task_id, protocol=output_type.PROTOCOL), read, limits, deadline=deadline
        )
    except errors.UnitaskError:
        return None
    return found if found.id == task_id else None
