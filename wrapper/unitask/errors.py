"""Everything unitask raises.

UnitaskError                  base of all
├── InvalidInput              your side: something is wrong with what you gave; nothing was sent
├── SubmissionUncertain       a create that may have been accepted; it is never sent again by itself
├── Unreachable               no answer came, and nothing was accepted
├── ApiError                  the provider answered, and did not do it
│   ├── AuthenticationFailed     HTTP 401, 403
│   ├── InsufficientCredit       HTTP 402; any refusal whose words are about credit or quota (recorded as HTTP 500)
│   ├── InvalidRequest           HTTP 400, 409, 413, 415, 422
│   ├── NotFound                 HTTP 404, 410
│   ├── RateLimited              HTTP 429
│   └── ProviderBroken           any other answer: 3xx, 5xx, or a body that cannot be what was documented
├── TaskFailed                the task ended without a result
├── WaitTimeout               your patience ended first; the task goes on
└── DownloadFailed            an output file did not arrive whole; nothing was left in its place

Rules of this file: a class for each thing that a caller would do differently; facts are attributes, never only words in
a message; every error pickles; no error holds a key or a webhook secret.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .task import Output, Task

__all__ = [
    "ApiError",
    "AuthenticationFailed",
    "DownloadFailed",
    "InsufficientCredit",
    "InvalidInput",
    "InvalidRequest",
    "NotFound",
    "ProviderBroken",
    "RateLimited",
    "SubmissionUncertain",
    "TaskFailed",
    "UnitaskError",
    "Unreachable",
    "WaitTimeout",
]


class UnitaskError(Exception):
    """Base of everything unitask raises.

    Attributes:
        task_id: The task this is about, whenever it is known, so that nothing paid for is lost.
    """

    task_id: str | None = None

    def __init__(self, message: str, *, task_id: str | None = None) -> None:
        super().__init__(message)
        self.task_id = task_id

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), str(self), self.__dict__.copy())


def _rebuild(kind: type[UnitaskError], message: str, facts: dict[str, Any]) -> UnitaskError:
    error = kind.__new__(kind, message)
    error.args = (message,)  # OSError.__new__, of WaitTimeout, leaves them empty
    error.__dict__.update(facts)
    return error


class InvalidInput(UnitaskError, ValueError):
    """Something you gave cannot be used; nothing was sent and nothing was paid.

    Attributes:
        problems: Every problem found, one sentence each.
    """

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("nothing was sent: " + "; ".join(problems))


class SubmissionUncertain(UnitaskError):
    """No usable answer came to a create that may have been accepted, and paid for.

    It is not sent again by itself, because this API has no idempotency key. Look for the task in your task history, by
    model and time, before you create it again.

    Attributes:
        model: The model of the task.
        task_type: The task type.
        sent_between: When it can have been accepted: from and to, in UTC.
        fingerprint: SHA-256 over model, task type and input, as hexadecimal digits: equal for equal tasks.
        attempts: How often the create was sent, those included that provably never left.
    """

    def __init__(
        self,
        reason: str,
        *,
        model: str,
        task_type: str,
        sent_between: tuple[datetime, datetime],
        fingerprint: str,
        attempts: int,
    ) -> None:
        self.model, self.task_type, self.sent_between = model, task_type, sent_between
        self.fingerprint, self.attempts = fingerprint, attempts
        start, end = (f"{moment:%Y-%m-%d %H:%M:%S}" for moment in sent_between)
        super().__init__(
            f"the create of {model} {task_type} may have been accepted, and is not sent again: {reason}. "
            f"Look for it in the task history between {start} and {end} UTC before you create it again"
        )


class Unreachable(UnitaskError):
    """No answer came, and nothing was accepted.

    Attributes:
        attempts: How often it was tried.
    """

    def __init__(self, message: str, *, task_id: str | None = None, attempts: int = 1) -> None:
        super().__init__(message, task_id=task_id)
        self.attempts = attempts


class ApiError(UnitaskError):
    """The provider answered, and did not do what was asked.

    Attributes:
        status: The HTTP status.
        code: The `code` of the task's error, or of the envelope; None when the body has none.
        retry_after: Seconds the provider asks to wait, from Retry-After; None when it does not.
        headers: Those response headers that name the request to the provider's support.
        body: The body as text, at most 4,096 characters, without secrets.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: int | None = None,
        retry_after: float | None = None,
        headers: dict[str, str] | None = None,
        body: str = "",
        task_id: str | None = None,
    ) -> None:
        super().__init__(message, task_id=task_id)
        self.status, self.code, self.retry_after = status, code, retry_after
        self.headers, self.body = headers or {}, body


class AuthenticationFailed(ApiError):
    """The key is not accepted, or not for this."""


class InsufficientCredit(ApiError):
    """The balance does not cover the task."""


class InvalidRequest(ApiError):
    """The provider does not accept this request."""


class NotFound(ApiError):
    """There is no such task for this key."""


class RateLimited(ApiError):
    """Too many requests or too many tasks at once; `retry_after` says how long to wait, when it is known."""


class ProviderBroken(ApiError):
    """An answer that no document describes: a redirect, an error of the server, a body of another shape."""


class TaskFailed(UnitaskError):
    """The task ended without a result.

    Attributes:
        task: The task as it ended.
    """

    def __init__(self, task: Task[Output]) -> None:
        self.task = task
        reason = task.failure or "the provider gives no reason"
        super().__init__(f"task {task.id} {task.state}: {reason}", task_id=task.id)


class WaitTimeout(UnitaskError, TimeoutError):
    """The task is not done when your time is up. It goes on, and it is paid for.

    Attributes:
        task: The task as it was last seen; None when no look brought an answer.
        waited: Seconds waited.
        looks: How often it was looked at.
    """

    def __init__(self, task_id: str, *, task: Task[Output] | None, waited: float, looks: int) -> None:
        self.task, self.waited, self.looks = task, waited, looks
        seen = repr(task.status) if task else "unknown"
        super().__init__(
            f"task {task_id} is not done after {waited:.1f} s and {looks} looks (status {seen}). It goes on: "
            f"client.wait({task_id!r}) waits for it again",
            task_id=task_id,
        )


class DownloadFailed(UnitaskError):
    """An output file could not be fetched whole. Nothing was left under its name; try again while the URL lives.

    Attributes:
        url: Where the file should have been.
    """

    def __init__(self, message: str, *, url: str, task_id: str | None = None) -> None:
        super().__init__(message, task_id=task_id)
        self.url = url
