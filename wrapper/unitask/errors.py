"""Everything unitask raises. `UnitaskError` is the base class.

ApiError is a refusal by the provider. A reason (InsufficientCredit, ContentRejected, NoFaceFound, BadInputMedia) occurs
in two ways: the exception is also an ApiError if a submission was refused, and a TaskFailed if a task ended so.

The first lines of a class are the table of reasons: the words, codes and HTTP statuses of answers for which it stands,
and the next step. Words win over codes, and codes over the HTTP status (_core/envelope.py). Every error can be pickled.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeVar

from unitask_api.json_types import printable
from unitask_api.states import QUEUED

if TYPE_CHECKING:
    from unitask_api.output_files import OutputFile
    from unitask_api.reader import Output

__all__: list[str] = ["ApiError", "AuthenticationFailed", "BadInputMedia", "BudgetExceeded"]
__all__ += ["ContentRejected", "DownloadFailed", "InsufficientCredit", "InvalidInput"]
__all__ += ["InvalidRequest", "JournalError", "NoFaceFound", "NotFound", "PermissionDenied", "ProviderBroken"]
__all__ += ["QueueFull", "RateLimited", "SubmissionUncertain", "TaskFailed", "UnitaskError", "Unreachable"]
__all__ += ["WaitTimeout", "WebhookRejected"]

FoundT = TypeVar("FoundT", covariant=True)
REQUEST_IDS = ("x-request-id", "x-trace-id", "cf-ray")  # headers, the most telling one first


class _TaskView(Protocol):
    """The fields of the `unitask.Task` of an error."""

    @property
    def raw(self) -> dict[str, Any]: ...
    @property
    def id(self) -> str: ...
    @property
    def status(self) -> object: ...
    @property
    def state(self) -> str: ...
    @property
    def output(self) -> Output: ...
    @property
    def cost_usd(self) -> float | None: ...
    @property
    def failure(self) -> str: ...
    @property
    def failure_code(self) -> int | None: ...
    @property
    def token(self) -> str: ...


class _Finds(Protocol[FoundT]):
    def find(self, uncertain: SubmissionUncertain, /, *, timeout: float | None = None) -> FoundT: ...


# Filled by the class lines below. Words are compared in lower case, with message and raw_message of an answer.
REASONS: list[tuple[tuple[str, ...], type[UnitaskError]]] = []
KIND_BY_CODE: dict[int, type[UnitaskError]] = {}
KIND_BY_STATUS: dict[int, type[UnitaskError]] = {}


class UnitaskError(Exception):
    """Base of everything unitask raises.

    Attributes:
        task_id: The task, whenever its id is known.
        attempts: How often a request was sent; 0 if none was.
        elapsed: Seconds from the first attempt to the end; 0 if nothing was sent.
        headers: The headers of the last answer that identify the request to the provider's support; empty without one.
        body: The body of an unusable answer, as text, at most 4,096 characters, without secrets.
    """

    task_id: str | None = None
    attempts: int = 0
    elapsed: float = 0.0
    headers: Mapping[str, str] = MappingProxyType({})
    body: str = ""
    usual_next_step: str = "Correct what the message names"  # these two: unless a task goes on
    usually_retryable: bool = False
    _task_goes_on: bool = False  # whether the task of such an error goes on, if there is one
    _parts: ClassVar[tuple[type[UnitaskError], ...]] = ()  # of a class that is made of two

    def __init_subclass__(
        cls,
        *,
        words: tuple[str, ...] = (),
        codes: tuple[int, ...] = (),
        statuses: tuple[int, ...] = (),
        next_step: str = "",
        retryable: bool = False,
    ) -> None:
        super().__init_subclass__()
        if words:
            REASONS.append((words, cls))
        KIND_BY_CODE.update(dict.fromkeys(codes, cls))
        KIND_BY_STATUS.update(dict.fromkeys(statuses, cls))
        if next_step:
            cls.usual_next_step, cls.usually_retryable = next_step, retryable

    def __init__(self, message: str, *, task_id: str | None = None) -> None:
        super().__init__(printable(message))  # it may contain words of the provider
        self.task_id = task_id

    @property
    def retryable(self) -> bool:
        """Whether the same call may succeed later, without a task that is paid twice."""
        return self.usually_retryable and not (self._task_goes_on and self.task_id)

    @property
    def next_step(self) -> str:
        """What to do next, in a sentence."""
        if self._task_goes_on and self.task_id:
            return f"Wait for the task, which goes on: client.wait({self.task_id!r})"
        return self.usual_next_step

    @property
    def request_id(self) -> str | None:
        """The id of the request in the provider's logs, for its support; None if no answer had one."""
        return next((self.headers[name] for name in REQUEST_IDS if name in self.headers), None)

    def about_running(self, task_id: str) -> None:
        """Record that the task of this error goes on; for clients."""
        self.task_id, self._task_goes_on = task_id, True

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self._parts or (type(self),), str(self), self.__dict__.copy())


class InvalidInput(UnitaskError, ValueError):
    """A value that you gave cannot be used.

    Raised by `submit` and `run`, it says that nothing was sent; nothing was paid. Raised by `download`, it is about a
    task that may be paid already: nothing was fetched, and the message says how to fetch it.

    Attributes:
        problems: Every problem found, one sentence each.
    """

    def __init__(self, *problems: str, undone: str = "", then: str = "", task_id: str | None = None) -> None:
        self.problems: tuple[str, ...] = tuple(map(printable, problems))
        message = "; ".join(self.problems)
        message = f"{undone}: {message}" if undone else message
        super().__init__(f"{message}. {then}" if then else message, task_id=task_id)


class BudgetExceeded(
    UnitaskError, next_step="Raise the limit of the budget, or wait until some of its tasks have ended"
):
    """The task could cost more than the budget has left, or its cost is not known. Nothing was sent.

    Attributes:
        estimate_usd: The amount to hold for it; None if its cost is not known.
        held_usd: The amount held for tasks that may still be billed.
    """

    def __init__(
        self, task: str, *, estimate_usd: float | None, limit_usd: float, spent_usd: float, held_usd: float
    ) -> None:
        self.estimate_usd: float | None = estimate_usd
        self.limit_usd: float = limit_usd
        self.spent_usd: float = spent_usd
        self.held_usd: float = held_usd
        if estimate_usd is None:
            reason = f"the cost of {task} is not known: make the budget with assume_usd= to count an amount for it"
        else:
            reason = (
                f"{task} may cost ${estimate_usd:.7g}, and of the budget of ${limit_usd:.7g}, ${spent_usd:.7g} is "
                f"spent and ${held_usd:.7g} is held for tasks that may still be billed"
            )
        super().__init__(f"nothing was sent: {reason}")


class SubmissionUncertain(UnitaskError, next_step="Call error.find(client) before you submit the task again"):
    """A submission brought no usable answer, and may have been accepted and paid.

    It is not sent again, because this API has no idempotency key. `find` looks for the task in your task history.

    Attributes:
        sent_between: When it may have been accepted: from and to, in UTC.
        fingerprint: SHA-256 over model, task type and input, as hexadecimal digits: equal for equal tasks.
        identity: The facts by which `find` recognises the task.
    """

    def __init__(self, reason: str, *, identity: Any, sent_between: tuple[datetime, datetime]) -> None:
        self.identity: Any = identity
        self.sent_between: tuple[datetime, datetime] = sent_between
        self.model: str = identity.model
        self.task_type: str = identity.task_type
        self.fingerprint: str = identity.fingerprint
        start, end = (f"{moment:%Y-%m-%d %H:%M:%S}" for moment in sent_between)
        super().__init__(
            f"the submission of {self.model} {self.task_type} may have been accepted, and is not sent again: "
            f"{reason.rstrip('.')}. It was sent between {start} and {end} UTC. "
            f"{self.usual_next_step}: it reads the task history"
        )

    @property
    def token(self) -> str:
        """A text that `Client.find` takes in place of this error, in any process; it has no input and no secret."""
        return str(self.identity.token(self.task_id, self.sent_between))

    def find(self, client: _Finds[FoundT], *, timeout: float | None = None) -> FoundT:
        """Call `client.find(error, timeout=timeout)`; await it for an async client."""
        return client.find(self, timeout=timeout)


class JournalError(
    UnitaskError, next_step="Correct what the message names, and start the job again with the same journal: it goes on"
):
    """The journal of a job cannot be opened, read or written. A request is sent only after its row was written."""


class Unreachable(UnitaskError, next_step="Try again later", retryable=True):
    """No answer came. A submission that ends so provably never left."""

    _task_goes_on = True


class ApiError(UnitaskError, next_step="Change the request: the same one is refused again"):
    """The provider answered, and refused the request.

    Attributes:
        code: The `code` of the task's error, or of the envelope; None if the body has none.
        retry_after: The seconds to wait, from Retry-After; None without one.
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
        self.status: int = status
        self.code: int | None = code
        self.retry_after: float | None = retry_after
        self.headers: Mapping[str, str] = headers or {}
        self.body: str = body
        if 300 <= status < 400:
            self.usual_next_step: str = "Check base_url: a redirect is not followed"
            self.usually_retryable: bool = False


class AuthenticationFailed(ApiError, statuses=(401,), next_step="Check the key: UNITASK_API_KEY, or api_key="):
    """The provider does not accept the key."""


class PermissionDenied(ApiError, statuses=(403,), next_step="Check the plan and the state of the account"):
    """The account is not allowed to do this: its plan lacks it, or it is disabled."""


class InvalidRequest(ApiError, statuses=(400, 409, 413, 415, 422)):
    """The provider does not accept this request."""


class NotFound(ApiError, statuses=(404, 410), next_step="Check the id of the task, and the key"):
    """The key has no such task."""


class RateLimited(ApiError, statuses=(429,), next_step="Try again later", retryable=True):
    """Too many requests; `retry_after` says how long to wait, if the provider does."""


class ProviderBroken(ApiError, next_step="Try again later", retryable=True):
    """An answer that no document describes: a redirect, an error of the server, a body of another form."""

    _task_goes_on = True


class TaskFailed(UnitaskError, next_step="Submit the task again", retryable=True):
    """The task ended without a result. According to third parties, only successes are charged.

    Attributes:
        task: The task as it ended.
    """

    def __init__(self, task: _TaskView) -> None:
        self.task = task
        reason = task.failure or "the provider gives no reason"
        super().__init__(f"task {task.id} {task.state}: {reason}", task_id=task.id)


class WaitTimeout(UnitaskError, TimeoutError):
    """The task did not end in time. It goes on, and it is paid. If the last poll failed, `__cause__` is its error.

    Attributes:
        task: The task at the last poll; None if no poll brought an answer.
        polls: The number of polls; `elapsed` has the seconds waited.
        statuses: Each status word, with the seconds of the wait after which it was first seen.
    """

    _task_goes_on = True

    def __init__(
        self,
        task_id: str,
        *,
        task: _TaskView | None,
        waited: float,
        polls: int,
        statuses: tuple[tuple[float, str], ...] = (),
    ) -> None:
        self.task: _TaskView | None = task
        self.polls: int = polls
        self.statuses: tuple[tuple[float, str], ...] = statuses
        self.attempts: int = polls
        self.elapsed: float = waited
        super().__init__(
            f"task {task_id} is not done after {waited:.1f} s and {polls} poll{'s' * (polls != 1)} ({self._story()}). "
            f"It goes on: client.wait({task_id!r}) waits for it again",
            task_id=task_id,
        )

    @property
    def started(self) -> bool | None:
        """Whether the provider reported that work began; None if no poll brought an answer.

        False means a long queue: the task can still be cancelled. True means long work.
        """
        return None if self.task is None else self.task.state not in QUEUED

    def _story(self) -> str:
        if self.task is None:
            return "its status is unknown"
        since, status = self.statuses[-1] if self.statuses else (0.0, str(self.task.status))
        words = f"status {status!r} for {self.elapsed - since:.1f} s"
        return words if self.started else f"{words}, not begun; client.cancel({self.task.id!r}) would end it"


class DownloadFailed(
    UnitaskError, next_step="Download the rest: client.download(error.missing, folder)", retryable=True
):
    """An output file could not be fetched whole, after all attempts. Nothing was left under its name.

    Attributes:
        url: The URL of the first missing file.
        reason: What went wrong; the message has the next step as well.
        fetched: The files that are complete.
        missing: The files that are not.
    """

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
        self.url: str = url
        self.reason: str = message
        self.fetched: tuple[Path, ...] = fetched
        self.missing: tuple[OutputFile, ...] = missing


class WebhookRejected(UnitaskError, next_step="Answer the request with the HTTP status error.status"):
    """A request to your webhook is not, or may not be, a notification of the provider.

    Attributes:
        kind: What is wrong: "secret" (none, or another), "time" (the timestamp is too far from now), "form" (it is not
            a notification) or "size" (it is larger than a receiver reads).
        status: The HTTP status to answer with.
    """

    def __init__(
        self, message: str, *, kind: Literal["secret", "time", "form", "size"], task_id: str | None = None
    ) -> None:
        super().__init__(f"webhook rejected: {message}", task_id=task_id)
        self.kind: Literal["secret", "time", "form", "size"] = kind
        self.status: int = {"secret": 403, "time": 400, "form": 400, "size": 413}[kind]


class InsufficientCredit(
    UnitaskError,
    # clients (2025); recorded as HTTP 500 with "account credit not enough" (2025-08-25)
    words=("credit not enough", "quota not enough", "failed to freeze", "auto exchange point quota"),
    statuses=(402,),
    next_step="Top up the account",
):
    """The balance does not cover the task."""


class ContentRejected(
    UnitaskError,
    # clients (2025); Midjourney, penalties; the last is recorded (2026-08-25), with code 10003
    words=("rejected by moderation", "banned prompt", "banned word", "community guideline"),
    next_step="Change the prompt or the media",
):
    """Moderation does not allow the prompt, the picture or the result."""


class NoFaceFound(
    UnitaskError,
    # clients (2025); goapi.ai, face swap (2024-03)
    words=("no face found",),
    next_step="Give a picture that shows a face",
):
    """There is no face in a picture that needs one. The submission is accepted, and the task fails."""


class BadInputMedia(
    UnitaskError,
    # clients (2025); the last is recorded (Kling, 2025-09)
    words=(
        "failed to get valid image",
        "failed to get valid video",
        "invalid video url",
        "video resolution",
        "image size too large",
        "file size too large",
        "task input is too large",
        "unsupported image format",
    ),
    codes=(10003,),  # one client's table (2025)
    next_step="Give another file",
):
    """A picture, video or sound that you gave cannot be fetched or read, or is too large."""


class QueueFull(
    RateLimited,
    # inferred from the page on limits
    words=("concurrent task", "concurrency limit", "queue is full"),
    next_step="Wait until some tasks have ended",
    retryable=True,
):
    """Too many tasks at once."""


_COMBINED: dict[tuple[type[UnitaskError], ...], Any] = {}


def combined(*parts: type[UnitaskError]) -> Any:
    """Return the class that is both a base and a reason. It has the name of the reason, which a caller catches."""
    base, reason = parts
    facts = {"__doc__": reason.__doc__, "_parts": parts}
    return _COMBINED.setdefault(parts, type(reason.__name__, (reason, base), facts))


def _rebuild(parts: tuple[type[UnitaskError], ...], message: str, facts: dict[str, Any]) -> UnitaskError:
    kind = combined(*parts) if len(parts) == 2 else parts[0]
    error: UnitaskError = kind.__new__(kind)
    error.args = (message,)
    error.__dict__.update(facts)
    return error
