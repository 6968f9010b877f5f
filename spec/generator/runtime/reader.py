"""Read the JSON objects of answers field by field.

A reader is a plain value over the raw object. A field is None while it is absent or null. A field of another type than
documented raises when it is read, and `raw` still has it. Nothing is lost, and nothing fails before the broken field
itself is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, NoReturn, TypeVar, cast

from .errors import MalformedField
from .json_types import is_list, is_object
from .output_files import OutputFile, files_of

__all__ = ["Output", "Reader", "parse_time", "redacted"]

SECRETS = frozenset({"api_key", "file_data", "secret"})  # fields that no repr shows
DEEPEST = 100  # levels of objects and lists; documented bodies have fewer than 10
EARLIEST_YEAR = 2000  # an earlier time is a zero value, which means "not set"

T = TypeVar("T")
ReaderT = TypeVar("ReaderT", bound="Reader")
# Makes the error for a field from the class, the field, its value, the documented type and the task id.
FieldError = Callable[[str, str, object, str, str | None], Exception]


def malformed_field(owner: str, name: str, value: object, expected: str, task_id: str | None) -> MalformedField:
    """Make the error for a field that is not as documented."""
    shown = "***" if name in SECRETS else f"{redacted(value)!r:.80}"
    about = "" if task_id is None else f"task {task_id!r}: "
    message = f"{about}{owner}.{name} is {shown}, not {expected}; `raw` holds the whole object"
    return MalformedField(message, field=f"{owner}.{name}", value=value, expected=expected, task_id=task_id)


class Reader:
    """A JSON object of an answer. Subclasses name the documented fields.

    Args:
        raw: The object.
        task_id: The task id for errors; the `task_id` of the object by default.
        error: Makes the error for a field; `field_error` of the class by default.

    Attributes:
        raw: The object, unknown fields included.
    """

    REQUIRED: ClassVar[tuple[str, ...]] = ()

    def __init__(self, raw: Mapping[str, Any], task_id: str | None = None, *, error: FieldError | None = None) -> None:
        self.raw = raw
        own = raw.get("task_id")
        self._task_id = own if task_id is None and isinstance(own, str) else task_id
        self._error = error or self.field_error

    @staticmethod
    def field_error(owner: str, name: str, value: object, expected: str, task_id: str | None) -> Exception:
        """Make the error for a field that is not as documented; subclasses may make another."""
        return malformed_field(owner, name, value, expected, task_id)

    def check(self) -> None:
        """Read every required field, also of the readers inside it.

        Raises:
            MalformedField: One is missing, or is not as documented.
        """
        for name in self.REQUIRED:
            if name not in self.raw:
                self._fail(name, None, "present")
            value: object = getattr(self, name)
            for part in cast("list[object]", value) if isinstance(value, list) else [value]:
                if isinstance(part, Reader):
                    part.check()

    def _text(self, name: str, min_length: int = 0) -> str | None:
        value = self.raw.get(name)
        if value is None or (isinstance(value, str) and len(value) >= min_length):
            return value
        return self._fail(name, value, "text that is not empty" if min_length else "text")

    def _word(self, name: str, known: tuple[str, ...]) -> str | None:
        """Read a word of an open list: a known word as it is listed, in any letter case; any other word unchanged."""
        text = self._text(name)
        return next((word for word in known if text is not None and word.casefold() == text.casefold()), text)

    def _bool(self, name: str) -> bool | None:
        value = self.raw.get(name)
        return value if value is None or isinstance(value, bool) else self._fail(name, value, "true or false")

    def _int(self, name: str) -> int | None:
        value = self._number(name)
        whole = value is None or isinstance(value, int) or value.is_integer()
        return None if value is None else int(value) if whole else self._fail(name, value, "a whole number")

    def _float(self, name: str) -> float | None:
        value = self._number(name)
        try:
            return None if value is None else float(value)
        except OverflowError:
            return self._fail(name, value, "a number that fits")

    def _number(self, name: str) -> int | float | None:
        value = self.raw.get(name)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return value if value is None or is_number else self._fail(name, value, "a number")

    def _time(self, name: str) -> datetime | None:
        return parse_time(self.raw.get(name))

    def _object(self, name: str) -> dict[str, Any] | None:
        value = self.raw.get(name)
        if value is None or is_object(value):
            return value
        return self._fail(name, value, "an object")

    def _list(self, name: str) -> list[Any]:
        value = self.raw.get(name)
        if value is None:
            return []
        return cast("list[object]", value) if isinstance(value, list) else self._fail(name, value, "a list")

    def _texts(self, name: str) -> list[str]:
        return [text if isinstance(text, str) else self._fail(name, text, "text") for text in self._list(name)]

    def _objects(self, name: str) -> list[dict[str, Any]]:
        return [item if isinstance(item, dict) else self._fail(name, item, "an object") for item in self._list(name)]

    def _reader(self, name: str, kind: type[ReaderT]) -> ReaderT | None:
        value = self._object(name)
        return None if value is None else kind(value, self._task_id, error=self._error)

    def _readers(self, name: str, kind: type[ReaderT]) -> list[ReaderT]:
        return [kind(item, self._task_id, error=self._error) for item in self._objects(name)]

    def _reader_map(self, name: str, kind: type[ReaderT]) -> dict[str, ReaderT]:
        """Read an object whose values are objects; null and absent ones are left out of the result."""
        items = self._object(name) or {}
        wrong = next((item for item in items.values() if not isinstance(item, dict)), None)
        if wrong is not None:
            return self._fail(name, wrong, "an object of objects")
        return {key: kind(item, self._task_id, error=self._error) for key, item in items.items() if item is not None}

    def _given(self, name: str, value: T | None, expected: str) -> T:
        """Return the value of a required field."""
        return self._fail(name, None, expected) if value is None else value

    def _fail(self, name: str, value: object, expected: str) -> NoReturn:
        raise self._error(type(self).__name__, name, value, expected, self._task_id)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and isinstance(other, Reader) and self.raw == other.raw

    def __repr__(self) -> str:
        return f"{type(self).__name__}({redacted(self.raw)!r})"


class Output(Reader):
    """The output of a task. Subclasses name the documented fields."""

    PROTOCOL: ClassVar[str] = "unified"  # how such a task is polled (x-protocols of the spec)

    @property
    def files(self) -> list[OutputFile]:
        """Every file in the output: results first, then previews, variants and inputs; no URL twice.

        A value of an unexpected shape is left out and never raises; `raw` keeps it.
        """
        return files_of(self.raw, type(self).__name__, self._task_id or "")


def redacted(value: object, depth: int = 0) -> object:
    """Return a copy of a JSON value in which secrets are "***"."""
    if depth > DEEPEST:
        return "..."
    if is_object(value):
        return {key: "***" if key in SECRETS and part else redacted(part, depth + 1) for key, part in value.items()}
    if is_list(value):
        return [redacted(part, depth + 1) for part in value]
    return value


def parse_time(value: object) -> datetime | None:
    """Read a time as an aware datetime in UTC; None for anything else.

    Times are RFC 3339 with up to nine fraction digits. The provider writes year 1 for "not yet" (recorded 2025-08-25).
    Every time before 2000 is treated the same, because zero values of other clocks (1970, 1900, 1601) lie there.
    """
    try:
        read = datetime.fromisoformat(value) if isinstance(value, str) else None
        read = read and read.replace(tzinfo=read.tzinfo or UTC).astimezone(UTC)
        return read if read and read.year >= EARLIEST_YEAR else None
    except (ValueError, OverflowError):  # not a time, or in the year 0 or 10000 in UTC
        return None
