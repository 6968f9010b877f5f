"""A snapshot: the state of a sandbox as one ZIP file.

It has a copy of the database, the files that the database lists, and the time of the clock, so that nothing has expired
when the snapshot is loaded much later. It holds no API key; of tasks that have not ended it holds inputs and secrets.
"""

import json
import math
import re
import sqlite3
import tempfile
import zlib
from contextlib import closing, suppress
from pathlib import Path
from typing import IO
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile

from unitask_sandbox.clock import LATEST
from unitask_sandbox.failures import CannotStart, Refusal
from unitask_sandbox.files import OURS, Files
from unitask_sandbox.store import Store

DATABASE, CLOCK, FILES = "sandbox.sqlite3", "clock.json", "files"
_FOLDERS = (f"{FILES}/", f"{FILES}/ephemeral/")
LARGEST = 2**30  # bytes, unpacked

_FILE = re.compile(rf"{FILES}/((ephemeral/)?{OURS.pattern})")
_WRONG = (
    ArithmeticError,
    BadZipFile,
    EOFError,
    KeyError,
    RuntimeError,
    TypeError,
    ValueError,
    sqlite3.DatabaseError,
    zlib.error,
)


def save(to: IO[bytes], store: Store, files: Files, now: float) -> None:
    """Write a snapshot."""
    with tempfile.TemporaryDirectory() as place, ZipFile(to, "w", ZIP_DEFLATED) as archive:
        copy = Path(place, DATABASE)
        store.back_up(copy)
        archive.write(copy, DATABASE)
        archive.writestr(CLOCK, json.dumps({"now": now}))
        for name in sorted(store.files()):
            with suppress(FileNotFoundError):  # it has expired in between
                archive.write(files.folder / name, f"{FILES}/{name}")


def extract(snapshot: IO[bytes], folder: Path, store: Store) -> float:
    """Check a snapshot, and unpack it into an empty folder; return the time of its clock.

    Raises:
        Refusal: It is none, or one of another version.
    """
    try:
        _unpack(snapshot, folder)
        now = float(json.loads((folder / CLOCK).read_bytes())["now"])
        if not (math.isfinite(now) and 0 <= now <= LATEST):
            raise ValueError(f"its clock is at {now}")
        with closing(sqlite3.connect((folder / DATABASE).as_uri() + "?mode=rw", uri=True)) as db:
            if store.schema() != store.schema(db):
                raise ValueError("its database has other tables than this version of unitask")
            for (name,) in db.execute("SELECT name FROM files"):  # it becomes a path
                if not _FILE.fullmatch(f"{FILES}/{name}"):
                    raise ValueError(f"no snapshot lists a file {name[:100]!r}")
        Store(folder / DATABASE, durable=False).close()  # checks its values
    except CannotStart:
        raise refusal("its database is damaged") from None
    except _WRONG as error:
        raise refusal(str(error)) from None
    return now


def _unpack(snapshot: IO[bytes], folder: Path) -> None:
    with ZipFile(snapshot) as archive:
        if (size := sum(entry.file_size for entry in archive.infolist())) > LARGEST:
            raise ValueError(f"it holds {size} bytes, the limit is {LARGEST}")
        names = archive.namelist()
        if {entry.compress_type for entry in archive.infolist()} - {ZIP_STORED, ZIP_DEFLATED}:
            raise ValueError("it is compressed by another method than deflate")
        if missing := {DATABASE, CLOCK}.difference(names):
            raise ValueError(f"it has no {min(missing)}")
        for name in names:
            if name in _FOLDERS:  # some programs add them
                continue
            if name not in (DATABASE, CLOCK) and not _FILE.fullmatch(name):
                raise ValueError(f"no snapshot has an entry {name[:100]!r}")
            archive.extract(name, folder)


def refusal(why: str) -> Refusal:
    """Return the answer to a snapshot that cannot be loaded."""
    return Refusal(400, f"the snapshot cannot be loaded: {why}; the state has not changed")
