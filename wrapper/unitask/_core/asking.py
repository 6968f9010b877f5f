"""Requests that cost nothing and may be repeated: cancel, account, history, upload, and a look that may fail."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from .. import errors
from .._model.account import HistoryRow
from .._model.state import State
from .._model.task import Output, Task
from . import envelope, requests
from .delivery import Limits, worth_repeating
from .messages import Answer, Flow, Found, Send, Sleep, no_answer
from .requests import Query

T = TypeVar("T")

LARGEST_PAGE = 100  # rows of the history; more is refused (history page, 2025-04-15)
USUAL_PAGE = 10  # rows of a page when none are asked for


def ask(
    send: Send,
    read: Callable[[Answer], T | errors.ApiError],
    limits: Limits,
    task_id: str | None = None,
    deadline: float = math.inf,
) -> Flow[T]:
    """Send a request until it is answered; return what is read from the answer.

    Args:
        send: The request.
        read: What is wanted of the answer, or the error that it is.
        limits: How long to bear with failures.
        task_id: The task that it is about, if it is about one.
        deadline: Nothing is sent after this time, in ticks.
    """
    begun, failures = (yield Sleep(0)).at.ticks, 0
    if begun > deadline:
        raise errors.Unreachable(f"no time was left for {send.method} {send.path}")
    if deadline < math.inf:
        send = replace(send, timeout=min(limits.http_timeout, max(1.0, deadline - begun)))
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
        pause = limits.resend.pause(failures, getattr(trouble, "retry_after", None))
        is_late = reply.at.ticks - begun > limits.patience or reply.at.ticks + pause > deadline
        if is_late or not worth_repeating(trouble):
            trouble.task_id = trouble.task_id or task_id
            trouble.attempts, trouble.elapsed = failures, reply.at.ticks - begun
            raise trouble
        yield Sleep(pause)


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


def look(
    task_id: str, limits: Limits, output_type: type[Output] = Output, deadline: float = math.inf
) -> Flow[Task[Output] | None]:
    """A task as it is; None when it cannot be looked at.

    Args:
        task_id: Which task.
        limits: How long to bear with failures.
        output_type: What reads its output; it knows the protocol of the task.
        deadline: Nothing is sent after this time, in ticks.
    """

    def read(answer: Answer) -> Task[Output] | errors.ApiError:
        found = envelope.read_task(answer, output_type)
        return found.error if isinstance(found, envelope.Unreadable) else found

    try:
        found = yield from ask(requests.look(task_id, protocol=output_type.PROTOCOL), read, limits, deadline=deadline)
    except errors.UnitaskError:
        return None
    return found if found.id == task_id else None


class Reading:
    """Reads the history page by page, each row once.

    Tasks that are created meanwhile come to the front and move the other rows to later pages. So a page may bring rows
    that were told already, and a full page of nothing else is not the end. Where a page is smaller than what moves
    between two pages, larger pages are asked for. A total ends the reading behind a full page only when it counts more
    than that page, and is no round number at which counting may have stopped.

    Args:
        query: Which rows.
        limits: How long to bear with failures.
        deadline: Nothing is sent after this time, in ticks.
        is_proof: Whether to ask for one page more where it is not certain that a page was the last.

    Attributes:
        dates: The provider's time of each page, and when it came.
    """

    def __init__(self, query: Query, limits: Limits, deadline: float = math.inf, *, is_proof: bool = False) -> None:
        self._query, self._limits, self._deadline, self._is_proof = query, limits, deadline, is_proof
        self._told: set[str] = set()
        self._total: int | None = 0  # the largest that was said; None after a page that said none
        self._repeated = 0  # pages in a row that brought nothing new
        self._ended = self._is_stuck = False
        self._doubt = ""
        self.dates: list[envelope.Dated] = []

    def more(self) -> Flow[list[HistoryRow]]:
        """The rows of the next page that brings any which were not told before; none at the end.

        Raises:
            ProviderBroken: The history has more rows than its pages bring.
        """
        while not self._ended:
            send = requests.history(self._query)
            try:
                page = yield from ask(send, envelope.read_history, self._limits, deadline=self._deadline)
            except (errors.InvalidRequest, errors.NotFound):
                if not self._told or self._total is None or len(self._told) < self._total:
                    raise
                break  # a page behind the last one
            new = {_identity(row): row for row in page.rows if _identity(row) not in self._told}
            self._told |= new.keys()
            self._doubt = self._doubt or page.doubt
            self._total = None if self._total is None or page.total is None else max(self._total, page.total)
            if page.dated is not None:
                self.dates.append(page.dated)
            self._turn(page, is_new=bool(new))
            if new:
                return list(new.values())
        self._ended = True
        return []

    def _turn(self, page: envelope.HistoryPage, *, is_new: bool) -> None:
        """To the next page, or to the end."""
        size = self._query.page_size
        smallest = 1 if self._is_proof and page.size else USUAL_PAGE  # `size` may be the rows of this page, too
        is_full = len(page.rows) >= min(size, max(page.size or 0, smallest))
        is_all = page.total is not None and len(self._told) >= page.total
        is_counted = is_all and page.total != len(page.rows) and bool((page.total or 0) % LARGEST_PAGE)
        self._repeated = 0 if is_new else self._repeated + 1
        if not page.rows or is_counted or (not is_full and (is_all or not is_new)):
            self._ended = True
        elif self._repeated > len(self._told) // size + 2:  # further back than any row that was told
            if page.total is not None and not is_all:
                told = f"the task history has {page.total} rows, and page after page brings the same {len(self._told)}"
                raise errors.ProviderBroken(told, status=200)
            self._ended = self._is_stuck = True
        elif not is_new and len(page.rows) == size < LARGEST_PAGE:
            self._query = replace(self._query, page_size=LARGEST_PAGE, page=len(self._told) // LARGEST_PAGE + 1)
        else:
            self._query = replace(self._query, page=self._query.page + 1)

    @property
    def shortfall(self) -> str:
        """Why it is not certain that every row was told; empty when it is.

        Each page says how many rows there are. A row that was skipped, because another one went, is missing in the sum.
        """
        if self._doubt:
            return self._doubt
        if not self._ended:
            return f"more than {len(self._told)} tasks are in the history of that time"
        if self._is_stuck:
            return f"page after page of the history brings the same {len(self._told)} tasks"
        if self._total is None:
            return "the history does not say how many tasks it has"
        if self._total != len(self._told):
            return f"the history has {self._total} tasks of that time, and its pages bring {len(self._told)}"
        return ""


def history(query: Query, limits: Limits) -> Flow[None]:
    """Tell each row of the history."""
    reading = Reading(query, limits)
    while rows := (yield from reading.more()):
        for row in rows:
            yield Found(row)


def _identity(row: HistoryRow) -> str:
    number = row.raw.get("id")  # it stays, whatever else changes in a row without the id of a task
    return row.task_id or repr(row.raw if number is None else {"id": number})
