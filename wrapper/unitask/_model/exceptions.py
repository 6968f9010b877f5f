"""The base of the error tree, and those errors that the values of this package raise themselves.

`unitask.errors` has all of them, and says what becomes which.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, ClassVar

from unitask_api.reader import malformed_field

from ._json import printable


class Advice(StrEnum):
    """What to do about an error."""

    FIX = "fix"  # change what you gave; the same would end the same
    PAY = "pay"  # top up the account
    AGAIN = "again"  # the same once more may do; nothing was made
    LATER = "later"  # the same once more, after `retry_after` if it is known
    RESUME = "resume"  # the task goes on: wait for it by its id
    FIND = "find"  # find out first whether it was accepted: `error.find(client)`


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
    _parts: ClassVar[tuple[type[UnitaskError], ...]] = ()  # of a class that is made of two

    def __init__(self, message: str, *, task_id: str | None = None) -> None:
        super().__init__(printable(message))  # it may hold words of the provider
        self.task_id = task_id

    @property
    def retry_advice(self) -> Advice:
        """What to do about it."""
        return self._advice

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

    problems: tuple[str, ...]
    _advice = Advice.FIX

    def __init__(
        self, *problems: str, undone: str = "nothing was sent", then: str = "", task_id: str | None = None
    ) -> None:
        self.problems = tuple(map(printable, problems))
        message = f"{undone}: {'; '.join(self.problems)}"
        super().__init__(f"{message}. {then}" if then else message, task_id=task_id)


class ApiError(UnitaskError):
    """The provider answered, and did not do what was asked.

    Attributes:
        status: The HTTP status.
        code: The `code` of the task's error, or of the envelope; None when the body has none.
        retry_after: Seconds the provider asks to wait, from Retry-After; None when it does not.
    """

    status: int
    code: int | None
    retry_after: float | None
    headers: Mapping[str, str]
    body: str
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
        self.status, self.code, self.retry_after = status, code, retry_after
        self.headers, self.body = headers or {}, body


class ProviderBroken(ApiError):
    """An answer that no document describes: a redirect, an error of the server, a body of another shape."""

    @property
    def retry_advice(self) -> Advice:
        """Wait for the task if there is one; else later, unless it is a redirect."""
        if self.task_id:
            return Advice.RESUME
        return Advice.FIX if 300 <= self.status < 400 else Advice.LATER


def broken_field(owner: str, name: str, value: object, expected: str, task_id: str | None) -> ProviderBroken:
    """Make the error for a field that is not as documented; readers of the generated client take it (`error=`)."""
    message = str(malformed_field(owner, name, value, expected, task_id))
    return ProviderBroken(message, status=200, task_id=task_id)


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
