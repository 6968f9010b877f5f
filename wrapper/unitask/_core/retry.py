"""Requests that cost nothing and may be repeated: cancel, account, history, upload, and a poll that may fail.

A new GET is a function here, with its reader, and a method in each client.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from unitask_api.api.account import get_account_info, list_active_tasks
from unitask_api.states import State

from .. import errors
from .._model._json import as_object, broken_field, is_object
from .._model.account import Account, ActiveTasks
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
    """Send a request until it is answered, or the patience or the deadline (monotonic) ends; return what is read."""
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
            error: errors.ApiError | errors.Unreachable = found
        else:
            error = errors.Unreachable(f"no answer to {send.method} {send.path}, {no_answer(reply)}")
        failures += 1
        pause = limits.retry_policy.pause(failures, getattr(error, "retry_after", None))
        is_late = reply.at.monotonic - begun > limits.patience or reply.at.monotonic + pause > deadline
        if is_late or failures >= limits.retry_policy.reads or not is_retryable(error):
            error.task_id = error.task_id or task_id
            error.attempts, error.elapsed = failures, reply.at.monotonic - begun
            raise error
        yield Sleep(pause)


def cancel(task_id: str, limits: Timeouts) -> Flow[str]:
    """Cancel a task; return the provider's message.

    A repeated cancel may be refused because the first one succeeded and its answer was lost; a poll decides.
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
    """Poll a task; return None when it cannot be polled."""

    def read(answer: Response) -> Task[Output] | errors.ApiError:
        found = envelope.read_task(answer, output_type)
        return found.error if isinstance(found, envelope.Unreadable) else found

    send = requests.get_task(task_id, protocol=output_type.PROTOCOL)
    try:
        found = yield from send_with_retry(send, read, limits, deadline=deadline)
    except errors.UnitaskError:
        return None
    return found if found.id == task_id else None


def account(limits: Timeouts) -> Flow[Account]:
    """Read the account, without the key that is in the answer."""

    def read(answer: Response) -> Account | errors.ApiError:
        data = envelope.read_data(answer)
        if isinstance(data, errors.ApiError):
            return data
        if is_object(data.get("data")):  # an envelope in another one
            return envelope.broken(answer, "without an account")
        return Account({**data, "api_key": "***"})

    return send_with_retry(requests.sent(get_account_info.build_request()), read, limits)


def active_tasks(limits: Timeouts) -> Flow[dict[str, ActiveTasks]]:
    """Count the tasks that are not done, by group of models."""

    def read(answer: Response) -> dict[str, ActiveTasks] | errors.ApiError:
        data = envelope.read_data(answer)
        if isinstance(data, errors.ApiError):
            return data
        if not all(counts is None or is_object(counts) for counts in data.values()):
            return envelope.broken(answer, "without counts of tasks")
        return {group: ActiveTasks(as_object(counts), error=broken_field) for group, counts in data.items()}

    return send_with_retry(requests.sent(list_active_tasks.build_request()), read, limits)
