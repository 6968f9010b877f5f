"""The input of a task as words of a command: values from files and stdin, and problems in the words of the command."""

import re
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unitask_api import contract

from .. import errors
from .._task_words import task_of
from .._terminal import kebab, task_type
from ..media import from_home

ESCAPE = "Write a text that begins with @, or is -, as JSON: FIELD:='\"@me\"'"


def task_from(name: str, words: Sequence[str]) -> Any:
    """Return the task that the words of a command describe.

    FIELD=@FILE reads a text from a file and FIELD=- from stdin, FIELD:=@FILE and FIELD:=- read JSON. For a field that
    takes a file, @FILE is that file, and - is the file on stdin.

    Raises:
        InvalidInput: With each field that cannot be used.
    """
    entry = task_type(name)
    reader = _Reader()
    with in_words_of(entry):
        try:
            return task_of(kebab(entry.name), words, reader.read)
        except errors.InvalidInput as error:
            error.add_note(f"unitask: `unitask run {kebab(entry.name)} --help` describes the fields")
            raise


@contextmanager
def in_words_of(entry: contract.TaskType) -> Generator[Callable[[str], str]]:
    """Name fields as they are written in a command, in each problem of an input; yield what does so with a problem."""
    fields = contract.component(entry.input).get("properties", {})
    named = re.compile(rf"(?:\binput\.)?\b({'|'.join(sorted(fields, key=len, reverse=True))})\b(?![\w-])")

    def spelled(problem: str) -> str:
        head, colon, rest = problem.partition(": ")
        rest = re.sub(r"'(\w+)' is a required property", lambda found: f"{kebab(found[1])}=... is needed", rest)
        return rest if head == "input" else f"{named.sub(lambda found: kebab(found[1]), head)}{colon}{rest}"

    try:
        yield spelled
    except errors.InvalidInput as error:
        error.problems = tuple(map(spelled, error.problems))
        raise


class _Reader:
    """Reads values from files; stdin is read once."""

    _is_read = False

    def read(self, text: str, rule: contract.Node) -> Any:
        """Return the value of a field: its text, or what it refers to."""
        rule = contract.resolve(rule)
        is_media = "x-media" in rule or "x-media" in contract.resolve(rule.get("items", {}))
        if text == "-":
            return self._stdin() if is_media else _decoded(self._stdin(), "stdin")
        if text[:1] == "@" and len(text) > 1:
            return text[1:] if is_media else _decoded(_content(text[1:]), text[1:])
        return text

    def _stdin(self) -> bytes:
        if self._is_read:
            raise ValueError("stdin is read by another field already")
        self._is_read = True
        try:
            return read_stdin()
        except errors.InvalidInput as error:
            raise ValueError(f"{error}. {ESCAPE}") from None


def read_stdin() -> bytes:
    """Return what is piped into the command; raise InvalidInput if nothing is."""
    if sys.stdin is None or sys.stdin.isatty():
        raise errors.InvalidInput("there is nothing on stdin: pipe a file into the command")
    buffer = getattr(sys.stdin, "buffer", None)
    return buffer.read() if buffer else sys.stdin.read().encode()


def _content(place: str) -> bytes:
    try:
        return Path(from_home(place)).read_bytes()
    except OSError as error:
        raise ValueError(f"{place!r} cannot be read: {error.strerror or error}. {ESCAPE}") from None


def _decoded(content: bytes, place: str) -> str:
    """Return a text without the line break that an editor puts at its end."""
    try:
        return content.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        raise ValueError(f"{place!r} is not text in UTF-8") from None
