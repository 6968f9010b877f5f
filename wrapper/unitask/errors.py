"""Everything unitask raises. `UnitaskError` is the base of all.

ApiError is a refusal by the provider; its subclasses say why, and ProviderBroken is an answer that no document
describes. A reason (InsufficientCredit, ContentRejected, NoFaceFound, BadInputMedia) comes in two ways: what is raised
is also an ApiError when the submission was refused, and a TaskFailed when the task ended so.

The first lines of a class say which words of an answer, codes and HTTP statuses it stands for. Words win over codes,
and codes over the HTTP status (_core/refusals.py). A new reason is a class here and its name in `__all__`.

Rules of this file: a class for each thing that a caller would do differently; facts are attributes, never only words in
a message; every error pickles; no error holds a key or a webhook secret; nothing of unitask is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeVar

from unitask_api.json_types import printable
from unitask_api.states import QUEUED

if TYPE_CHECKING:
    from unitask_api.output_files import OutputFile
    from unitask_api.reader import Output

__all__: list[str] = ["Advice", "ApiError", "AuthenticationFailed", "BadInputMedia", "BudgetExceeded"]
__all__ += ["ContentRejected", "DownloadFailed", "InsufficientCredit", "InvalidInput"]
__all__ += ["InvalidRequest", "NoFaceFound", "NotFound", "ProviderBroken", "QueueFull"]
__all__ += ["RateLimited", "SubmissionUncertain", "TaskFailed", "UnitaskError", "Unreachable"]
__all__ += ["WaitTimeout", "WebhookRejected"]

FoundT = TypeVar("FoundT", covariant=True)
REQUEST_IDS = ("x-request-id", "x-trace-id", "cf-ray")  # headers, the most telling one first


class _TaskView(Protocol):
    """A task as an error shows it; it is a `unitask.Task`, whose fields these are."""

    @property
    def raw(self) -> dict[str, Any]: ...
    @property
    def id(self) -> str: ...
    @property
    def status(self) -> object: ...
    @property
    def state(self) -> str: ...
    @property
    def done(self) -> bool: ...
    @property
    def model(self) -> str: ...
    @property
    def task_type(self) -> str: ...
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


class _Identity(Protocol):
    @property
    def model(self) -> str: ...
    @property
    def task_type(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def submission(self) -> str: ...
    def token(self, task_id: str | None, sent_between: tuple[datetime, datetime], /) -> str: ...


class _Finds(Protocol[FoundT]):
    def find(self, uncertain: SubmissionUncertain, /, *, timeout: float | None = None) -> FoundT: ...


class Advice(StrEnum):
    """What to do about an error."""

    FIX = "fix"  # change what you gave; the same would end the same
    PAY = "pay"  # top up the account
    AGAIN = "again"  # the same once more may do; nothing was made
    LATER = "later"  # the same once more, after `retry_after` if it is known
    RESUME = "resume"  # the task goes on: wait for it by its id
    FIND = "find"  # find out first whether it was accepted: `error.find(client)`


# What the class lines below say, by words (looked for in lower case, in message and raw_message), code and HTTP status.
REASONS: list[tuple[tuple[str, ...], type[UnitaskError]]] = []
KIND_BY_CODE: dict[int, type[UnitaskError]] = {}
KIND_BY_STATUS: dict[int, type[UnitaskError]] = {}


class UnitaskError(Exception):
    """Base of everything unitask raises.

    Attributes:
        task_id: The task this is about, whenever it is known, so that nothing paid for is lost.
        attempts: How often a request was sent for it; 0 when nothing was sent.
        elapsed: Seconds from the first attempt to the end; 0 when nothing was sent.
        headers: Those headers of the last answer that name the request to the provider's support; empty without one.
        body: The body of an answer that was no usable one, as text, at most 4,096 characters, without secrets.
    """

    task_id: str | None = None
    attempts: int = 0
    elapsed: float = 0.0
    headers: Mapping[str, str] = MappingProxyType({})
    body: str = ""
    _advice: Advice = Advice.AGAIN
    hint: ClassVar[str] = ""  # with which the message of a refusal ends
    _parts: ClassVar[tuple[type[UnitaskError], ...]] = ()  # of a class that is made of two

    def __init_subclass__(
        cls, *, words: tuple[str, ...] = (), codes: tuple[int, ...] = (), statuses: tuple[int, ...] = ()
    ) -> None:
        super().__init_subclass__()
        if words:
            REASONS.append((words, cls))
        KIND_BY_CODE.update(dict.fromkeys(codes, cls))
        KIND_BY_STATUS.update(dict.fromkeys(statuses, cls))

    def __init__(self, message: str, *, task_id: str | None = None) -> None:
        super().__init__(printable(message))  # it may hold words of the provider
        self.task_id = task_id

    @property
    def retry_advice(self) -> Advice:
        """What to do about it."""
        return self._advice

    @property
    def request_id(self) -> str | None:
        """The id of the request in the provider's logs, for its support; None when no answer had one."""
        return next((self.headers[name] for name in REQUEST_IDS if name in self.headers), None)

    def about_running(self, task_id: str) -> None:
        """Say that the task of this error goes on, for all that is known; for clients."""
        self.task_id, self._advice = task_id, Advice.RESUME

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self._parts or (type(self),), str(self), self.__dict__.copy())


class InvalidInput(UnitaskError, ValueError):
    """Something you gave cannot be used; nothing was sent and nothing was paid.

    Raised by `download`, it is about a task that may be paid already: nothing was fetched, and the message says how
    to fetch it.

    Attributes:
        problems: Every problem found, one sentence each.
    """

    _advice = Advice.FIX

    def __init__(
        self, *problems: str, undone: str = "nothing was sent", then: str = "", task_id: str | None = None
    ) -> None:
        self.problems: tuple[str, ...] = tuple(map(printable, problems))
        message = f"{undone}: {'; '.join(self.problems)}"
        super().__init__(f"{message}. {then}" if then else message, task_id=task_id)


class BudgetExceeded(UnitaskError):
    """The task could cost more than its budget has left, or what it costs is not known. Nothing was sent.

    Attributes:
        estimate_usd: What was to be put aside for it; None when its cost cannot be known.
        limit_usd: What the budget allows in all.
        spent_usd: The bills so far.
        held_usd: What is put aside for tasks that may still be billed.
    """

    _advice = Advice.FIX

    def __init__(
        self, task: str, *, estimate_usd: float | None, limit_usd: float, spent_usd: float, held_usd: float
    ) -> None:
        self.estimate_usd: float | None = estimate_usd
        self.limit_usd: float = limit_usd
        self.spent_usd: float = spent_usd
        self.held_usd: float = held_usd
        if estimate_usd is None:
            reason = f"what {task} costs is not known: make the budget with assume_usd= to count something for it"
        else:
            reason = (
                f"{task} may cost ${estimate_usd:.7g}, and of the budget of ${limit_usd:.7g}, ${spent_usd:.7g} is "
                f"spent and ${held_usd:.7g} put aside for tasks that may still be billed"
            )
        super().__init__(f"nothing was sent: {reason}")


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

    _advice = Advice.FIND

    def __init__(self, reason: str, *, identity: _Identity, sent_between: tuple[datetime, datetime]) -> None:
        self.identity: _Identity = identity
        self.sent_between: tuple[datetime, datetime] = sent_between
        self.model: str = identity.model
        self.task_type: str = identity.task_type
        self.fingerprint: str = identity.fingerprint
        start, end = (f"{moment:%Y-%m-%d %H:%M:%S}" for moment in sent_between)
        super().__init__(
            f"the create of {self.model} {self.task_type} may have been accepted, and is not sent again: {reason}. "
            f"It was sent between {start} and {end} UTC; error.find(client) looks for it in the task history, and do "
            "that before you create it again"
        )

    @property
    def token(self) -> str:
        """What `Client.find` takes in place of this error, also in another process; it holds no input and no secret."""
        return self.identity.token(self.task_id, self.sent_between)

    def find(self, client: _Finds[FoundT], *, timeout: float | None = None) -> FoundT:
        """The same as `client.find(error, timeout=timeout)`; await it for an async client."""
        return client.find(self, timeout=timeout)


class Unreachable(UnitaskError):
    """No answer came, and nothing was accepted."""

    @property
    def retry_advice(self) -> Advice:
        """Wait for the task if there is one, else try again."""
        return Advice.RESUME if self.task_id else self._advice


class ApiError(UnitaskError):
    """The provider answered, and did not do what was asked.

    Attributes:
        status: The HTTP status.
        code: The `code` of the task's error, or of the envelope; None when the body has none.
        retry_after: Seconds the provider asks to wait, from Retry-After; None when it does not.
    """

    _advice = Advice.FIX

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


class AuthenticationFailed(ApiError, statuses=(401, 403)):
    """The key is not accepted, or not for this."""

    hint = ". Check the key: UNITASK_API_KEY, or api_key="


class InvalidRequest(ApiError, statuses=(400, 409, 413, 415, 422)):
    """The provider does not accept this request."""


class NotFound(ApiError, statuses=(404, 410)):
    """There is no such task for this key."""


class RateLimited(ApiError, statuses=(429,)):
    """Too many requests; `retry_after` says how long to wait, when it is known."""

    _advice = Advice.LATER


class ProviderBroken(ApiError):
    """An answer that no document describes: a redirect, an error of the server, a body of another shape."""

    @property
    def retry_advice(self) -> Advice:
        """Wait for the task if there is one; else later, unless it is a redirect."""
        if self.task_id:
            return Advice.RESUME
        return Advice.FIX if 300 <= self.status < 400 else Advice.LATER


class TaskFailed(UnitaskError):
    """The task ended without a result. Only successes are charged, say third parties.

    Attributes:
        task: The task as it ended.
    """

    def __init__(self, task: _TaskView) -> None:
        self.task = task
        reason = task.failure or "the provider gives no reason"
        super().__init__(f"task {task.id} {task.state}: {reason}", task_id=task.id)


class WaitTimeout(UnitaskError, TimeoutError):
    """The task is not done when your time is up. It goes on, and it is paid for.

    Attributes:
        task: The task as it was last seen; None when no poll brought an answer.
        waited: Seconds waited.
        polls: How often it was polled.
        statuses: Each status word that was seen, after how many seconds of the wait it was seen first.
    """

    _advice = Advice.RESUME

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
        self.waited: float = waited
        self.polls: int = polls
        self.statuses: tuple[tuple[float, str], ...] = statuses
        self.attempts: int = polls
        self.elapsed: float = waited
        super().__init__(
            f"task {task_id} is not done after {waited:.1f} s and {polls} polls ({self._story()}). It goes on: "
            f"client.wait({task_id!r}) waits for it again",
            task_id=task_id,
        )

    @property
    def started(self) -> bool | None:
        """Whether work on it was seen to have begun; None when no poll brought an answer.

        False is a queue that is too long, and such a task can still be cancelled; True is work that takes too long.
        """
        return None if self.task is None else self.task.state not in QUEUED

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


class WebhookRejected(UnitaskError):
    """What arrived at your webhook is not, or may not be, a notification of the provider.

    Attributes:
        kind: What is wrong: "secret" (none, or another), "time" (its timestamp is too far from now), "form" (it is no
            notification) or "size" (it is larger than a receiver reads).
        status: The HTTP status to answer with.
    """

    _advice = Advice.FIX

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
):
    """The balance does not cover the task; nothing was made."""

    _advice = Advice.PAY
    hint = ". Top up the account; nothing was made"


class ContentRejected(
    UnitaskError,
    # clients (2025); Midjourney, penalties; the last is recorded (2026-08-25), with code 10003
    words=("rejected by moderation", "banned prompt", "banned word", "community guideline"),
):
    """Moderation does not allow the prompt, the picture or the result."""

    _advice = Advice.FIX


class NoFaceFound(
    UnitaskError,
    # clients (2025); goapi.ai, face swap (2024-03)
    words=("no face found",),
):
    """There is no face in a picture that needs one. The submission is accepted, and the task fails (clients, 2025)."""

    _advice = Advice.FIX


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
):
    """A picture, video or sound that you gave cannot be fetched or read, or is too large."""

    _advice = Advice.FIX


class QueueFull(
    RateLimited,
    # inferred from the page on limits
    words=("concurrent task", "concurrency limit", "queue is full"),
):
    """Too many tasks at once: wait for some to end."""

    hint = ". Wait for some tasks to end"


_COMBINED: dict[tuple[type[UnitaskError], ...], Any] = {}


def combined(*parts: type[UnitaskError]) -> Any:
    """The class that is a base and a reason. It has the name of the reason, because that is what a caller catches."""
    base, reason = parts
    facts = {"__module__": base.__module__, "__doc__": reason.__doc__, "_parts": parts}
    return _COMBINED.setdefault(parts, type(reason.__name__, (reason, base), facts))


def _rebuild(parts: tuple[type[UnitaskError], ...], message: str, facts: dict[str, Any]) -> UnitaskError:
    kind = combined(*parts) if len(parts) == 2 else parts[0]
    error: UnitaskError = kind.__new__(kind, message)
    error.args = (message,)  # OSError.__new__, of WaitTimeout, leaves them empty
    error.__dict__.update(facts)
    return error
