"""A request is refused, or an accepted task fails, in the provider's words.

Messages never hold a key, and never repeat long inputs, which may be megabytes of base64.
"""

from dataclasses import dataclass
from typing import Any

from unitask_sandbox.task import Task, task_error

BAD_KEY = "failed to verify api key"  # public clients match on it, 2025
TASK_NOT_FOUND = "task not found"  # goapi's legacy table, 2024-03
PREPARING_FAILED = "failed to pre-process task runtime"  # recorded with HTTP 500, 2025-08-25
TOO_MANY_REQUESTS = "too many requests"  # no page and no client shows the provider's own words
QUEUE_FULL = "the concurrency limit is reached: {limit} concurrent tasks are pending or processing"  # nor here
NO_CREDIT = "failed to freeze account point quota: account point quota not enough; account credit not enough"
PROCESSING_FAILED = "task failed"  # recorded, 2025-09; the reason is in raw_message

NO_ORIGIN = "derive from origin task: {reason}"  # a public client, with "parent task is outdated"
OUTDATED = "parent task is outdated"

GENERAL_FAILURE = 10000  # recorded, 2025-08-25
IMAGE_TOO_LARGE = 10003  # one public client's table, 2025


@dataclass(eq=False)
class Refusal(Exception):
    """A request is refused; app.py alone turns it into an answer."""

    status: int
    message: str
    task: Task | None = None
    retry_after: int | None = None


class CannotStart(OSError, ValueError):
    """The sandbox cannot start with these settings; the message says why, and what to do."""


class TaskFailure(Exception):
    """An accepted task ends failed and is refunded; `ordered` is its whole error, where a fault says so."""

    def __init__(self, raw_message: str, code: int = GENERAL_FAILURE, ordered: dict[str, Any] | None = None) -> None:
        super().__init__(raw_message, code)  # both, so that it survives the way out of a worker process
        self.raw_message = raw_message
        self.code = code
        self._ordered = ordered

    def error(self) -> dict[str, Any]:
        """Return the `error` of the failed task."""
        return self._ordered or task_error(self.code, PROCESSING_FAILED, self.raw_message)


def unusable(kind: str, field: str, reason: str) -> TaskFailure:
    """Return the failure for a medium ("image", "video" or "audio") in a field of the input that cannot be used."""
    return TaskFailure(f"failed to get valid {kind} ({field}): {reason}")  # public clients match on it, 2025
