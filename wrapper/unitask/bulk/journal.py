"""The journal of a job in one SQLite file.

Rules of this file: one thread writes; a transaction holds all that came since the last one, and begins at least 25 ms
after it. A future is done after its commit. A change that could not be written is kept, and written before the next
one, unless it is an intent. FILE-reserve keeps room on the disk for the changes of tasks that were sent: when the disk
is full, it is deleted, and an intent fails until it can be made again. The process that writes holds a lock of the
system on FILE-lock, which ends with the process. Totals are kept by triggers.
"""

import errno
import json
import math
import os
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import closing, contextmanager, suppress
from itertools import chain
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, NamedTuple, Self

from .._core.journal import Job, Row, RowState, Totals, Verdict
from ..download import keep_names
from ..errors import InvalidInput, JournalError

APPLICATION: Final = 0x756A6F62  # "ujob", in the header of the file
VERSION: Final = 1
BUSY_SECONDS: Final = 30.0  # for which another program may write to the file
PAGE: Final = 1000  # rows that are read at once
SCHEMA: Final = """
CREATE TABLE job (account TEXT, base_url TEXT, money_limit INTEGER, kind TEXT, created INTEGER NOT NULL);
CREATE TABLE task (
    key INTEGER PRIMARY KEY, digest TEXT NOT NULL, state TEXT NOT NULL, intent TEXT NOT NULL, task_id TEXT,
    held INTEGER NOT NULL, spent INTEGER NOT NULL, outcome TEXT, files TEXT NOT NULL DEFAULT '[]'
);
CREATE TABLE totals (state TEXT PRIMARY KEY, tasks INTEGER, held INTEGER, spent INTEGER) WITHOUT ROWID;
INSERT INTO job (created) VALUES (strftime('%s', 'now'));
INSERT INTO totals SELECT column1, 0, 0, 0 FROM (VALUES ('sending'), ('sent'), ('done'), ('failed'), ('unknown'));
CREATE TRIGGER task_added AFTER INSERT ON task BEGIN
    UPDATE totals SET tasks = tasks + 1, held = held + new.held, spent = spent + new.spent WHERE state = new.state;
END;
CREATE TRIGGER task_changed AFTER UPDATE OF state, held, spent ON task BEGIN
    UPDATE totals SET tasks = tasks - 1, held = held - old.held, spent = spent - old.spent WHERE state = old.state;
    UPDATE totals SET tasks = tasks + 1, held = held + new.held, spent = spent + new.spent WHERE state = new.state;
END;
CREATE TRIGGER task_removed AFTER DELETE ON task BEGIN
    UPDATE totals SET tasks = tasks - 1, held = held - old.held, spent = spent - old.spent WHERE state = old.state;
END;
"""
# Each kind of change, for any number of rows: `{}` stands for their values, which are column1, column2 and so on.
BEGUN: Final = (
    "UPDATE job SET account = column1, base_url = column2, money_limit = column3, kind = column4 FROM (VALUES {})"
)
INTENT: Final = (
    "INSERT OR IGNORE INTO task (key, digest, state, intent, held, spent) "
    "SELECT column1, column2, 'sending', column3, column4, 0 FROM (VALUES {})"
)
ACCEPTED: Final = (
    "UPDATE task SET state = 'sent', task_id = column2 FROM (VALUES {}) "
    "WHERE key = column1 AND state IN ('sending', 'unknown')"
)
WITHDRAWN: Final = "DELETE FROM task WHERE key IN (VALUES {}) AND state IN ('sending', 'unknown')"
ENDED: Final = (
    "UPDATE task SET state = column2, outcome = column3, spent = column4, held = 0 FROM (VALUES {}) "
    "WHERE key = column1 AND state IN ('sending', 'sent', 'unknown')"
)
PARKED: Final = ENDED.replace(", held = 0", "")
WRITTEN: Final = "UPDATE task SET files = column2 FROM (VALUES {}) WHERE key = column1"
IN_ORDER: Final = (BEGUN, ACCEPTED, WITHDRAWN, ENDED, PARKED, WRITTEN, INTENT)  # released money is free for intents
MOST: Final = 1000  # changes in one transaction
RESERVE: Final = 1 << 20  # bytes on the disk for what becomes known of submissions that are under way when it is full
SPACING: Final = 0.025  # seconds between the beginnings of two transactions; each one costs as much as ten changes
CLOSE: Final = "Close the journal, which writes the file again, and start the job again with it: it goes on"
AGAIN: Final = "Then start the job again with this file: it goes on"
ANOTHER: Final = "Give another file, or move this one away"
WHAT_TO_DO: Final = {  # by SQLite's error code
    sqlite3.SQLITE_FULL: f"make room on the disk. {AGAIN}",
    sqlite3.SQLITE_READONLY: f"let this process write the file and its folder. {AGAIN}",
    sqlite3.SQLITE_CANTOPEN: "give a file in a folder that exists, and let this process write both",
    sqlite3.SQLITE_BUSY: f"end the other program that writes this file. {AGAIN}",
    sqlite3.SQLITE_CORRUPT: "it is damaged: take it from a backup",
    sqlite3.SQLITE_NOTADB: f"it is damaged, or is not a journal. {ANOTHER}",
}


class _Write(NamedTuple):
    sql: str
    values: tuple[Any, ...]  # of a row, its key first
    future: "Future[Any]"


class JournalReader:
    """Reads a journal, also while another process writes it."""

    def __init__(self, path: str | Path) -> None:
        self.path: Path = Path(path).resolve()
        if not self.path.exists():
            made = "`unitask bulk FILE --to DIR` makes FILE.db beside FILE"
            raise JournalError(f"there is no journal {self.path}: {made}")
        with self._reading() as db:
            _check(db, self.path)

    @property
    def job(self) -> Job | None:
        """The job of this journal; None before it began."""
        with self._reading() as db:
            account, *rest = db.execute("SELECT account, base_url, money_limit, kind FROM job").fetchone()
        return None if account is None else Job(account, *rest)

    def rows(self) -> Iterator[Row]:
        """Return the rows in the order of their keys."""
        last = -1
        while True:
            with self._reading() as db:
                query = "SELECT key, digest, state, intent, task_id, held, spent, outcome, files FROM task "
                rows = db.execute(f"{query} WHERE key > ? ORDER BY key LIMIT {PAGE}", (last,)).fetchall()
            for row in map(Row._make, rows):
                yield row._replace(state=RowState(row.state), files=tuple(json.loads(str(row.files))))
            if len(rows) < PAGE:
                return
            last = rows[-1][0]

    def totals(self) -> Totals:
        """Return the sums over all rows."""
        with self._reading() as db:
            sums = db.execute("SELECT state, tasks, held, spent FROM totals").fetchall()
        counts = {RowState(state): tasks for state, tasks, _, _ in sums}
        return Totals(sum(held for *_, held, _ in sums), sum(spent for *_, spent in sums), counts)

    @contextmanager
    def _reading(self) -> Generator[sqlite3.Connection]:
        uri = f"{self.path.as_uri()}?mode=ro"
        with _explaining(self.path), closing(sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS)) as db:
            yield db


class Journal(JournalReader):
    """The journal of a job in an SQLite file, which is made if it does not exist. One process writes it at a time.

    `client.map(..., journal=Journal("job.db"))` keeps each task in it: before it is sent, when it was accepted, and its
    end. The same call with the same file goes on where the last one stopped, also after the end of the process.

    Args:
        path: The file. It lies on a disk of this machine, not in a shared folder.

    Raises:
        JournalError: The file cannot be used, or another process writes it.

    Example:
        with Journal("job.db") as journal:
            for result in client.map(inputs, journal=journal):
                ...
    """

    limits: None = None  # one process has the whole job

    def __init__(self, path: str | Path) -> None:
        self.path: Path = Path(path).resolve()
        with _explaining(self.path):
            if self.path.is_file() and self.path.stat().st_size:
                super().__init__(self.path)
            self._lock = _locked(self.path)
            try:
                self._db = _opened(self.path)
            except BaseException:
                self._lock.close()
                raise
        self._files = _files(self.path)
        self._reserve, self._has_reserve = self.path.with_name(f"{self.path.name}-reserve"), False
        self._limit: int | None = None
        self._queue: SimpleQueue[_Write | None] = SimpleQueue()
        self._unsaved: list[_Write] = []  # changes that could not be written yet
        self._closing = threading.Lock()
        self._is_closed = False
        self._writer = threading.Thread(target=self._run, name=f"journal {self.path.name}", daemon=True)
        self._writer.start()

    def begin(self, job: Job) -> None:
        """Bind a new journal to a job; raise InvalidInput if it belongs to another account.

        A limit that is given replaces the one of the journal, as does its absence in a job that has a kind.
        """
        known = self.job
        if known is not None and known.account != job.account:
            raise InvalidInput(
                f"{self.path} belongs to a job of another account, at {known.base_url}, and this client is for "
                f"{job.base_url}: use the key and base_url of that job, or another file",
                undone="nothing was sent",
            )
        keeps = known is not None and job.limit is None and not job.kind
        limit = known.limit if known is not None and keeps else job.limit
        kind = known.kind if known is not None and not job.kind else job.kind
        self._put(BEGUN, job.account, job.base_url, limit, kind).result()
        self._limit = limit

    def intent(self, key: int, digest: str, intent: str, held: int) -> "Future[Verdict]":
        """Add a row in state SENDING, within the money limit."""
        return self._put(INTENT, key, digest, intent, held)

    def accepted(self, key: int, task_id: str) -> "Future[None]":
        """Record the task of a row that is SENDING or UNKNOWN."""
        return self._put(ACCEPTED, key, task_id)

    def withdrawn(self, key: int) -> "Future[None]":
        """Delete a row that is SENDING or UNKNOWN."""
        return self._put(WITHDRAWN, key)

    def ended(self, key: int, state: RowState, outcome: str, spent: int) -> "Future[None]":
        """Record DONE, FAILED or UNKNOWN; UNKNOWN keeps the money held."""
        sql = PARKED if state is RowState.UNKNOWN else ENDED
        return self._put(sql, key, state.value, outcome, spent)

    def written(self, key: int, files: Sequence[str]) -> "Future[None]":
        """Record the files of a row."""
        return self._put(WRITTEN, key, json.dumps(files))

    def check(self) -> None:
        """Do nothing: the one process that writes this file needs no lease."""

    def close(self) -> None:
        """Write what waits, and release the file. A file that was deleted meanwhile is written again.

        Raises:
            JournalError: A change could not be written.
        """
        with self._closing:
            if self._is_closed:
                return
            self._is_closed = True
            self._queue.put(None)
        self._writer.join()
        with _explaining(self.path), closing(self._lock):
            copy = self.path.with_name(f"{self.path.name}-copy")
            is_ours = _files(self.path)[:1] == self._files[:1]
            with closing(self._db):
                self._reserve.unlink(missing_ok=True)
                if self._unsaved:
                    self._transaction(_alone(self._unsaved), anywhere=True)
                if not is_ours:
                    with closing(sqlite3.connect(copy)) as target:
                        self._db.backup(target)
            if self.path.exists() and not is_ours:
                raise JournalError(f"{self.path} was replaced while the job ran: its rows are in {copy}")
            if not is_ours:
                copy.replace(self.path)
                keep_names(self.path.parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _put(self, sql: str, *values: Any) -> "Future[Any]":
        future = Future[Any]()
        with self._closing:
            if self._is_closed:
                raise JournalError(f"the journal {self.path} is closed: open it again")
            self._queue.put(_Write(sql, values, future))
        return future

    def _run(self) -> None:
        """Write until the journal is closed; a thread runs this."""
        begun = -math.inf
        while (write := self._queue.get()) is not None:
            time.sleep(max(0.0, begun + SPACING - time.monotonic()))  # others come meanwhile
            writes, begun = [write], time.monotonic()
            with suppress(Empty):
                while len(writes) < MOST:
                    if (more := self._queue.get_nowait()) is None:
                        self._queue.put(None)
                        break
                    writes.append(more)
            self._write(writes)

    def _write(self, writes: list[_Write]) -> None:
        """Write in one transaction; if it fails, each change in one of its own."""
        results: list[Any]
        try:
            results = self._transaction([*_alone(self._unsaved), *_of_different_rows(writes)])[len(self._unsaved) :]
            self._unsaved = []
        except Exception as error:
            has_room = _code_of(error) == sqlite3.SQLITE_FULL and self._release()
            if has_room or len(writes) > 1:
                for write in writes:
                    self._write([write])
                return
            if writes[0].sql not in (INTENT, BEGUN) and (_code_of(error) or isinstance(error, JournalError)):
                self._unsaved.append(writes[0])
            results = [_explained(error, self.path)]
        for write, result in zip(writes, results, strict=True):
            with suppress(InvalidStateError):  # its caller was cancelled; it is written all the same
                if isinstance(result, Exception):
                    write.future.set_exception(result)
                else:
                    write.future.set_result(result)

    def _transaction(self, groups: Sequence[Sequence[_Write]], *, anywhere: bool = False) -> list[Any]:
        """Make changes durable; return the result of each, which is an exception if it does not fit its row.

        The changes of a group are of different rows.
        """
        if not anywhere and _files(self.path) != self._files:
            raise JournalError(
                f"{self.path}, its -wal or its -lock was deleted or replaced while the job runs. {CLOSE}"
            )
        if not self._has_reserve and any(write.sql is INTENT for group in groups for write in group):
            self._keep_room()
        self._db.execute("BEGIN IMMEDIATE")
        try:
            results = [result for group in groups for result in self._apply(group)]
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        return results

    def _keep_room(self) -> None:
        """Write the reserve; raise OSError if the disk has no room for it."""
        try:
            self._reserve.write_bytes(os.urandom(RESERVE))  # zeros may take no room
        except OSError:
            self._reserve.unlink(missing_ok=True)
            raise
        self._has_reserve = True

    def _release(self) -> bool:
        """Delete the reserve, so that all but intents can be written; return whether there was one."""
        if not self._has_reserve:
            return False
        self._has_reserve = False
        self._reserve.unlink(missing_ok=True)
        return True

    def _apply(self, writes: Sequence[_Write]) -> list[Verdict | JournalError | None]:
        """Make changes of different rows: each kind in one statement, since each one costs a change of threads.

        Raises:
            JournalError: Several were to be made, and one of them does not fit its row.
        """
        kinds, unchanged = defaultdict[str, list[tuple[Any, ...]]](list), set[int | str]()
        for write in writes:
            kinds[write.sql].append(write.values)
        for sql in sorted(kinds, key=IN_ORDER.index):
            rows = kinds[sql]
            if sql is INTENT and self._limit is not None:
                rows = self._affordable(rows)
                unchanged.update({row[0] for row in kinds[sql]} - {row[0] for row in rows})
            marks = ", ".join([f"({', '.join('?' * len(kinds[sql][0]))})"] * len(rows))
            done = self._db.execute(sql.format(marks), [*chain.from_iterable(rows)]).rowcount if rows else 0
            if done < len(rows) and len(writes) > 1:
                raise JournalError(f"{self.path}: {len(rows) - done} of {len(rows)} changes do not fit their rows")
            unchanged.update(row[0] for row in rows[done:])
        return [self._result(write, write.values[0] not in unchanged) for write in writes]

    def _affordable(self, intents: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """Return the intents that fit within the money limit, in their order."""
        (kept,) = self._db.execute("SELECT sum(held) + sum(spent) FROM totals").fetchone()
        affordable: list[tuple[Any, ...]] = []
        for intent in intents:
            *_, held = intent
            if self._limit is None or kept + held <= self._limit:
                kept += held
                affordable.append(intent)
        return affordable

    def _result(self, write: _Write, is_changed: bool) -> Verdict | JournalError | None:
        if is_changed:
            return Verdict.GO if write.sql is INTENT else None
        key = write.values[0]
        row = self._db.execute("SELECT state FROM task WHERE key = ?", (key,)).fetchone()
        if write.sql is INTENT and row is None:
            return Verdict.OVER
        state = "missing" if row is None else f"in the state {row[0]!r}"
        return JournalError(f"{self.path}: row {key} is {state}, so this change was not written")


def _alone(writes: Sequence[_Write]) -> list[list[_Write]]:
    return [[write] for write in writes]


def _of_different_rows(writes: Sequence[_Write]) -> list[list[_Write]]:
    """Return writes in groups, in their order, so that no group has two of the same row."""
    groups, keys = list[list[_Write]](), set[object]()
    for write in writes:
        if not groups or write.values[0] in keys:
            groups.append([])
            keys.clear()
        groups[-1].append(write)
        keys.add(write.values[0])
    return groups


def _locked(path: Path) -> sqlite3.Connection:
    """Lock a journal until the connection is closed or the process ends, in whatever way."""
    lock = sqlite3.connect(
        path.with_name(f"{path.name}-lock"), timeout=0, isolation_level=None, check_same_thread=False
    )
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as error:
        lock.close()
        if _code_of(error) != sqlite3.SQLITE_BUSY:
            raise
        what = f"another process, or another Journal of this one, runs the job of {path}"
        raise JournalError(
            f"{what}: wait until it ends, or end it. `unitask bulk status` reads the file meanwhile"
        ) from None
    return lock


def _opened(path: Path) -> sqlite3.Connection:
    """Open a journal for writing; make it if the file does not exist or is empty."""
    db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        is_new = not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        _switch_to_wal(db)
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA fullfsync = ON")  # of macOS, where fsync alone does not reach the disk
        if is_new:
            header = f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION};"
            db.executescript(f"BEGIN IMMEDIATE; {header} {SCHEMA} COMMIT;")
        elif (found := db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise JournalError(f"{path} is damaged: {found}. Take it from a backup")
    except BaseException:
        db.close()
        raise
    return db


def _switch_to_wal(db: sqlite3.Connection) -> None:
    """Use a write-ahead log; try again while a reader keeps SQLite from it, which its busy timeout does not cover."""
    end = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if _code_of(error) != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return


def _check(db: sqlite3.Connection, path: Path) -> None:
    application, version = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
    if application != APPLICATION:
        raise JournalError(f"{path} is another database, not a journal of unitask. {ANOTHER}")
    if version != VERSION:
        this = f"and this unitask reads version {VERSION}: use the unitask that wrote it"
        raise JournalError(f"{path} is a journal of version {version}, {this}")


def _files(path: Path) -> list[int | None]:
    """Return what the system calls the file, its log and its lock; None for one that does not exist."""
    found: list[int | None] = []
    for name in (path, Path(f"{path}-wal"), Path(f"{path}-lock")):
        try:
            found.append(name.stat().st_ino)
        except FileNotFoundError:
            found.append(None)
    return found


@contextmanager
def _explaining(path: Path) -> Generator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise _explained(error, path) from error


def _explained(error: Exception, path: Path) -> JournalError:
    """Return an error that says what happened and what to do."""
    if isinstance(error, JournalError):
        return error
    code = _code_of(error)
    next_step = WHAT_TO_DO.get(code, f"check the disk. {AGAIN}")
    explained = JournalError(f"the journal {path} cannot be used: {error}: {next_step}")
    explained.__cause__ = error
    return explained


def _code_of(error: Exception) -> int:
    """Return SQLite's primary code of an error; 0 when it has none. A full disk has the same one outside SQLite."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return sqlite3.SQLITE_FULL
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF
