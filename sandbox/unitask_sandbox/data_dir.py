"""Checks of a data folder at the start.

A folder belongs to one sandbox at a time, because two would do each task twice. Every problem is a `CannotStart` that
names the file, the problem and what to do. A database that cannot be read is refused, never replaced by an empty one.
"""

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from unitask_sandbox.failures import CannotStart

ANOTHER: Final = "use another folder (`unitask sandbox --data FOLDER` or Settings(data=...))"
VERSION: Final = 2  # of schema.sql; another one is refused: there are no migrations before the first release
_DAMAGED: Final = (0, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class Damaged(CannotStart):
    """A file of the data folder is not what a sandbox wrote."""

    def __init__(self, path: Path, what: str) -> None:
        advice = f"move it away to begin anew, or {ANOTHER}"
        super().__init__(f"the file {path} is damaged, or is of another program: {what}; {advice}")


@contextmanager
def opening(path: Path) -> Generator[None]:
    """Turn what goes wrong with a file, or with its folder, while it is opened into a `CannotStart`."""
    try:
        yield
    except CannotStart:
        raise
    except sqlite3.Error as error:
        kind = _code_of(error)
        if kind in _DAMAGED:
            raise Damaged(path, str(error)) from error
        if kind in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise CannotStart(f"the file {path} is held by another program: end that one, or {ANOTHER}") from error
        raise CannotStart(f"the file {path} cannot be used: {error}; let it be written, or {ANOTHER}") from error
    except OSError as error:
        why = error.strerror or str(error)
        place = error.filename or path.parent
        raise CannotStart(f"the data folder {path.parent} cannot be used: {place}: {why}; {ANOTHER}") from error


def _code_of(error: sqlite3.Error) -> int:
    """Return SQLite's primary code of an error; 0 when it is not one of SQLite's own."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def prepare(db: sqlite3.Connection, path: Path) -> None:
    """Create the tables of a new database, or check those of an old one; call it inside a transaction."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables:
        if (path.parent / "files").is_dir():  # it was cut off, or its log of changes (-wal) was lost in a crash
            raise Damaged(path, "it has no tables, and it had when the folder was used before")
        statements = Path(__file__).with_name("schema.sql").read_text(encoding="utf-8")
        for statement in statements.split(";"):
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {VERSION}")
    elif not {"accounts", "tasks"} <= tables:
        raise Damaged(path, f"it has the tables {', '.join(sorted(tables))[:200]}, and none of a sandbox")
    elif version != VERSION:
        found = f"{path}: the database is of version {version}, and this unitask reads version {VERSION}"
        raise CannotStart(f"{found}; use the unitask that wrote it, or {ANOTHER}")


def held(path: Path) -> sqlite3.Connection:
    """Lock a file, made if need be, until the connection is closed or the process ends, in whatever way.

    The locks of SQLite are the system's own, so a process that was killed leaves none.
    """
    holder = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        holder.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as error:
        holder.close()
        if _code_of(error) != sqlite3.SQLITE_BUSY:
            raise
        what = f"the data folder {path.parent} is in use by another sandbox"
        raise CannotStart(f"{what}: stop that one, or give this one a folder of its own") from None
    return holder
