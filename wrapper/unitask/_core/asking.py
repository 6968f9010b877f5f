"""Requests that cost nothing and may be repeated: cancel, account, history, upload, and a look that may fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from .. import errors
from ..account import HistoryRow
from ..task import Output, State, Task
from . import envelope, requests
from .delivery import Limits, worth_repeating
from .messages import Answer, Flow, Found, Send, Sleep, no_answer

T = TypeVar("T")


def ask(
    send: Send, read: Callable[[Answer], T | errors.ApiError], limits: Limits, task_id: str | None = None
) -> Flow[T]:
    """Send a request until it is answered; return what is read from the answer.

    Args:
        send: The request.
        read: What is wanted of the answer, or the error that it is.
        limits: How long to bear with failures.
        task_id: The task that it is about, if it is about one.
    """
    begun, failures = (yield Sleep(0)).at.ticks, 0
    while True:
        reply = yield send
        if isinstance(reply, Answer) and not reply.broken:
            found = read(reply)
            if not isinstance(found, errors.ApiError):
                return found
            trouble: errors.ApiError | errors.Unreachable = found
        else:
            trouble = errors.Unreachable(f"no answer to {send.method} {send.path}, {no_answer(reply)}")
        failures += 1
        if not worth_repeating(trouble) or reply.at.ticks - begun > limits.patience:
            trouble.task_id = trouble.task_id or task_id
            trouble.attempts, trouble.elapsed = failures, reply.at.ticks - begun
            raise trouble
        yield Sleep(limits.resend.pause(failures, getattr(trouble, "retry_after", None)))


def cancel(task_id: str, limits: Limits) -> Flow[str]:
    """Cancel a task; return what the provider says of it.

    A cancel that is repeated may be refused because the first one did it and its answer was lost: a look tells.
    """
    try:
        return (yield from ask(requests.cancel(task_id), envelope.read_acknowledgement, limits, task_id))
    except errors.InvalidRequest as refusal:
        if refusal.attempts > 1:
            seen = yield from look(task_id, limits)
            if seen is not None and seen.state is State.CANCELLED:
                return ""
        raise


def look(task_id: str, limits: Limits) -> Flow[Task[Output] | None]:
    """A task as it is; None when it cannot be looked at."""
    try:
        found = yield from ask(requests.look(task_id), _read, limits)
    except errors.UnitaskError:
        return None
    return found if found.id == task_id else None


def _read(answer: Answer) -> Task[Output] | errors.ApiError:
    found = envelope.read_task(answer, Output)
    return found.error if isinstance(found, envelope.Unreadable) else found


@dataclass(frozen=True, slots=True)
class Query:
    """Which rows of the history.

    Attributes:
        start: Only tasks created from this time on; unix seconds.
        end: Only tasks created up to this time; unix seconds.
        group: Only of this group of models, such as image_toolkit.
        page_size: Rows a page, 1 to 100.
        page: Which page, from 1.
    """

    start: int | None = None
    end: int | None = None
    group: str | None = None
    page_size: int = 100
    page: int = 1


class Reading:
    """Reads the history page by page, each row once: rows move to later pages while new tasks come in."""

    def __init__(self, query: Query, limits: Limits) -> None:
        self._query, self._limits = query, limits
        self._told: set[str] = set()
        self._read, self._ended = 0, False

    def more(self) -> Flow[list[HistoryRow]]:
        """The rows of the next page that were not there before; none at the end."""
        if self._ended:
            return []
        rows, total = yield from ask(requests.history(self._query), envelope.read_history, self._limits)
        new = {_identity(row): row for row in rows if _identity(row) not in self._told}
        self._told |= new.keys()
        self._read += len(rows)
        self._ended = not new or (total is not None and self._read >= total)
        self._query = replace(self._query, page=self._query.page + 1)
        return list(new.values())


def history(query: Query, limits: Limits) -> Flow[None]:
    """Tell each row of the history."""
    reading = Reading(query, limits)
    while rows := (yield from reading.more()):
        for row in rows:
            yield Found(row)


def _identity(row: HistoryRow) -> str:
    return row.task_id or repr(row.raw)
