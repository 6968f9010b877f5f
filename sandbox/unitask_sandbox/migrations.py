"""The shape of the database, as the numbered steps that lead to it.

Rules of this file: a step that was released is never edited; a change is a new step at the end of `MIGRATIONS`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable


def create_accounts(db: sqlite3.Connection) -> None:
    """Accounts by the SHA-256 of their key; money in credits of 1e-7 USD, every movement in the ledger."""
    db.execute(
        """CREATE TABLE accounts (
            account  TEXT PRIMARY KEY,
            starting INTEGER NOT NULL,
            balance  INTEGER NOT NULL CHECK (balance >= 0),
            frozen   INTEGER NOT NULL DEFAULT 0 CHECK (frozen >= 0)
        ) STRICT"""
    )
    db.execute(
        """CREATE TABLE ledger (
            entry   INTEGER PRIMARY KEY,
            account TEXT NOT NULL REFERENCES accounts,
            task_id TEXT NOT NULL,
            at      REAL NOT NULL,
            reason  TEXT NOT NULL,
            credits INTEGER NOT NULL
        ) STRICT"""
    )
    db.execute("CREATE INDEX ledger_account ON ledger (account)")


def create_tasks(db: sqlite3.Connection) -> None:
    """Tasks as they are shown; their inputs apart, kept only until the task ends."""
    db.execute(
        """CREATE TABLE tasks (
            task_id    TEXT PRIMARY KEY,
            account    TEXT NOT NULL REFERENCES accounts,
            model      TEXT NOT NULL,
            task_type  TEXT NOT NULL,
            status     TEXT NOT NULL,
            config     TEXT NOT NULL,
            input      TEXT NOT NULL,
            output     TEXT NOT NULL,
            meta       TEXT NOT NULL,
            logs       TEXT NOT NULL,
            error      TEXT NOT NULL,
            created_at REAL NOT NULL,
            started_at REAL,
            ended_at   REAL,
            due_at     REAL,
            seconds    REAL NOT NULL,
            usage_type TEXT NOT NULL,
            frozen     INTEGER NOT NULL,
            consume    INTEGER NOT NULL
        ) STRICT"""
    )
    db.execute("CREATE INDEX tasks_due ON tasks (status, due_at) WHERE due_at IS NOT NULL")
    db.execute("CREATE TABLE inputs (task_id TEXT PRIMARY KEY REFERENCES tasks, input TEXT NOT NULL) STRICT")


def create_files(db: sqlite3.Connection) -> None:
    """Output files: a file is served only when it has a row here, so a half-written one never is."""
    db.execute(
        """CREATE TABLE files (
            name       TEXT PRIMARY KEY,
            task_id    TEXT NOT NULL REFERENCES tasks,
            expires_at REAL NOT NULL
        ) STRICT"""
    )


def let_files_stand_alone(db: sqlite3.Connection) -> None:
    """An uploaded file is of no task."""
    db.execute("ALTER TABLE files RENAME TO files_of_tasks")
    db.execute(
        """CREATE TABLE files (
            name       TEXT PRIMARY KEY,
            task_id    TEXT REFERENCES tasks,
            expires_at REAL NOT NULL
        ) STRICT"""
    )
    db.execute("INSERT INTO files SELECT name, task_id, expires_at FROM files_of_tasks")
    db.execute("DROP TABLE files_of_tasks")


def index_history(db: sqlite3.Connection) -> None:
    """The history is read newest first, one account at a time."""
    db.execute("CREATE INDEX tasks_history ON tasks (account, created_at)")


def create_webhooks(db: sqlite3.Connection) -> None:
    """Endpoints that are still to be told of the end of a task; due when it has ended."""
    db.execute(
        """CREATE TABLE webhooks (
            task_id  TEXT PRIMARY KEY REFERENCES tasks,
            base_url TEXT NOT NULL,
            attempts INTEGER NOT NULL DEFAULT 0,
            due_at   REAL
        ) STRICT"""
    )


def keep_legacy_tasks(db: sqlite3.Connection) -> None:
    """How a legacy task is shown; and two counts that are asked for often: tasks under way, and staged ones."""
    db.execute("ALTER TABLE tasks ADD COLUMN legacy TEXT NOT NULL DEFAULT '{}'")
    db.execute("CREATE INDEX tasks_under_way ON tasks (account) WHERE status IN ('pending', 'processing')")
    db.execute("CREATE INDEX tasks_staged ON tasks (account) WHERE status = 'staged'")


def keep_webhook_attempts(db: sqlite3.Connection) -> None:
    """What came of each attempt to tell a webhook; the endpoint without its query, which may hold a secret."""
    db.execute(
        """CREATE TABLE webhook_attempts (
            task_id  TEXT NOT NULL REFERENCES tasks,
            at       REAL NOT NULL,
            endpoint TEXT NOT NULL,
            status   INTEGER,
            error    TEXT NOT NULL
        ) STRICT"""
    )
    db.execute("CREATE INDEX webhook_attempts_task ON webhook_attempts (task_id)")
    db.execute("CREATE INDEX ledger_task ON ledger (task_id)")


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (
    create_accounts,
    create_tasks,
    create_files,
    let_files_stand_alone,
    index_history,
    create_webhooks,
    keep_legacy_tasks,
    keep_webhook_attempts,
)


def migrate(db: sqlite3.Connection) -> None:
    """Take the steps that the database has not taken yet; call it inside a transaction.

    Raises:
        RuntimeError: The database is of a later version.
        sqlite3.DatabaseError: It is of another program.
    """
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if tables and "migrations" not in tables:
        raise sqlite3.DatabaseError(f"it has the tables {', '.join(sorted(tables))[:200]}, and none of a sandbox")
    db.execute("CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT")
    (taken,) = db.execute("SELECT COALESCE(MAX(number), 0) FROM migrations").fetchone()
    if taken > len(MIGRATIONS):
        raise RuntimeError(f"the database is of version {taken}, newer than this unitask ({len(MIGRATIONS)})")
    for number, step in enumerate(MIGRATIONS[taken:], start=taken + 1):
        step(db)
        db.execute("INSERT INTO migrations VALUES (?, ?)", (number, step.__name__))
