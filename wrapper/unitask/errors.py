"""Everything unitask raises, and what each answer of the provider becomes.

UnitaskError                  base of all
├── InvalidInput              your side: something is wrong with what you gave; nothing was sent
├── BudgetExceeded            your budget does not cover the task; nothing was sent
├── SubmissionUncertain       a submission that may have been accepted; it is never sent again by itself
├── Unreachable               no answer came, and nothing was accepted
├── ApiError                  the provider answered, and did not do it
│   ├── AuthenticationFailed     the key is not accepted, or not for this
│   ├── InvalidRequest           what was asked is not accepted
│   ├── NotFound                 there is no such task for this key
│   ├── RateLimited              too many requests
│   │   └── QueueFull         too many tasks at once
│   └── ProviderBroken        an answer that no document describes
├── TaskFailed                the task ended without a result
├── WaitTimeout               your patience ended first; the task goes on
├── DownloadFailed            an output file did not arrive whole; nothing was left in its place
├── WebhookRejected           what arrived at your webhook is not, or may not be, a notification of the provider
│
│   reasons; what is raised is also an ApiError if the submission was refused, and a TaskFailed if the task ended so
├── InsufficientCredit        the balance does not cover it
├── ContentRejected           moderation does not allow it
├── NoFaceFound               there is no face to swap
└── BadInputMedia             a picture, video or sound that you gave cannot be fetched, read, or is too large

HTTP status             envelope or task code   words in message or raw_message          class
any                     any                     CREDIT_WORDS (recorded as HTTP 500)      InsufficientCredit
any                     any                     CONTENT_WORDS                            ContentRejected
any                     any                     FACE_WORDS                               NoFaceFound
any                     10003, or any           MEDIA_WORDS                              BadInputMedia
any                     any                     QUEUE_WORDS                              QueueFull
402                     any                     any                                      InsufficientCredit
400 409 413 415 422     any                     any                                      InvalidRequest
401 403                 any                     any                                      AuthenticationFailed
404 410                 any                     any                                      NotFound
429                     any                     any                                      RateLimited
any other               any                     any                                      ProviderBroken
failed task             any other               any other                                TaskFailed

Rules of this file: a class for each thing that a caller would do differently; facts are attributes, never only words in
a message; every error pickles; no error holds a key or a webhook secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol, TypeVar

from unitask_api.output_files import OutputFile

from ._model import task_token
from ._model.exceptions import Advice, ApiError, InvalidInput, ProviderBroken, UnitaskError, combined
from ._model.fingerprint import Fingerprint
from ._model.task import Output, Task

__all__ = [
    "Advice",
    "ApiError",
    "AuthenticationFailed",
    "BadInputMedia",
    "BudgetExceeded",
    "ContentRejected",
    "DownloadFailed",
    "InsufficientCredit",
    "InvalidInput",
    "InvalidRequest",
    "NoFaceFound",
    "NotFound",
    "ProviderBroken",
    "QueueFull",
    "RateLimited",
    "SubmissionUncertain",
    "TaskFailed",
    "UnitaskError",
    "Unreachable",
    "WaitTimeout",
    "WebhookRejected",
]

FoundT = TypeVar("FoundT", covariant=True)


class BudgetExceeded(UnitaskError):
    """The task could cost more than its budget has left, or what it costs is not known. Nothing was sent.

    Attributes:
        estimate_usd: What was to be put aside for it; None when its cost cannot be known.
        limit_usd: What the budget allows in all.
        spent_usd: The bills so far.
        held_usd: What is put aside for tasks that may still be billed.
    """

    estimate_usd: float | None
    limit_usd: float
    spent_usd: float
    held_usd: float
    _advice = Advice.FIX

    def __init__(
        self, task: str, *, estimate_usd: float | None, limit_usd: float, spent_usd: float, held_usd: float
    ) -> None:
        self.estimate_usd, self.limit_usd = estimate_usd, limit_usd
        self.spent_usd, self.held_usd = spent_usd, held_usd
        if estimate_usd is None:
            reason = f"what {task} costs is not known: make the budget with assume_usd= to count something for it"
        else:
            reason = (
                f"{task} may cost ${estimate_usd:.7g}, and of the budget of ${limit_usd:.7g}, ${spent_usd:.7g} is "
                f"spent and ${held_usd:.7g} put aside for tasks that may still be billed"
            )
        super().__init__(f"nothing was sent: {reason}")


class _Finds(Protocol[FoundT]):
    """A client, sync or async."""

    def find(self, uncertain: SubmissionUncertain, /, *, timeout: float | None = None) -> FoundT: ...


class SubmissionUncertain(UnitaskError):
    """No usable answer came to a submission that may have been accepted, and paid for.

    It is not sent again by itself, because this API has no idempotency key. `find` looks for the task in your task
    history; do that before you create it again.

    Attributes:
        model: The model of the task.
        task_type: The task type.
        sent_between: When it can have been accepted: from and to, in UTC.
        fingerprint: SHA-256 over model, task type and input, as hexadecimal digits: equal for equal tasks.
        identity: What the task can be recognised by.
    """

    identity: Fingerprint
    sent_between: tuple[datetime, datetime]
    model: str
    task_type: str
    fingerprint: str
    _advice = Advice.FIND

    def __init__(self, reason: str, *, identity: Fingerprint, sent_between: tuple[datetime, datetime]) -> None:
        self.identity, self.sent_between = identity, sent_between
        self.model, self.task_type, self.fingerprint = identity.model, identity.task_type, identity.fingerprint
        start, end = (f"{moment:%Y-%m-%d %H:%M:%S}" for moment in sent_between)
        super().__init__(
            f"the create of {self.model} {self.task_type} may have been accepted, and is not sent again: {reason}. "
            f"It was sent between {start} and {end} UTC; error.find(client) looks for it in the task history, and do "
            "that before you create it again"
        )

    @property
    def token(self) -> str:
        """What `Client.find` takes in place of this error, also in another process; it holds no input and no secret."""
        return task_token.uncertain_token(self.task_id, self.identity, self.sent_between)

    @classmethod
    def from_token(cls, token: str) -> SubmissionUncertain:
        """Return the error that a token stands for.

        Raises:
            InvalidInput: It is no such token, one of another version, or it is cut off.
        """
        task_id, identity, sent_between = task_token.read_uncertain(token)
        error = cls("its token was read", identity=identity, sent_between=sent_between)
        error.task_id = task_id
        return error

    def find(self, client: _Finds[FoundT], *, timeout: float | None = None) -> FoundT:
        """The same as `client.find(error, timeout=timeout)`; await it for an async client."""
        return client.find(self, timeout=timeout)


class Unreachable(UnitaskError):
    """No answer came, and nothing was accepted."""

    @property
    def retry_advice(self) -> Advice:
        """Wait for the task if there is one, else try again."""
        return Advice.RESUME if self.task_id else self._advice


class AuthenticationFailed(ApiError):
    """The key is not accepted, or not for this."""


class InvalidRequest(ApiError):
    """The provider does not accept this request."""


class NotFound(ApiError):
    """There is no such task for this key."""


class RateLimited(ApiError):
    """Too many requests; `retry_after` says how long to wait, when it is known."""

    _advice = Advice.LATER


class QueueFull(RateLimited):
    """Too many tasks at once: wait for some to end."""


class TaskFailed(UnitaskError):
    """The task ended without a result. Only successes are charged, say third parties.

    Attributes:
        task: The task as it ended.
    """

    task: Task[Output]

    def __init__(self, task: Task[Output]) -> None:
        self.task = task
        reason = task.failure or "the provider gives no reason"
        super().__init__(f"task {task.id} {task.state}: {reason}", task_id=task.id)


class WaitTimeout(UnitaskError, TimeoutError):
    """The task is not done when your time is up. It goes on, and it is paid for.

    Attributes:
        task: The task as it was last seen; None when no look brought an answer.
        waited: Seconds waited.
        polls: How often it was polled.
        statuses: Each status word that was seen, after how many seconds of the wait it was seen first.
    """

    task: Task[Output] | None
    waited: float
    polls: int
    statuses: tuple[tuple[float, str], ...]
    attempts: int
    elapsed: float
    _advice = Advice.RESUME

    def __init__(
        self,
        task_id: str,
        *,
        task: Task[Output] | None,
        waited: float,
        polls: int,
        statuses: tuple[tuple[float, str], ...] = (),
    ) -> None:
        self.task, self.waited, self.polls, self.statuses = task, waited, polls, statuses
        self.attempts, self.elapsed = polls, waited
        super().__init__(
            f"task {task_id} is not done after {waited:.1f} s and {polls} polls ({self._story()}). It goes on: "
            f"client.wait({task_id!r}) waits for it again",
            task_id=task_id,
        )

    @property
    def started(self) -> bool | None:
        """Whether work on it was seen to have begun; None when no look brought an answer.

        False is a queue that is too long, and such a task can still be cancelled; True is work that takes too long.
        """
        return None if self.task is None else self.task.state not in ("pending", "staged")

    def _story(self) -> str:
        if self.task is None:
            return "its status is unknown"
        since, status = self.statuses[-1] if self.statuses else (0.0, str(self.task.status))
        words = f"status {status!r} for {self.waited - since:.1f} s"
        return words if self.started else f"{words}, never seen to begin; client.cancel({self.task.id!r}) would end it"


class DownloadFailed(UnitaskError):
    """An output file could not be fetched whole, after all attempts. Nothing was left under its name.

    Of several files the others were fetched all the same; `client.download(error.missing, folder)` fetches the rest, as
    long as its URLs live.

    Attributes:
        url: Where the file should have been; of several, the first that is missing.
        reason: What went wrong, without the words about the task that the message ends with.
        fetched: The files that are there, whole.
        missing: The files that are not.
    """

    url: str
    reason: str
    fetched: tuple[Path, ...]
    missing: tuple[OutputFile, ...]

    def __init__(
        self,
        message: str,
        *,
        url: str,
        then: str = "",
        task_id: str | None = None,
        fetched: tuple[Path, ...] = (),
        missing: tuple[OutputFile, ...] = (),
    ) -> None:
        super().__init__(f"{message}. {then}" if then else message, task_id=task_id)
        self.url, self.reason, self.fetched, self.missing = url, message, fetched, missing


class WebhookRejected(UnitaskError):
    """What arrived at your webhook is not, or may not be, a notification of the provider.

    Attributes:
        kind: What is wrong: "secret" (none, or another), "time" (its timestamp is too far from now), "form" (it is no
            notification) or "size" (it is larger than a receiver reads).
        status: The HTTP status to answer with.
    """

    kind: Literal["secret", "time", "form", "size"]
    status: int
    _advice = Advice.FIX

    def __init__(
        self, message: str, *, kind: Literal["secret", "time", "form", "size"], task_id: str | None = None
    ) -> None:
        super().__init__(f"webhook rejected: {message}", task_id=task_id)
        self.kind = kind
        self.status = {"secret": 403, "time": 400, "form": 400, "size": 413}[kind]


class InsufficientCredit(UnitaskError):
    """The balance does not cover the task; nothing was made."""

    _advice = Advice.PAY


class ContentRejected(UnitaskError):
    """Moderation does not allow the prompt, the picture or the result."""

    _advice = Advice.FIX


class NoFaceFound(UnitaskError):
    """There is no face in a picture that needs one. The submission is accepted, and the task fails (clients, 2025)."""

    _advice = Advice.FIX


class BadInputMedia(UnitaskError):
    """A picture, video or sound that you gave cannot be fetched or read, or is too large."""

    _advice = Advice.FIX


# The table at the top, as data. Words are looked for in lower case, in message and raw_message.

CREDIT_WORDS = (  # what clients read (2025); the recorded one (2025-08-25) has "account credit not enough"
    "credit not enough",
    "quota not enough",
    "failed to freeze",
    "auto exchange point quota",
)
CONTENT_WORDS = (  # clients (2025); Midjourney, penalties; the last is recorded (2026-08-25), with code 10003
    "rejected by moderation",
    "banned prompt",
    "banned word",
    "community guideline",
)
FACE_WORDS = ("no face found",)  # clients (2025); goapi.ai, face swap (2024-03)
MEDIA_WORDS = (  # clients (2025); the last is recorded (Kling, 2025-09)
    "failed to get valid image",
    "failed to get valid video",
    "invalid video url",
    "video resolution",
    "image size too large",
    "file size too large",
    "task input is too large",
    "unsupported image format",
)
QUEUE_WORDS = ("concurrent task", "concurrency limit", "queue is full")  # inferred from the page on limits
REASONS: tuple[tuple[tuple[str, ...], type[UnitaskError]], ...] = (
    (CREDIT_WORDS, InsufficientCredit),
    (CONTENT_WORDS, ContentRejected),
    (FACE_WORDS, NoFaceFound),
    (MEDIA_WORDS, BadInputMedia),
    (QUEUE_WORDS, QueueFull),
)
KIND_BY_CODE: Mapping[int, type[UnitaskError]] = {10003: BadInputMedia}  # one client's table (2025)
KIND_BY_STATUS: Mapping[int, type[UnitaskError]] = {
    400: InvalidRequest,
    401: AuthenticationFailed,
    402: InsufficientCredit,
    403: AuthenticationFailed,
    404: NotFound,
    409: InvalidRequest,
    410: NotFound,
    413: InvalidRequest,
    415: InvalidRequest,
    422: InvalidRequest,
    429: RateLimited,
}


def refusal_kind(status: int, code: int | None, words: str) -> type[ApiError]:
    """The class of a refused request."""
    kind = _by_reason(code, words) or KIND_BY_STATUS.get(status, ProviderBroken)
    return kind if issubclass(kind, ApiError) else combined(ApiError, kind)


def poll_kind(status: int) -> type[ApiError]:
    """The class of a refused poll. It says nothing of the balance or the input, which were accepted with the task."""
    kind = KIND_BY_STATUS.get(status, ProviderBroken)
    return kind if issubclass(kind, ApiError) else ProviderBroken


def task_failed(task: Task[Output]) -> TaskFailed:
    """The error of a task that ended without a result."""
    kind = _by_reason(task.failure_code, task.failure)
    is_reason = kind is not None and not issubclass(kind, ApiError)
    return (combined(TaskFailed, kind) if is_reason and kind else TaskFailed)(task)


def _by_reason(code: int | None, words: str) -> type[UnitaskError] | None:
    folded = words.casefold()
    found = (kind for signs, kind in REASONS if any(sign in folded for sign in signs))
    return next(found, None) or (KIND_BY_CODE.get(code) if code is not None else None)


for _name in __all__:  # tracebacks and pickles name this module, wherever a class is written
    globals()[_name].__module__ = __name__
