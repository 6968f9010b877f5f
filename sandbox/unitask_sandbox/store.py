"""The database: accounts, ledger, tasks and the list of files, in one SQLite file.

Every transaction is on the disk before its method returns. Money moves only together with its task, in one transaction,
and every movement is an entry of the ledger: balance + frozen + consumed = starting balance. A status changes only from
one that the caller names, so of two changes that race one wins.
"""

import json
import math
import sqlite3
import threading
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from unitask_sandbox.data_dir import Damaged, held, opening, prepare
from unitask_sandbox.task import Task

_COLUMNS = tuple(field.name for field in fields(Task))
_JSON = frozenset({"config", "input", "output", "meta", "logs", "error", "legacy"})
_NAMES = ", ".join(_COLUMNS)
_INSERT_TASK = f"INSERT INTO tasks ({_NAMES}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608
_UNDER_WAY = "status IN ('pending', 'processing')"
_SELECT_TASK = f"SELECT {_NAMES} FROM tasks"  # noqa: S608 - column names, from the class
_SELECT_ONE = f"{_SELECT_TASK} WHERE task_id = ?"

OUTPUTS_KEPT = 3 * 86400.0  # seconds; doc.qubico.ai/output-storage, 2025-08-31
UPLOADS_KEPT = 86400.0  # seconds; piapi.ai, ephemeral-resource page, 2025
WEBHOOK_PAUSE = 5.0  # seconds between two attempts to send a webhook
LEAST_JUMP = 1.0  # seconds by which a clock is set back; less may be two threads that read it
RECENT_SIZE = 2**26  # characters of the inputs that are kept in memory
BUSY_SECONDS = 5.0  # that a request waits for the database while another one, or another process, writes to it


@dataclass(frozen=True, slots=True)
class Account:
    """Money of one API key, in credits, and the number that the account is shown by."""

    number: int
    starting: int
    balance: int
    frozen: int


class NoRoom(Exception):
    """The account has as many tasks under way as it may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a task ends; only a completed task is charged.

    `credits` are taken, as far as the account has them, if nothing was taken or frozen when the task was accepted.
    """

    status: str
    at: float
    output: dict[str, Any] | None = None
    files: tuple[str, ...] = ()
    meta: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    credits: int = 0


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to send a webhook."""

    at: float  # when it was over: unix seconds
    endpoint: str  # the address it was sent to, without query and user
    status: int | None  # the HTTP status of the answer; None when none came
    error: str = ""  # why none came; empty when one did

    @property
    def delivered(self) -> bool:
        """Whether the answer is 2xx."""
        return self.status is not None and 200 <= self.status < 300


class _RecentInputs(dict[str, str]):
    """The inputs of the newest tasks as JSON, by task id, in memory alone: the page shows them after the end."""

    def __init__(self) -> None:
        super().__init__()
        self._size = 0

    def add(self, task_id: str, text: str) -> None:
        """Add an input; the oldest ones are dropped when all together are too large."""
        self._size += len(text) - len(self.pop(task_id, ""))
        self[task_id] = text
        while self._size > RECENT_SIZE:
            self._size -= len(self.pop(next(iter(self))))


class Store:
    """The database; any thread may call any method. A file beside it is locked, so that no second sandbox uses it.

    With `durable`, what is written outlives a power failure; that costs some milliseconds each time.
    """

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        self._writing, self._reading = threading.Lock(), threading.Lock()
        self._latest = math.inf  # time that `heed_clock` was given
        self._recent = _RecentInputs()
        with ExitStack() as opened, opening(path):
            lock = path.with_suffix(".lock")
            with opening(lock):
                opened.enter_context(closing(held(lock)))
            self._writer = opened.enter_context(closing(_connection(path, durable=durable)))
            (found,) = self._writer.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise Damaged(path, " ".join(str(found).replace("***", "").split()))
            with self._transaction() as db:
                prepare(db, path)
            self._check_values(path)
            self._reader = opened.enter_context(closing(_connection(path, durable=durable)))
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Close the file."""
        with self._writing, self._reading:
            self._opened.close()

    def _check_values(self, path: Path) -> None:
        """Read every text that is parsed later: bytes that were changed inside of a page do not matter to SQLite."""
        for table, columns in (("tasks", sorted(_JSON)), ("inputs", ["input"])):
            valid = " AND ".join(f"json_valid({column})" for column in columns)
            query = f"SELECT rowid, {valid}, {', '.join(columns)} FROM {table}"  # noqa: S608 - names of ours
            for row in self._writer.execute(query):
                if not row[1]:
                    raise Damaged(path, f"row {row[0]} of the table {table} is not JSON")

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        if not self._writing.acquire(timeout=BUSY_SECONDS):
            raise sqlite3.OperationalError("database is locked")  # another process writes
        try:
            self._writer.rollback()  # does nothing, unless an earlier end failed
            self._writer.execute("BEGIN IMMEDIATE")
            yield self._writer
            self._writer.execute("COMMIT")
        except BaseException:
            self._writer.rollback()
            raise
        finally:
            self._writing.release()

    def _rows(self, query: str, *values: object) -> list[Any]:
        with self._reading:
            return self._reader.execute(query, values).fetchall()

    def _changed(self, query: str, *values: object) -> bool:
        """Make one change in a transaction of its own; return whether it concerned any row."""
        with self._transaction() as db:
            return bool(db.execute(query, values).rowcount)

    def back_up(self, path: Path) -> None:
        """Write a copy of the database to a new file."""
        with self._writing, closing(sqlite3.connect(path)) as copy:
            self._writer.backup(copy)

    def schema(self, db: sqlite3.Connection | None = None) -> list[tuple[str, str]]:
        """Return the tables and indexes of a database, by default of this one, as they were created."""
        rows = "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name"
        return self._rows(rows) if db is None else db.execute(rows).fetchall()

    def load(
        self, path: Path | None, accounts: Mapping[str, int], install: Callable[[set[str]], set[str]] = set
    ) -> None:
        """Replace everything by what is in a copy (`back_up`), or by nothing; in one transaction.

        Accounts that are not in it begin with their starting balance. `install` puts the files in place that are
        listed, and returns those that are there.

        Raises:
            sqlite3.DatabaseError: The copy does not fit; nothing has changed.
        """
        with self._attached(path), self._transaction() as db:
            db.execute("PRAGMA defer_foreign_keys = ON")
            for (table,) in db.execute("SELECT name FROM main.sqlite_schema WHERE type = 'table'").fetchall():
                db.execute(f"DELETE FROM main.{table}")  # noqa: S608 - a table of ours
                if path is not None:
                    db.execute(f"INSERT INTO main.{table} SELECT * FROM loaded.{table} ORDER BY rowid")  # noqa: S608
            _open_accounts(db, accounts)
            if db.execute("PRAGMA foreign_key_check").fetchone():
                raise sqlite3.IntegrityError("a row refers to one that is missing")
            listed = {name for (name,) in db.execute("SELECT name FROM main.files")}
            for name in listed - install(listed):
                db.execute("DELETE FROM main.files WHERE name = ?", (name,))
            self._latest = math.inf
            self._recent = _RecentInputs()

    @contextmanager
    def _attached(self, path: Path | None) -> Generator[None]:
        if path is None:
            yield
            return
        with self._writing:
            self._writer.execute("ATTACH ? AS loaded", (str(path),))
        try:
            yield
        finally:
            with self._writing:
                self._writer.execute("DETACH loaded")

    def open_accounts(self, accounts: Mapping[str, int]) -> None:
        """Make those accounts that there are not yet, with their starting balance."""
        with self._transaction() as db:
            _open_accounts(db, accounts)

    def overview(self) -> list[tuple[str, Account, dict[str, int]]]:
        """Return every account with its id, its money and how many tasks it has by status."""
        accounts = self._rows("SELECT account, rowid, starting, balance, frozen FROM accounts ORDER BY rowid")
        counts = self._rows("SELECT account, status, COUNT(*) FROM tasks GROUP BY account, status ORDER BY status")
        return [
            (name, Account(*money), {status: count for owner, status, count in counts if owner == name})
            for name, *money in accounts
        ]

    def account(self, account: str) -> Account:
        """Return an account, which must exist."""
        (row,) = self._rows("SELECT rowid, starting, balance, frozen FROM accounts WHERE account = ?", account)
        return Account(*row)

    def ledger(self, account: str) -> list[tuple[str, str, int]]:
        """Return every movement of an account, oldest first: task id, reason, credits."""
        return self._rows("SELECT task_id, reason, credits FROM ledger WHERE account = ? ORDER BY entry", account)

    def movements(self, task_id: str) -> list[tuple[float, str, int]]:
        """Return every movement of money for a task, oldest first: time, reason, credits."""
        return self._rows("SELECT at, reason, credits FROM ledger WHERE task_id = ? ORDER BY entry", task_id)

    def accept(self, task: Task, given: dict[str, Any], webhook: str | None, limit: int | None) -> bool:
        """Add a task and its input, and take or freeze its price; False, and nothing happens, without the money."""
        with self._transaction() as db:
            query = f"SELECT COUNT(*) FROM tasks WHERE account = ? AND {_UNDER_WAY}"  # noqa: S608
            ((under_way,),) = db.execute(query, (task.account,))
            if limit is not None and under_way >= limit:
                raise NoRoom
            paid = db.execute(
                """UPDATE accounts SET balance = balance - :price, frozen = frozen + :frozen
                   WHERE account = :account AND balance >= :price""",
                {"price": task.frozen + task.consume, "frozen": task.frozen, "account": task.account},
            )
            if not paid.rowcount:
                return False
            _enter(db, task, task.created_at, "freeze", -task.frozen)
            _enter(db, task, task.created_at, "charge", -task.consume)
            db.execute(_INSERT_TASK, _row(task))
            db.execute("INSERT INTO inputs VALUES (?, ?)", (task.task_id, text := json.dumps(given)))
            if webhook is not None:
                db.execute("INSERT INTO webhooks (task_id, base_url) VALUES (?, ?)", (task.task_id, webhook))
            self._recent.add(task.task_id, text)
        return True

    def record(self, task: Task) -> None:
        """Add a task that has ended before it began."""
        with self._transaction() as db:
            db.execute(_INSERT_TASK, _row(task))
            _forget_webhook(db, task.task_id)

    def task(self, task_id: str) -> Task | None:
        """Return a task of any account; None when there is none."""
        rows = self._rows(_SELECT_ONE, task_id)
        return _task(rows[0]) if rows else None

    def given(self, task_id: str) -> dict[str, Any]:
        """Return the input of a task; empty when the task has ended."""
        rows = self._rows("SELECT input FROM inputs WHERE task_id = ?", task_id)
        read: dict[str, Any] = json.loads(rows[0][0]) if rows else {}
        return read

    def recent_input(self, task_id: str) -> dict[str, Any] | None:
        """Return the input of a task, also of one that has ended; None when it is not kept any more."""
        text = self._recent.get(task_id)
        read: dict[str, Any] | None = json.loads(text) if text else self.given(task_id) or None
        return read

    def due(self, status: str, now: float) -> list[str]:
        """Return the tasks of a status that are to move by now, the longest due first."""
        query = "SELECT task_id FROM tasks WHERE status = ? AND due_at <= ? ORDER BY due_at, rowid"
        return [task_id for (task_id,) in self._rows(query, status, now)]

    def next_time(self, table: Literal["tasks", "webhooks", "files"], after: float = -math.inf) -> float | None:
        """Return when the next task is to move, webhook to be sent, or file to expire, after a time; None for none."""
        column = "expires_at" if table == "files" else "due_at"
        ((time,),) = self._rows(f"SELECT MIN({column}) FROM {table} WHERE {column} > ?", after)  # noqa: S608 - ours
        return None if time is None else float(time)

    def heed_clock(self, now: float) -> None:
        """Plan nothing later than its whole duration from now: at the first call, and when the clock was set back."""
        if now < self._latest - LEAST_JUMP:
            with self._transaction() as db:
                whole = "CASE status WHEN 'processing' THEN seconds ELSE MAX(0, due_at - created_at) END"
                change = f"UPDATE tasks SET due_at = MIN(due_at, ? + {whole}) WHERE due_at IS NOT NULL"  # noqa: S608
                db.execute(change, (now,))
                change = "UPDATE webhooks SET due_at = MIN(due_at, ?) WHERE due_at IS NOT NULL"
                db.execute(change, (now + WEBHOOK_PAUSE,))
                db.execute("UPDATE files SET expires_at = MIN(expires_at, ?)", (now + OUTPUTS_KEPT,))
            self._latest = now
        self._latest = max(self._latest, now)

    def start(self, task_id: str, now: float) -> bool:
        """Begin processing a pending task; False when it is not pending any more."""
        query = """UPDATE tasks SET status = 'processing', started_at = ?, due_at = ? + seconds
                   WHERE task_id = ? AND status = 'pending'"""
        return self._changed(query, now, now, task_id)

    def end(self, task_id: str, ending: Ending, *, before: Iterable[str]) -> bool:
        """End a task whose status is one of those in `before`; False, and nothing happens, when it has another."""
        with self._transaction() as db:
            row = db.execute(_SELECT_ONE, (task_id,)).fetchone()
            task = row and _task(row)
            if task is None or task.status not in before:
                return False
            query = """UPDATE tasks SET status = ?, ended_at = ?, due_at = NULL, output = ?, meta = ?, error = ?
                       WHERE task_id = ?"""
            shown = (ending.output, ending.meta or {}, ending.error or task.error)
            db.execute(query, (ending.status, ending.at, *map(json.dumps, shown), task_id))
            _settle(db, task, ending)
            db.execute("DELETE FROM inputs WHERE task_id = ?", (task_id,))
            planned = db.execute("UPDATE webhooks SET due_at = ? WHERE task_id = ?", (ending.at, task_id))
            if ending.status == "cancelled" or not planned.rowcount:
                _forget_webhook(db, task_id)
            for name in ending.files:
                db.execute("INSERT INTO files VALUES (?, ?, ?)", (name, task_id, ending.at + OUTPUTS_KEPT))
        return True

    def due_webhooks(self, now: float) -> list[tuple[Task, str, int]]:
        """Return the webhooks to send by now, the longest due first: task, base of its addresses, attempts so far."""
        columns = ", ".join(f"tasks.{name}" for name in _COLUMNS)
        query = f"""SELECT base_url, attempts, {columns} FROM webhooks JOIN tasks USING (task_id)
                    WHERE webhooks.due_at <= ? ORDER BY webhooks.due_at, webhooks.rowid"""  # noqa: S608
        return [(_task(row[2:]), row[0], row[1]) for row in self._rows(query, now)]

    def keep_attempt(self, task_id: str, attempt: Attempt | None, until: float | None, attempts: int) -> None:
        """Store an attempt to send a webhook, if one was made; after the last (`until` is None), remove the secret."""
        with self._transaction() as db:
            if attempt is not None:
                row = (task_id, attempt.at, attempt.endpoint, attempt.status, attempt.error)
                db.execute("INSERT INTO webhook_attempts VALUES (?, ?, ?, ?, ?)", row)
            query = "UPDATE webhooks SET attempts = ?, due_at = ? WHERE task_id = ?"
            db.execute(query, (attempts, until, task_id))
            if until is None:
                _forget_webhook(db, task_id)

    def attempts(self, task_id: str) -> list[Attempt]:
        """Return every attempt to send a task's webhook, oldest first."""
        query = "SELECT at, endpoint, status, error FROM webhook_attempts WHERE task_id = ? ORDER BY rowid"
        return [Attempt(*row) for row in self._rows(query, task_id)]

    def of_account(self, account: str, statuses: Iterable[str], created_before: float) -> list[Task]:
        """Return an account's tasks of some statuses, created before a time."""
        wanted = json.dumps(sorted(statuses))
        where = "account = ? AND created_at < ? AND status IN (SELECT value FROM json_each(?))"
        return [_task(row) for row in self._rows(f"{_SELECT_TASK} WHERE {where}", account, created_before, wanted)]

    def history(
        self, account: str, start: float, end: float, models: Iterable[str] | None, limit: int, offset: int
    ) -> tuple[int, list[tuple[int, Task]]]:
        """Return how many tasks an account created in a time (both ends included), and a page of them, newest first.

        Each comes with its number. None for `models`: of every model.
        """
        wanted = None if models is None else json.dumps(list(models))
        where = """account = ? AND created_at BETWEEN ? AND ?
                   AND (? IS NULL OR model IN (SELECT value FROM json_each(?)))"""
        given = (account, start, end, wanted, wanted)
        ((total,),) = self._rows(f"SELECT COUNT(*) FROM tasks WHERE {where}", *given)  # noqa: S608
        page = f"SELECT rowid, {_NAMES} FROM tasks WHERE {where} ORDER BY created_at DESC, rowid DESC LIMIT ? OFFSET ?"  # noqa: S608
        rows = self._rows(page, *given, limit, offset)
        return total, [(row[0], _task(row[1:])) for row in rows]

    def keep_file(self, name: str, expires_at: float) -> None:
        """Serve a file that is of no task, until a time."""
        self._changed("INSERT INTO files VALUES (?, NULL, ?)", name, expires_at)

    def is_used(self, given: str) -> bool:
        """Return whether an id is that of a task, of a file that is of no task, or ends that of an asset."""
        query = """SELECT 1 FROM tasks WHERE task_id = ? UNION ALL SELECT 1 FROM files WHERE name LIKE ?
                   UNION ALL SELECT 1 FROM assets WHERE asset_id LIKE ?"""
        return bool(self._rows(query, given, f"ephemeral/{given}.%", f"%-{given[-12:]}"))

    def files(self) -> set[str]:
        """Return the names of all files, expired ones included until they are removed."""
        return {name for (name,) in self._rows("SELECT name FROM files")}

    def keep_asset(self, account: str, asset_id: str, url: str, active_at: float) -> None:
        """Store the address of an asset of an account; it can be used from a time on."""
        self._changed("INSERT INTO assets VALUES (?, ?, ?, ?)", asset_id, account, url, active_at)

    def assets(self, account: str) -> list[tuple[str, str, float]]:
        """Return the assets of an account, oldest first: id, address, from when they can be used."""
        return self._rows("SELECT asset_id, url, active_at FROM assets WHERE account = ? ORDER BY rowid", account)

    def file_is_kept(self, name: str, now: float) -> bool:
        """Return whether there is such a file that has not expired."""
        return bool(self._rows("SELECT 1 FROM files WHERE name = ? AND expires_at > ?", name, now))

    def forget_expired_files(self, now: float) -> list[str]:
        """Take expired files off the list and return their names."""
        with self._transaction() as db:
            return [name for (name,) in db.execute("DELETE FROM files WHERE expires_at <= ? RETURNING name", (now,))]


def _connection(path: Path, *, durable: bool) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=BUSY_SECONDS, check_same_thread=False, isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
        db.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        db.close()
        raise
    return db


def _row(task: Task) -> list[Any]:
    values = {name: getattr(task, name) for name in _COLUMNS}
    return [json.dumps(value) if name in _JSON else value for name, value in values.items()]


def _task(row: tuple[Any, ...]) -> Task:
    values = dict(zip(_COLUMNS, row, strict=True))
    return Task(**{name: json.loads(value) if name in _JSON else value for name, value in values.items()})


def _open_accounts(db: sqlite3.Connection, accounts: Mapping[str, int]) -> None:
    query = "INSERT OR IGNORE INTO accounts (account, starting, balance) VALUES (?, ?, ?)"
    db.executemany(query, [(account, starting, starting) for account, starting in accounts.items()])


def _enter(db: sqlite3.Connection, task: Task, at: float, reason: str, credits_: int) -> None:
    if credits_:
        entry = (task.account, task.task_id, at, reason, credits_)
        db.execute("INSERT INTO ledger (account, task_id, at, reason, credits) VALUES (?, ?, ?, ?, ?)", entry)


def _forget_webhook(db: sqlite3.Connection, task_id: str) -> None:
    db.execute("DELETE FROM webhooks WHERE task_id = ?", (task_id,))
    query = """UPDATE tasks SET config = json_set(config, :place, '')
               WHERE task_id = :task_id AND json_extract(config, :place) <> ''"""
    db.execute(query, {"place": "$.webhook_config.secret", "task_id": task_id})


def _settle(db: sqlite3.Connection, task: Task, ending: Ending) -> None:
    """Release what is frozen for a task, and take it if the task is completed; else refund what was taken."""
    frozen = task.frozen if task.ended_at is None else 0
    taken = task.consume + frozen if ending.status == "completed" else 0
    if not task.consume and not frozen and ending.credits:
        ((balance,),) = db.execute("SELECT balance FROM accounts WHERE account = ?", (task.account,))
        taken = min(ending.credits, balance)
    _enter(db, task, ending.at, "release", frozen)
    _enter(db, task, ending.at, "charge" if taken > task.consume else "refund", task.consume - taken)
    db.execute(
        "UPDATE accounts SET balance = balance + ?, frozen = frozen - ? WHERE account = ?",
        (frozen + task.consume - taken, frozen, task.account),
    )
    db.execute("UPDATE tasks SET consume = ? WHERE task_id = ?", (taken, task.task_id))
