"""What a command line writes, and where to.

Rules of this file: text of a provider cannot move the cursor or hide other text; no next step is a call of Python; a
stream that is closed, or whose encoding lacks characters, ends no command.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from typing import TextIO

from .errors import InvalidInput

# What errors say in the words of Python, and what a command line has instead. A part that has nothing is left out.
_WORDS: tuple[tuple[str, str], ...] = (
    (r"; or, in another process, client\.find\([^)]*\)", ""),
    (r"[;,] client\.cancel\([^)]*\) would end it", ""),
    (r"; error\.find\(client\) looks for it in the task history, and do that before you create it again", ""),
    (r",? or (pass )?api_key=", ""),
    (
        r", and use the key 'sandbox' and the base_url that it prints",
        ", and use the base URL and the key that it prints",
    ),
    (r"; task\.raw holds all that was sent", ""),
    (r"\boverwrite=True\b", "--overwrite"),
    (r", or validate=False", ""),
    (r", None for the usual limit", ""),
    (r" or Settings\([^()]*\)", ""),
    (r", or None for (no limit)", r", or leave it out for \1"),
    (r"(?<!\S)base_url(?= is )", "--base-url"),
    (r"(?<!\S)base_url(?= |$)", "the base URL (--base-url, or UNITASK_BASE_URL)"),
    (r": pass those that you want", ""),
    (r"(?:^|(?<=: ))timeout is\b", "--timeout is"),
    # whatever else is a call: its clause. The command line names its next step apart.
    (r"(?:^|[;,:.]) *[^;,:.()]*(?<![\w'\"/.])(?:client|error)\.\w+\([^()]*\)[^;,:.]*", ""),
)


def shown(text: str) -> str:
    r"""The text in one line, with each character that cannot be seen, or changes how others are seen, as an escape.

    These are control characters, line breaks, marks of the direction of writing and the like: `\x1b`, `\n`, `\u202e`.
    """
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")


def reworded(text: str) -> str:
    """A message of the library in the words of the command line."""
    for pattern, instead in _WORDS:
        text = re.sub(pattern, instead, text)
    return text


def dollars(usd: float | None) -> str | None:
    """An amount of money, however small; None for one that is not known."""
    if usd is None:
        return None
    whole, _, part = f"{usd:.7f}".rstrip("0").partition(".")
    return f"${whole}.{part}" if part else f"${whole}"


def take_every_character() -> None:
    """Let stdout and stderr escape what their encoding lacks, which is no reason to stop."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def put(*lines: str) -> None:
    """Write to stdout what was asked for, and what is on its way already.

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
    """Report on stderr what happens. A closed stderr is ignored."""
    if sys.stderr is None:
        return
    try:
        sys.stderr.writelines(f"{shown(line)}\n" for line in lines)
        sys.stderr.flush()
    except OSError:
        give_up(sys.stderr)


def give_up(stream: TextIO) -> None:
    """Let what is left for a stream go nowhere: what cannot be written would be an error again at exit."""
    with contextlib.suppress(OSError):  # io.UnsupportedOperation: it is no file
        place, nowhere = stream.fileno(), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, place)
        os.close(nowhere)
