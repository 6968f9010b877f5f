-- Accounts are stored by the SHA-256 of their key. Money is in credits of 1e-7 USD, and every movement is in the ledger.
-- The input of a task is stored until the task ends. A file is served while it has a row in `files`, and an uploaded file
-- has no task. An endpoint in `webhook_attempts` has no query, because that may hold a secret.
CREATE TABLE accounts (
    account  TEXT PRIMARY KEY,
    starting INTEGER NOT NULL,
    balance  INTEGER NOT NULL CHECK (balance >= 0),
    frozen   INTEGER NOT NULL DEFAULT 0 CHECK (frozen >= 0)
) STRICT;
CREATE TABLE ledger (
    entry   INTEGER PRIMARY KEY,
    account TEXT NOT NULL REFERENCES accounts,
    task_id TEXT NOT NULL,
    at      REAL NOT NULL,
    reason  TEXT NOT NULL,
    credits INTEGER NOT NULL
) STRICT;
CREATE INDEX ledger_account ON ledger (account);
CREATE INDEX ledger_task ON ledger (task_id);
CREATE TABLE tasks (
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
    consume    INTEGER NOT NULL,
    legacy     TEXT NOT NULL
) STRICT;
CREATE INDEX tasks_due ON tasks (status, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX tasks_history ON tasks (account, created_at);
CREATE INDEX tasks_under_way ON tasks (account) WHERE status IN ('pending', 'processing');
CREATE TABLE inputs (
    task_id TEXT PRIMARY KEY REFERENCES tasks,
    input   TEXT NOT NULL
) STRICT;
CREATE TABLE files (
    name       TEXT PRIMARY KEY,
    task_id    TEXT REFERENCES tasks,
    expires_at REAL NOT NULL
) STRICT;
CREATE TABLE assets (
    asset_id  TEXT PRIMARY KEY,
    account   TEXT NOT NULL REFERENCES accounts,
    url       TEXT NOT NULL,
    active_at REAL NOT NULL
) STRICT;
CREATE TABLE webhooks (
    task_id  TEXT PRIMARY KEY REFERENCES tasks,
    base_url TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    due_at   REAL
) STRICT;
CREATE TABLE webhook_attempts (
    task_id  TEXT NOT NULL REFERENCES tasks,
    at       REAL NOT NULL,
    endpoint TEXT NOT NULL,
    status   INTEGER,
    error    TEXT NOT NULL
) STRICT;
CREATE INDEX webhook_attempts_task ON webhook_attempts (task_id);
