"""What may be sent again, and after how long; and the free requests: cancel, account, and a poll that may fail.

A poll, a cancel and an upload cost nothing, and may be repeated; flows.py decides about submissions. A new GET is a
function here, with its reader, and a method in each client.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from unitask_api.api.account import get_account_info, list_active_tasks
from unitask_api.states import State

from .. import errors
from .._model._json import as_object, broken_field, is_object
from .._model.account import Account, ActiveTasks
from .._model.task import Output, Task
from . import envelope, requests
from .effects import Flow, Response, SendRequest, Sleep, no_answer
from .polling import DurationTracker

T = TypeVar("T")
RETRY_AFTER_FLOOR = 0.5  # seconds; a Retry-After of 0 must not make a hot loop
RETRY_AFTER_CAP = 120.0  # seconds; `retry_after` of the error has a longer one
MOST_DOUBLINGS = 60  # of a pause: an outage of hours takes thousands of attempts, and such a power is not a float


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a request may be sent again, and after how long: Retry-After, else an exponential pause with jitter."""

    random: Callable[[], float]  # draws from 0 to 1
    attempts: int = 4  # how often a submission, or the request for a file, is sent in all
    reads: float = math.inf  # the same for a request that only reads; its failures also end with the patience
    first: float = 0.5  # the longest first pause, in seconds
    cap: float = 8.0  # the longest pause, in seconds
    within: float = math.inf  # seconds after the begin of a call, in which a request may be sent again

    def pause(self, attempt: int, retry_after: float | None = None) -> float:
        """Return the seconds until the attempt after this one."""
        if retry_after is not None:
            return clamp_retry_after(retry_after)
        longest = min(self.cap, self.first * 2.0 ** min(attempt - 1, MOST_DOUBLINGS))
        return longest * (0.5 + 0.5 * self.random())


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait, in seconds."""

    timeout: float | None  # for the end of the task; None for the usual limit of its type
    patience: float  # for free requests that fail one after another
    http_timeout: float  # for one HTTP call
    retry_policy: RetryPolicy  # between calls that fail
    durations: DurationTracker  # how long tasks take; waits add to it
    outage: float = 0.0  # for polls without an answer of the API, one after another, if that is more than the patience


def clamp_retry_after(retry_after: float) -> float:
    return min(RETRY_AFTER_CAP, max(RETRY_AFTER_FLOOR, retry_after))


def is_retryable(error: errors.UnitaskError) -> bool:
    """Whether a free request may succeed the next time: after no answer, a limit, or an error of the server."""
    if isinstance(error, errors.ProviderBroken):
        return not 300 <= error.status < 400
    return isinstance(error, errors.Unreachable | errors.RateLimited)


def is_over(failures: int, seconds: float, patience: float, retry_policy: RetryPolicy) -> bool:
    """Whether a request that only reads is given up, after so many failures in so many seconds.

    One failure may take all of the patience: a connection that was lost while the computer slept hangs.
    """
    return failures >= retry_policy.reads or (failures > 1 and seconds > patience)


def send_with_retry(
    send: SendRequest,
    read: Callable[[Response], T],
    limits: Timeouts,
    task_id: str | None = None,
    deadline: float = math.inf,
) -> Flow[T]:
    """Send a request until `read` accepts the answer, or the patience or the deadline (monotonic) ends."""
    begun, failures = (yield Sleep(0)).at.monotonic, 0
    if begun > deadline:
        raise errors.Unreachable(f"no time was left for {send.method} {send.path}")
    if deadline < math.inf:
        send = replace(send, timeout=min(limits.http_timeout, max(1.0, deadline - begun)))
    while True:
        reply = yield send
        try:
            if isinstance(reply, Response) and not reply.broken:
                return read(reply)
            raise errors.Unreachable(f"no answer to {send.method} {send.path}, {no_answer(reply)}")
        except (errors.ApiError, errors.Unreachable) as failure:
            error = failure
        failures += 1
        pause = limits.retry_policy.pause(failures, getattr(error, "retry_after", None))
        last = min(deadline, begun + limits.retry_policy.within)
        is_last = is_over(failures, reply.at.monotonic - begun, limits.patience, limits.retry_policy)
        if is_last or reply.at.monotonic + pause > last or not is_retryable(error):
            error.task_id = error.task_id or task_id
            error.attempts, error.elapsed = failures, reply.at.monotonic - begun
            raise error
        yield Sleep(pause)


def cancel(task_id: str, limits: Timeouts) -> Flow[str]:
    """Cancel a task; return the provider's message. A poll decides if a repeated cancel is refused."""
    try:
        return (yield from send_with_retry(requests.cancel(task_id), envelope.read_acknowledgement, limits, task_id))
    except errors.InvalidRequest as refusal:
        if refusal.attempts > 1:  # the first one may have succeeded, and its answer was lost
            seen = yield from get_task(task_id, limits)
            if seen is not None and seen.state is State.CANCELLED:
                return ""
        raise


def get_task(
    task_id: str, limits: Timeouts, output_type: type[Output] = Output, deadline: float = math.inf
) -> Flow[Task[Output] | None]:
    """Poll a task; return None when it cannot be polled."""

    def read(answer: Response) -> Task[Output]:
        found = envelope.read_task(answer, output_type)
        if isinstance(found, Task):
            return found
        raise found.error if isinstance(found, envelope.Unreadable) else found

    send = requests.get_task(task_id, protocol=output_type.PROTOCOL)
    try:
        found = yield from send_with_retry(send, read, limits, deadline=deadline)
    except errors.UnitaskError:
        return None
    return found if found.id == task_id else None


def account(limits: Timeouts) -> Flow[Account]:
    """Read the account, without the key that is in the answer."""

    def read(answer: Response) -> Account:
        data = envelope.read_data(answer)
        if is_object(data.get("data")):  # an envelope in another one
            raise envelope.broken(answer, "without an account")
        return Account({**data, "api_key": "***"})

    return send_with_retry(requests.sent(get_account_info.build_request()), read, limits)


def active_tasks(limits: Timeouts) -> Flow[dict[str, ActiveTasks]]:
    """Count the tasks that are not done, by group of models."""

    def read(answer: Response) -> dict[str, ActiveTasks]:
        data = envelope.read_data(answer)
        if not all(counts is None or is_object(counts) for counts in data.values()):
            raise envelope.broken(answer, "without counts of tasks")
        return {group: ActiveTasks(as_object(counts), error=broken_field) for group, counts in data.items()}

    return send_with_retry(requests.sent(list_active_tasks.build_request()), read, limits)
