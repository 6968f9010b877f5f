"""The task history, page by page."""

import math
from dataclasses import replace

from .. import errors
from .._model.account import HistoryRow
from . import envelope, requests
from .effects import Flow, RowYielded
from .requests import HistoryQuery
from .retry import Timeouts, send_with_retry

LARGEST_PAGE = 100  # rows of the history; more is refused (history page, 2025-04-15)
USUAL_PAGE = 10  # rows of a page by default


class HistoryReader:
    """Read the history page by page, each row once; `is_proof` requests one page more in doubt about the last.

    Tasks that are submitted meanwhile move the other rows to later pages, so a full page of known rows is not the end.
    A total ends the reading only if it counts more than a page, and is not a round number at which counting may stop.
    """

    def __init__(
        self, query: HistoryQuery, limits: Timeouts, deadline: float = math.inf, *, is_proof: bool = False
    ) -> None:
        self._query, self._limits, self._deadline, self._is_proof = query, limits, deadline, is_proof
        self._seen: set[str] = set()
        self._total: int | None = 0  # the largest; None after a page without one
        self._repeated = 0  # pages in a row that brought nothing new
        self._ended = self._is_stuck = False
        self._doubt = ""
        self.dates: list[envelope.Dated] = []

    def more(self) -> Flow[list[HistoryRow]]:
        """Return the new rows of the next page that has any; none at the end. Raise if pages bring too few rows."""
        while not self._ended:
            send = requests.history(self._query)
            try:
                page = yield from send_with_retry(send, envelope.read_history, self._limits, deadline=self._deadline)
            except (errors.InvalidRequest, errors.NotFound):
                if not self._seen or self._total is None or len(self._seen) < self._total:
                    raise
                break  # a page after the last one
            new = {_identity(row): row for row in page.rows if _identity(row) not in self._seen}
            self._seen |= new.keys()
            self._doubt = self._doubt or page.doubt
            self._total = None if self._total is None or page.total is None else max(self._total, page.total)
            if page.dated is not None:
                self.dates.append(page.dated)
            self._turn(page, is_new=bool(new))
            if new:
                return list(new.values())
        self._ended = True
        return []

    def again(self) -> Flow[list[HistoryRow]]:
        """Return rows that came meanwhile: read from the first page until all rows that it counts are known."""
        self._query, self._total = replace(self._query, page=1), 0
        self._repeated, self._ended, self._is_stuck = 0, False, False
        rows: list[HistoryRow] = []
        while more := (yield from self.more()):
            rows += more
        return rows

    def _turn(self, page: envelope.HistoryPage, *, is_new: bool) -> None:
        size = self._query.page_size
        smallest = 1 if self._is_proof and page.size else USUAL_PAGE  # `size` may be the rows of this page, too
        is_full = len(page.rows) >= min(size, max(page.size or 0, smallest))
        is_all = page.total is not None and len(self._seen) >= page.total
        is_counted = is_all and page.total != len(page.rows) and bool((page.total or 0) % LARGEST_PAGE)
        self._repeated = 0 if is_new else self._repeated + 1
        if not page.rows or is_counted or (not is_full and (is_all or not is_new)):
            self._ended = True
        elif self._repeated > len(self._seen) // size + 2:  # further back than any row that was seen
            if page.total is not None and not is_all:
                message = f"the task history has {page.total} rows, and page after page brings the same"
                raise errors.ProviderBroken(f"{message} {len(self._seen)}", status=200)
            self._ended = self._is_stuck = True
        elif not is_new and len(page.rows) == size < LARGEST_PAGE:
            self._query = replace(self._query, page_size=LARGEST_PAGE, page=len(self._seen) // LARGEST_PAGE + 1)
        else:
            self._query = replace(self._query, page=self._query.page + 1)

    @property
    def shortfall(self) -> str:
        """Why rows may be missing; empty when they cannot. A skipped row is missing in the sum of the pages."""
        if self._doubt:
            return self._doubt
        if not self._ended:
            return f"more than {len(self._seen)} tasks are in the history of that time"
        if self._is_stuck:
            return f"page after page of the history brings the same {len(self._seen)} tasks"
        if self._total is None:
            return "the history does not say how many tasks it has"
        if self._total != len(self._seen):
            return f"the history has {self._total} tasks of that time, and its pages bring {len(self._seen)}"
        return ""


def history(query: HistoryQuery, limits: Timeouts) -> Flow[None]:
    reading = HistoryReader(query, limits)
    while rows := (yield from reading.more()):
        for row in rows:
            yield RowYielded(row)


def _identity(row: HistoryRow) -> str:
    number = row.raw.get("id")  # it does not change in a row without the id of a task
    return row.task_id or repr(row.raw if number is None else {"id": number})
