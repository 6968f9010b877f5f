"""The tasks of a JSONL or CSV file, read line by line.

Rules of this file: each line but the header is one input, so that its number in the journal says which line it is. A
line that is no task becomes an input that cannot be sent.
"""

import codecs
import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from unitask_api.json_types import is_object

from .._model.task import Output
from .._task_words import task_of
from .._terminal import task_type
from ..errors import InvalidInput
from ..inputs import TaskInput

LONGEST_CELL = 2**31 - 1  # characters; a cell may hold a picture in base64


@dataclass(frozen=True, slots=True, repr=False)
class WrongLine(TaskInput[Output]):
    """A line that is no task."""

    problem: str

    def operation(self) -> NoReturn:
        """Raise the error of this line."""
        raise InvalidInput(self.problem)


class InputFile:
    """An iterable of the tasks of a file.

    In JSONL a line is an object with the fields of a task, and its class as "task". In CSV the header has the names of
    the fields, and a cell is read as a word of `unitask run` is; an empty one is absent.

    Args:
        path: The file: FILE.jsonl or FILE.csv.
        task: The class of all tasks, such as FaceSwap; None if each line has it.

    Raises:
        InvalidInput: The file cannot be read, or has another name.
    """

    def __init__(self, path: Path, task: str | None) -> None:
        self.path: Path = path
        self._task = task
        self._is_csv = path.suffix.lower() == ".csv"
        self.line: int = 0  # that was read last
        if not self._is_csv and path.suffix.lower() != ".jsonl":
            raise InvalidInput(f"{path.name!r} is neither FILE.jsonl nor FILE.csv: name it after what it contains")
        if task is not None:
            task_type(task)
        try:
            with path.open("rb") as file:
                if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):  # as PowerShell writes it
                    raise InvalidInput(f"{path} is in UTF-16: save it as UTF-8")
            len(self)
        except OSError as error:
            raise InvalidInput(f"{path} cannot be read: {error.strerror or error}") from error

    def __len__(self) -> int:
        return self._length

    @cached_property
    def _length(self) -> int:
        return max((place for place, record in enumerate(self._records(), 1) if record), default=0)

    def line_of(self, index: int) -> int:
        """Return the line of an input; in CSV the row, where the header is row 1."""
        return index + (2 if self._is_csv else 1)

    def __iter__(self) -> Iterator[TaskInput[Any]]:
        for index, record in zip(range(self._length), self._records(), strict=False):  # no empty lines at the end
            self.line = self.line_of(index)
            try:
                yield self._made(record)
            except InvalidInput as error:
                yield WrongLine("; ".join(error.problems))

    def _records(self) -> Iterator[Any]:
        """Yield a line of text, or a row as (name, cell); something empty for an empty line."""
        with self.path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            if not self._is_csv:
                yield from (line.strip() for line in file)
                return
            csv.field_size_limit(LONGEST_CELL)
            reader = csv.reader(file)
            try:
                header = [name.strip() for name in next(reader, list[str]())]
                if len(header) == 1 and (other := re.search("[;\t|]", header[0])):
                    wrong = f"its cells are separated by {other[0]!r}: save it with commas"
                    raise InvalidInput(f"{self.path}: {wrong}")
                for row in reader:
                    cells = row + [""] * (len(header) - len(row))
                    names = header + [""] * (len(row) - len(header))
                    yield [(name, cell) for name, cell in zip(names, cells, strict=True) if cell]
            except csv.Error as error:
                raise InvalidInput(f"{self.path}, line {reader.line_num}: {error}") from None

    def _made(self, record: Any) -> Any:
        if not record:
            raise InvalidInput("the line is empty")
        values: dict[str, Any] = dict(record) if self._is_csv else _object(record)
        if "" in values:
            raise InvalidInput(f"{values['']!r:.80} stands in a column without a name")
        name = values.pop("task", self._task)
        if not isinstance(name, str):
            raise InvalidInput(
                'it has no task: give it as "task", or for all lines with --task, such as --task face-swap'
            )
        if self._task not in (None, name):
            raise InvalidInput(f"its task is {name!r:.80}, and --task is {self._task}")
        if self._is_csv:
            return task_of(name, [f"{field}={cell}" for field, cell in values.items()])
        return task_of(name, [f"{field}:={json.dumps(value)}" for field, value in values.items()])


def _object(line: str) -> dict[str, Any]:
    try:
        value: object = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"it is not JSON: {error!s:.200}") from None
    if not is_object(value):
        raise InvalidInput(f'it is {line!r:.80}, and an object is expected, such as {{"prompt": "a cat"}}')
    return value
