"""What all commands share: names of task types, and how results and reports are written. It imports no client."""

import contextlib
import difflib
import io
import os
import re
import shutil
import sys
from collections.abc import Generator
from functools import cache
from pathlib import Path
from typing import Final, TextIO

from unitask_api import contract
from unitask_api.json_types import printable

from . import errors

PYTHON_WORDS: Final = (  # of Python in messages, and those of the command line
    (r"client\.(wait|cancel)\('([^']*)'\)", r"`unitask \1 \2`"),
    (r",? or (pass )?api_key=", ""),
    (r"overwrite=True, --overwrite", "--overwrite"),
    (r"; task\.raw holds all that was sent", ""),
    (r", or validate=False", ""),
    (r"an object of type \w+ is not a picture: give a path,.* or a URL", "give a file or a URL"),
    (r", or another Journal of this one,", ""),
    (r"Close the journal, which writes the file again, and start", "The command writes it again; start"),
    (r"\bbase_url\b", "--base-url"),
    (r"\bwebhook_url\b", "--webhook-url"),
    (rf"\. {re.escape(errors.SubmissionUncertain.usual_next_step)}.*", ""),
    (
        r"nothing was sent: the cost of .* is not known: .*",
        "its price is not known, so it is sent only without --max-usd",
    ),
    (r"of the budget of (\S+), \S+ is spent and \S+ is held .*", r"--max-usd is \1"),
)


def kebab(name: str) -> str:
    """Return the name of a class or a field as it is written on the command line: face-swap, flux-dev-txt2img."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[0-9])(?<![tgo]2)(?=[A-Z][a-z])", "-", name).replace("_", "-").lower()


def find_task_type(name: str) -> contract.TaskType | None:
    """Return the entry of a task type in the catalogue: FaceSwap, face-swap and faceswap are the same."""
    return _task_types().get(_plain(name))


def task_type(name: str) -> contract.TaskType:
    """Return the entry of a task type in the catalogue; raise InvalidInput if there is none of this name."""
    entry = find_task_type(name)
    if entry is None:
        near = difflib.get_close_matches(_plain(name), _task_types(), n=1)
        hint = f"did you mean {kebab(_task_types()[near[0]].name)}? " if near else ""
        if any(name.lower() == one.family for one in _task_types().values()):
            raise errors.InvalidInput(f"{name} is a family of task types: `unitask tasks {name}` lists them")
        raise errors.InvalidInput(f"there is no task type {name!r:.80}: {hint}`unitask tasks` lists them")
    return entry


@cache
def _task_types() -> dict[str, contract.TaskType]:
    return {_plain(name): entry for name, entry in contract.task_types().items()}


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def reason(error: BaseException) -> str:
    """Return what went wrong, in words of the command line."""
    match error:
        case errors.InvalidInput():
            text = "; ".join(error.problems)
        case errors.DownloadFailed():
            text = error.reason
        case _:
            text = str(error)
    for pattern, words in PYTHON_WORDS:
        text = re.sub(pattern, words, text, flags=re.DOTALL)
    return text


def dollars(usd: float | None) -> str | None:
    """Return an amount of money as text, however small; None for one that is not known."""
    return None if usd is None else f"${usd:.7f}".rstrip("0").rstrip(".")


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a stream is a terminal."""
    return stream is not None and stream.isatty()


def take_every_character() -> None:
    """Make stdout and stderr escape what their encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def put(*lines: str) -> None:
    """Write results to stdout; raise BrokenPipeError if it is closed, UnitaskError if it cannot be written."""
    if sys.stdout is None:  # it was closed before the process began
        return
    with _writing():
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        sys.stdout.flush()


def put_file(path: Path) -> None:
    """Write a file to stdout; raise as `put` does."""
    if sys.stdout is None:
        return
    with path.open("rb") as file, _writing():
        shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()


@contextlib.contextmanager
def _writing() -> Generator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        give_up(sys.stdout)
        raise errors.UnitaskError(f"stdout cannot be written: {error.strerror or error}") from None


def say(*lines: str) -> None:
    """Report lines on stderr."""
    show("".join(f"{printable(line)}\n" for line in lines))


def show(text: str) -> None:
    """Write to stderr. One that is closed, such as that of a terminal that has gone, is ignored."""
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        give_up(sys.stderr)


def give_up(stream: TextIO | None) -> None:
    """Send what is left in a stream to nowhere: it would raise again at exit."""
    if stream is None:
        return
    with contextlib.suppress(OSError):  # io.UnsupportedOperation: the stream is not a file
        place, nowhere = stream.fileno(), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, place)
        os.close(nowhere)
