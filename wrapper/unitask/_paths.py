"""Paths as users write them, and what lies there.

Rules of this file: only a regular file is read, and none that would fill the memory.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

LARGEST_FILE = 10 * 1024 * 1024  # bytes; upload page, and the pages of most families
MOST_READ = 256 * 1024 * 1024  # bytes of a file that are read at all, since validate=False may send more than that


def from_home(path: str) -> str:
    """A path whose ~ is the home of the user; shells leave it alone in field=~/me.png and --to=~/out.png."""
    return os.path.expanduser(path)  # noqa: PTH111 - pathlib drops a slash at the end, and raises for an unknown user


def content_of(path: Path) -> bytes:
    """The content of a regular file. A pipe may never end, and can be read once only; an estimate reads a file, too."""
    try:
        info = path.stat()
        if info.st_size <= MOST_READ and (stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode)):
            return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in it
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"{str(path)!r:.200} cannot be read: {reason}") from None
    if not stat.S_ISREG(info.st_mode):
        raise ValueError(f"{str(path)!r:.200} is a pipe or a device, no regular file: read it, and give its bytes")
    raise ValueError(f"{str(path)!r:.200} {too_large(info.st_size)}")


def too_large(size: int) -> str:
    """What is said of a file of so many bytes, after its name."""
    return f"has {size / 1e6:.1f} MB; at most 10 MB can be sent: shrink it, or give a URL"
