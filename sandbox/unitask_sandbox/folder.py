"""A data folder belongs to one sandbox at a time: two would do each task twice."""

from __future__ import annotations

import sqlite3
from pathlib import Path


class FolderInUse(OSError):
    """Another sandbox, of this or of another process, works with the data folder."""


def held(path: Path) -> sqlite3.Connection:
    """Hold a file, made if need be, until the connection is closed or the process ends, in whatever way.

    It is locked by SQLite, whose locks are the system's own: so this is the same on Linux, macOS and Windows, and a
    process that was killed leaves nothing that had to be cleared away.

    Raises:
        FolderInUse: Somebody else holds it.
    """
    holder = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        holder.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        holder.close()
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
            raise
        raise FolderInUse(
            f"the data folder {path.parent} is in use by another sandbox: stop that one, or give this one a folder of "
            "its own"
        ) from None
    return holder
