"""The journal of a shard of a job in a PostgreSQL database, which several workers share.

Rules of this file: a change reads its row under a lock and writes what the row must be then, so a change that is
repeated after a lost connection reads what the first one wrote, and counts no money twice. Locks are taken in the order
job, shard, tasks. A lease that has expired is never renewed: from then on the shard can only be taken anew.
"""

import json
import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, Final, NamedTuple, TypeVar

from .._core.journal import Job, PoolLimits, Row, RowState, Totals, Verdict
from ..errors import InvalidInput, JournalError

try:
    import psycopg
    from psycopg.rows import TupleRow
except ImportError:
    raise ModuleNotFoundError("psycopg is not installed: pip install 'unitask[bulk-postgres]'") from None

T = TypeVar("T")
Cursor = psycopg.Cursor[TupleRow]
_log = logging.getLogger("unitask.bulk")

PATIENCE: Final = 600.0  # seconds for which a database that does not answer is tried again
FIRST_PAUSE: Final = 0.1  # seconds before it is tried again; doubled each time
GATHERING: Final = 0.01  # seconds between commits while several changes wait
SAFE_PART: Final = 0.8  # of a lease, in which a request may leave
# The server ends a transaction whose process was stopped, so that its locks keep no other worker waiting.
SETTINGS: Final = "-c search_path=unitask -c idle_in_transaction_session_timeout=5000 -c synchronous_commit=on"
CONNECTION: Final[Mapping[str, Any]] = {
    "application_name": "unitask",
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20000,  # milliseconds
    "options": SETTINGS,
}
SCHEMA: Final = """
CREATE SCHEMA IF NOT EXISTS unitask;
CREATE TABLE IF NOT EXISTS job (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, account text NOT NULL, base_url text NOT NULL,
    options text NOT NULL, inputs int NOT NULL, shard_size int NOT NULL,
    money_limit bigint, held bigint NOT NULL DEFAULT 0, spent bigint NOT NULL DEFAULT 0,
    concurrency int NOT NULL, per_second float8 NOT NULL, created timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS input (job bigint NOT NULL, key int NOT NULL, task text NOT NULL, PRIMARY KEY (job, key));
CREATE TABLE IF NOT EXISTS task (
    job bigint NOT NULL, key int NOT NULL, digest text NOT NULL, state text NOT NULL, intent text NOT NULL,
    task_id text, held bigint NOT NULL, spent bigint NOT NULL, outcome text, files text NOT NULL,
    PRIMARY KEY (job, key)
);
CREATE UNIQUE INDEX IF NOT EXISTS task_of_one_row ON task (job, task_id);
CREATE INDEX IF NOT EXISTS task_open ON task (job, key) WHERE state IN ('sending', 'sent');
CREATE TABLE IF NOT EXISTS shard (
    job bigint NOT NULL, number int NOT NULL, owner text NOT NULL DEFAULT '',
    lease timestamptz NOT NULL DEFAULT '-infinity', places int NOT NULL DEFAULT 0, rate float8 NOT NULL DEFAULT 0,
    done bool NOT NULL DEFAULT false, PRIMARY KEY (job, number)
);
"""
LOCK_JOB: Final = "SELECT money_limit, held, spent FROM job WHERE id = %s FOR UPDATE"
LOCK_SHARD: Final = (
    "SELECT owner = %s AND lease > clock_timestamp() FROM shard WHERE job = %s AND number = %s FOR SHARE"
)
TASKS: Final = "SELECT key, digest, state, intent, task_id, held, spent, outcome, files FROM task WHERE job = %s"
OTHERS: Final = "SELECT key, task_id FROM task WHERE job = %s AND (key < %s OR key >= %s) AND task_id IS NOT NULL"
WRITE_TASKS: Final = (
    "INSERT INTO task (job, key, digest, state, intent, task_id, held, spent, outcome, files)"
    " SELECT %s, * FROM unnest(%s::int[], %s::text[], %s::text[], %s::text[],"
    " %s::text[], %s::bigint[], %s::bigint[], %s::text[], %s::text[]) ON CONFLICT (job, key) DO UPDATE SET"
    " state = excluded.state, task_id = excluded.task_id, held = excluded.held, spent = excluded.spent,"
    " outcome = excluded.outcome, files = excluded.files"
)
DELETE_TASKS: Final = "DELETE FROM task WHERE job = %s AND key = ANY(%s)"
COUNT_MONEY: Final = "UPDATE job SET held = held + %s, spent = spent + %s WHERE id = %s"
LOST: Final = "another worker has this shard, or may take it: the lease of this one is over"
_OPEN = (RowState.SENDING, RowState.SENT, RowState.UNKNOWN)


def clock() -> float:
    """Return seconds of a clock that also runs while the computer sleeps, where the system has one."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


class Database:
    """A connection that is made again when it breaks. Threads may share it.

    Args:
        url: postgresql://user:password@host/database

    Raises:
        JournalError: The database cannot be reached.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._connection: psycopg.Connection[TupleRow] | None = None
        try:
            self._connection = connect(url)
        except psycopg.Error as error:
            raise _unreachable(error) from error

    def run(self, change: Callable[[Cursor], T], patience: float = PATIENCE) -> T:
        """Carry out a change in a transaction, and again if the connection breaks: it may be carried out twice.

        Raises:
            JournalError: The database could not be used for this many seconds.
        """
        end, pause = time.monotonic() + patience, FIRST_PAUSE
        while True:
            try:
                with self._lock:
                    return self._attempt(change)
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                if self._closed.is_set() or time.monotonic() >= end:
                    raise _unreachable(error) from error
                if pause == FIRST_PAUSE:
                    _log.warning("the database of the job: %s: trying again for %.0f s", error, patience)
            self._closed.wait(pause)
            pause = min(5.0, 2 * pause)

    def close(self) -> None:
        """End the connection, and the repetitions of a change that goes on."""
        self._closed.set()
        with self._lock:
            if self._connection is not None:
                self._connection.close()

    def _attempt(self, change: Callable[[Cursor], T]) -> T:
        connection = self._connection
        if connection is None or connection.closed:
            connection = self._connection = connect(self.url)
        try:
            with connection.transaction(), connection.cursor() as cursor:
                return change(cursor)
        except (psycopg.OperationalError, psycopg.InterfaceError):
            connection.close()
            raise


def connect(url: str) -> psycopg.Connection[TupleRow]:
    """Return a new connection, in the schema `unitask`."""
    return psycopg.connect(url, autocommit=True, **CONNECTION)


@dataclass(slots=True, eq=False)
class Shard:
    """A part of a job that one worker has for the time of a lease.

    Attributes:
        first: The key of its first input.
        size: The number of its inputs; the last shard may have fewer.
        until: When the last request may leave, on `clock`.
        limits: Its part of the concurrency and rate of the job, which changes while it is worked on.
    """

    job: int
    number: int
    first: int
    size: int
    owner: str
    until: float
    limits: PoolLimits = field(default_factory=lambda: PoolLimits(0))

    @property
    def is_lost(self) -> bool:
        """Whether no request may leave any more."""
        return clock() >= self.until


class _Write(NamedTuple):
    """A change of one row: what it must be, from what it is."""

    key: int
    change: "Callable[[Row | None], Row | None]"
    future: "Future[Any]"
    is_submission: bool = False
    survives: bool = False  # it is written also when the lease is over

    def set(self, result: Any) -> None:
        """End the future: with a value, or an exception."""
        if isinstance(result, Exception):
            self.future.set_exception(result)
        else:
            self.future.set_result(result)


class PostgresJournal:
    """The rows of a shard; `unitask.bulk.Journal` on PostgreSQL. Keys count from the first input of the shard.

    While the database cannot be reached, no future is done, so nothing is sent; the connection is made again.
    """

    def __init__(self, url: str, shard: Shard) -> None:
        self.shard = shard
        self._database = Database(url)
        self._queue: SimpleQueue[_Write | None] = SimpleQueue()
        self._closing = threading.Lock()
        self._is_closed = False
        self._writer = threading.Thread(target=self._run, name=f"journal of shard {shard.number}", daemon=True)
        self._writer.start()

    @property
    def limits(self) -> PoolLimits:
        """The part of the concurrency and rate of the job that this shard has now."""
        return self.shard.limits

    def begin(self, job: Job) -> None:
        """Refuse a client of another account; the money limit is the one of the job in the database."""
        query = "SELECT account, base_url FROM job WHERE id = %s"
        account, base_url = self._database.run(lambda at: at.execute(query, (self.shard.job,)).fetchone() or ("", ""))
        if account != job.account:
            raise InvalidInput(
                f"job {self.shard.job} belongs to another account, at {base_url}, and this client is for "
                f"{job.base_url}: use the key and base_url of that job",
                undone="nothing was sent",
            )

    def rows(self) -> Iterable[Row]:
        """Return the rows in the order of their keys.

        If one of them is to be searched, rows of other shards follow, with the ids of tasks that are not the one.
        """
        job, first, end = self.shard.job, self.shard.first, self.shard.first + self.shard.size

        def read(at: Cursor) -> list[Row]:
            rows = read_rows(at, job, first, end)
            if any(row.task_id is None for row in rows):
                others = at.execute(OTHERS, (job, first, end)).fetchall()
                rows += [Row(key, "", RowState.SENT, "", task_id, 0, 0, None) for key, task_id in others]
            return rows

        return [row._replace(key=row.key - first) for row in self._database.run(read)]

    def totals(self) -> Totals:
        """Return the sums over all rows of the job, of all workers."""
        return self._database.run(lambda at: read_totals(at, self.shard.job))

    def intent(self, key: int, digest: str, intent: str, held: int) -> "Future[Verdict]":
        """Add a row in state SENDING, within the money limit of the job and the lease of the shard."""
        new = Row(key, digest, RowState.SENDING, intent, None, held, 0, None)

        def change(row: Row | None) -> Row:
            if row is not None and row._replace(key=key) != new:  # the same one: written before the connection broke
                raise _unfit(key, row)
            return new

        return self._put(key, change, is_submission=True)

    def accepted(self, key: int, task_id: str) -> "Future[None]":
        """Record the task of a row that is SENDING or UNKNOWN; also after the lease, so that its id is not lost."""

        def change(row: Row | None) -> Row:
            if row is not None and row.task_id == task_id:
                return row
            if row is None or row.state not in (RowState.SENDING, RowState.UNKNOWN):
                raise _unfit(key, row)
            return row._replace(state=RowState.SENT, task_id=task_id)

        return self._put(key, change, survives=True)

    def withdrawn(self, key: int) -> "Future[None]":
        """Delete a row that is SENDING or UNKNOWN."""

        def change(row: Row | None) -> None:
            if row is not None and row.state not in (RowState.SENDING, RowState.UNKNOWN):
                raise _unfit(key, row)

        return self._put(key, change)

    def ended(self, key: int, state: RowState, outcome: str, spent: int) -> "Future[None]":
        """Record DONE, FAILED or UNKNOWN; UNKNOWN keeps the money held."""

        def change(row: Row | None) -> Row:
            if row is None or (row.state not in _OPEN and row.state is not state):
                raise _unfit(key, row)
            held = row.held if state is RowState.UNKNOWN else 0
            return row._replace(state=state, held=held, spent=spent, outcome=outcome)

        return self._put(key, change)

    def written(self, key: int, files: Sequence[str]) -> "Future[None]":
        """Record the files of a row."""

        def change(row: Row | None) -> Row:
            if row is None:
                raise _unfit(key, row)
            return row._replace(files=tuple(files))

        return self._put(key, change)

    def check(self) -> None:
        """Raise JournalError if the lease of this worker is over, or nearly."""
        if self.shard.is_lost:
            raise JournalError(LOST)

    def close(self) -> None:
        """Write what waits, unless the database cannot be reached, and close the connection."""
        with self._closing:
            if self._is_closed:
                return
            self._is_closed = True
            self._queue.put(None)
        self._writer.join(timeout=SAFE_PART * 30)
        self._database.close()
        self._writer.join()

    def _put(self, key: int, change: "Callable[[Row | None], Row | None]", **options: bool) -> "Future[Any]":
        future = Future[Any]()
        future.set_running_or_notify_cancel()  # it is written, even if its caller is cancelled
        with self._closing:
            if self._is_closed:
                raise JournalError(f"the journal of shard {self.shard.number} is closed")
            self._queue.put(_Write(self.shard.first + key, change, future, **options))
        return future

    def _run(self) -> None:
        """Write until the journal is closed; a thread runs this. One transaction holds all that waits."""
        is_last, begun = False, 0.0
        while not is_last:
            writes = [self._queue.get()]
            time.sleep(max(0.0, begun + GATHERING - time.monotonic()))
            begun = time.monotonic()
            try:
                while True:
                    writes.append(self._queue.get_nowait())
            except Empty:
                pass
            is_last = writes[-1] is None
            self._write([write for write in writes if write is not None])

    def _write(self, writes: Sequence[_Write]) -> None:
        if not writes:
            return
        try:
            results = self._database.run(lambda at: self._transaction(at, writes))
        except (psycopg.Error, ValueError) as error:  # one of them has a value that the database refuses
            if len(writes) > 1:
                for write in writes:
                    self._write([write])
                return
            results = [JournalError(f"the database refused a change of row {writes[0].key}: {error}")]
        except Exception as error:
            results = [error] * len(writes)
        for write, result in zip(writes, results, strict=True):
            write.set(result)

    def _transaction(self, at: Cursor, writes: Sequence[_Write]) -> list[Any]:
        """Change the rows and the money of the job; return the result of each change."""
        shard = self.shard
        (limit, held, spent) = at.execute(LOCK_JOB, (shard.job,)).fetchone() or (0, 0, 0)
        (is_ours,) = at.execute(LOCK_SHARD, (shard.owner, shard.job, shard.number)).fetchone() or (False,)
        if not is_ours:
            shard.until = -math.inf
        found = at.execute(
            TASKS + " AND key = ANY(%s) FOR UPDATE", (shard.job, [write.key for write in writes])
        ).fetchall()
        before: dict[int, Row | None] = {row[0]: _row(row) for row in found}
        after = dict(before)
        room = None if limit is None else limit - held - spent
        results = list[Any]()
        for write in writes:
            old = after.get(write.key)
            try:
                if not is_ours and not write.survives:
                    raise JournalError(LOST)
                new = write.change(old)
            except JournalError as error:
                results.append(Verdict.LOST if write.is_submission and not is_ours else error)
                continue
            cost = _money(new) - _money(old)
            if write.is_submission and room is not None and cost > room:
                results.append(Verdict.OVER)
                continue
            room = None if room is None else room - cost
            after[write.key] = None if new is None else new._replace(key=write.key)
            results.append(Verdict.GO if write.is_submission else None)
        store_rows(at, shard.job, before, after)
        return results


def read_rows(at: Cursor, job: int, first: int = 0, end: int = 2**31 - 1) -> list[Row]:
    """Return the rows of a job whose key is at least `first` and below `end`."""
    rows = at.execute(TASKS + " AND key >= %s AND key < %s ORDER BY key", (job, first, end)).fetchall()
    return [_row(row) for row in rows]


def read_totals(at: Cursor, job: int) -> Totals:
    """Return the sums over all rows of a job."""
    held, spent = at.execute("SELECT held, spent FROM job WHERE id = %s", (job,)).fetchone() or (0, 0)
    counts = at.execute("SELECT state, count(*) FROM task WHERE job = %s GROUP BY state", (job,)).fetchall()
    return Totals(held, spent, dict.fromkeys(RowState, 0) | {RowState(state): tasks for state, tasks in counts})


def store_rows(at: Cursor, job: int, before: Mapping[int, Row | None], after: Mapping[int, Row | None]) -> None:
    """Write the rows that differ, and the difference of their money."""
    changed = {key: row for key, row in after.items() if row != before.get(key)}
    present = [row for row in changed.values() if row is not None]
    if present:
        values = [(*row[:8], json.dumps(row.files)) for row in present]
        at.execute(WRITE_TASKS, (job, *(list(column) for column in zip(*values, strict=True))))
    if gone := [key for key, row in changed.items() if row is None]:
        at.execute(DELETE_TASKS, (job, gone))
    old = [row for row in (before.get(key) for key in changed) if row is not None]
    held = sum(row.held for row in present) - sum(row.held for row in old)
    spent = sum(row.spent for row in present) - sum(row.spent for row in old)
    if held or spent:
        at.execute(COUNT_MONEY, (held, spent, job))


def _row(values: tuple[Any, ...]) -> Row:
    key, digest, state, intent, task_id, held, spent, outcome, files = values
    return Row(key, digest, RowState(state), intent, task_id, held, spent, outcome, tuple(json.loads(files)))


def _money(row: Row | None) -> int:
    return 0 if row is None else row.held + row.spent


def _unfit(key: int, row: Row | None) -> JournalError:
    state = "missing" if row is None else f"in the state {row.state.value!r}"
    return JournalError(f"row {key} is {state}, so this change was not written")


def _unreachable(error: Exception) -> JournalError:
    return JournalError(
        f"the database of the job cannot be used: {str(error).strip()}: check that it runs, that the URL is right and "
        "that its disk has room. Then start the worker again: it goes on"
    )
