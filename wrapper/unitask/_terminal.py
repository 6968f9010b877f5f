"""Write to stdout and stderr.

Rules of this file: text of a provider cannot move the cursor or hide other text; a stream that is closed, or whose
encoding lacks characters, ends no command.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TextIO

from unitask_api.json_types import printable

from .errors import InvalidInput


def dollars(usd: float | None) -> str | None:
    """Return an amount of money as text, however small; None for one that is not known."""
    return None if usd is None else f"${usd:.7f}".rstrip("0").rstrip(".")


def take_every_character() -> None:
    """Make stdout and stderr escape what their encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def put(*lines: str) -> None:
    """Write results to stdout.

    Raises:
        BrokenPipeError: stdout is closed.
        InvalidInput: It cannot be written, as to a full disk.
    """
    if sys.stdout is None:  # it was closed before the process began
        return
    try:
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        give_up(sys.stdout)
        raise InvalidInput(f"stdout cannot be written: {error.strerror or error}") from None


def say(*lines: str) -> None:
    """Report on stderr. A closed stderr is ignored."""
    if sys.stderr is None:
        return
    try:
        sys.stderr.writelines(f"{printable(line)}\n" for line in lines)
        sys.stderr.flush()
    except OSError:
        give_up(sys.stderr)


def give_up(stream: TextIO) -> None:
    """Send what is left in a stream to nowhere: it would raise again at exit."""
    with contextlib.suppress(OSError):  # io.UnsupportedOperation: the stream is not a file
        place, nowhere = stream.fileno(), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, place)
        os.close(nowhere)
