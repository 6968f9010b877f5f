"""What a job keeps on the disk, so that no task is lost or paid twice: the rows, and what a journal has to do.

`unitask.bulk.Journal` keeps it in an SQLite file. Every call that changes a row returns a future, which is done when
the change is durable, or when it failed. Calls take effect in the order in which they were made.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol


class RowState(StrEnum):
    """How far the task of a row has got."""

    SENDING = "sending"  # it may have been sent
    SENT = "sent"  # it was accepted: `task_id`
    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"  # it may have been accepted, and a search did not decide; its money stays held


class Row(NamedTuple):
    """A task of a job. Amounts are in credits of 1e-7 USD; `intent` and `outcome` are JSON of the pool."""

    key: int  # the number of its input in the job, from 0
    digest: str  # SHA-256 of its request body without the webhook mark, as hexadecimal digits
    state: RowState
    intent: str
    task_id: str | None
    held: int
    spent: int
    outcome: str | None
    files: tuple[str, ...] = ()


class Verdict(StrEnum):
    """Whether a request may be sent."""

    GO = "go"
    OVER = "over"  # it could exceed the money limit of the job; no row was written
    LOST = "lost"  # this worker has lost its lease; no row was written


class Job(NamedTuple):
    """What a journal belongs to."""

    account: str  # a digest of the key and base_url
    base_url: str  # for messages
    limit: int | None = None  # credits that the tasks may cost in all; None: no limit, or the one of the journal
    kind: str = ""  # what the caller keeps to resume the job; not compared


@dataclass(slots=True)
class PoolLimits:
    """What a pool may do at once. They may change while it works."""

    concurrency: int = 1000  # inputs that were read and whose result was not taken
    per_second: float = math.inf  # submissions
    has_webhook: bool = False  # notifications of the tasks arrive at this client


class Totals(NamedTuple):
    """The sums over all rows of a job."""

    held: int
    spent: int
    counts: Mapping[RowState, int]


class Journal(Protocol):
    """The rows of a job. Methods raise JournalError, or set it in their future, when the change is not durable."""

    @property
    def limits(self) -> PoolLimits | None:
        """The part of the limits of the job that this process has; None if it has the job for itself."""
        ...

    def begin(self, job: Job) -> None:
        """Bind a new journal to a job; raise InvalidInput if it belongs to another account. Call it before `intent`.

        A limit that is given replaces the one of the journal, as does its absence in a job that has a kind.
        """

    def rows(self) -> Iterable[Row]:
        """Return the rows in the order of their keys. Read them before the first `intent` of a run."""
        ...

    def totals(self) -> Totals:
        """Return the sums over all rows."""
        ...

    def intent(self, key: int, digest: str, intent: str, held: int) -> "Future[Verdict]":
        """Add a row in state SENDING, within the money limit; the request may be sent only after GO."""
        ...

    def accepted(self, key: int, task_id: str) -> "Future[None]":
        """Record the task of a row that is SENDING or UNKNOWN."""
        ...

    def withdrawn(self, key: int) -> "Future[None]":
        """Delete a row that is SENDING or UNKNOWN, because its task provably was not accepted."""
        ...

    def ended(self, key: int, state: RowState, outcome: str, spent: int) -> "Future[None]":
        """Record DONE, FAILED or UNKNOWN; UNKNOWN keeps the money held, the others release it."""
        ...

    def written(self, key: int, files: Sequence[str]) -> "Future[None]":
        """Record the files of a row."""
        ...

    def check(self) -> None:
        """Raise JournalError if the lease of this worker is over; call it just before a request is sent."""

    def close(self) -> None:
        """Write what waits, and release the journal."""
