"""What the provider says of a thing, read field by field: a plain value over the raw JSON object.

A field is None while it is not there. Reading one that is there but not of its documented type raises `ProviderBroken`
with the value; `raw` still has it. So nothing is lost, and nothing breaks before the broken field itself is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn, TypeVar, cast

from .exceptions import ProviderBroken

RecordT = TypeVar("RecordT", bound="Record")
EARLIEST_YEAR = 2000  # a time before it is a zero value, which means "not set"


class Record:
    """A JSON object of the provider's. Subclasses name the fields that are known; `raw` holds all of them."""

    def __init__(self, raw: Mapping[str, Any], task_id: str | None = None) -> None:
        self.raw = raw
        self._task_id = task_id

    def _text(self, name: str) -> str | None:
        value = self.raw.get(name)
        return value if value is None or isinstance(value, str) else self._broken(name, value, "text")

    def _int(self, name: str) -> int | None:
        value = self._number(name)
        whole = value is None or isinstance(value, int) or value.is_integer()
        return None if value is None else int(value) if whole else self._broken(name, value, "a whole number")

    def _float(self, name: str) -> float | None:
        value = self._number(name)
        try:
            return None if value is None else float(value)
        except OverflowError:
            return self._broken(name, value, "a number that fits")

    def _number(self, name: str) -> int | float | None:
        value = self.raw.get(name)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return value if value is None or is_number else self._broken(name, value, "a number")

    def _flag(self, name: str) -> bool | None:
        value = self.raw.get(name)
        return value if value is None or isinstance(value, bool) else self._broken(name, value, "true or false")

    def _time(self, name: str) -> datetime | None:
        return moment(self.raw.get(name))

    def _texts(self, name: str) -> list[str]:
        return [text if isinstance(text, str) else self._broken(name, text, "text") for text in self._items(name)]

    def _object(self, name: str, kind: type[RecordT]) -> RecordT | None:
        value = self.raw.get(name)
        return None if value is None else self._read(name, value, kind)

    def _objects(self, name: str, kind: type[RecordT]) -> list[RecordT]:
        return [self._read(name, item, kind) for item in self._items(name)]

    def _mapped(self, name: str, kind: type[RecordT]) -> dict[str, RecordT]:
        value = self.raw.get(name)
        if value is not None and not isinstance(value, dict):
            return self._broken(name, value, "an object")
        return {key: self._read(name, item, kind) for key, item in cast("dict[str, object]", value or {}).items()}

    def _items(self, name: str) -> list[object]:
        value = self.raw.get(name)
        if value is None:
            return []
        return cast("list[object]", value) if isinstance(value, list) else self._broken(name, value, "a list")

    def _read(self, name: str, value: object, kind: type[RecordT]) -> RecordT:
        if isinstance(value, dict):
            return kind(cast("dict[str, Any]", value), self._task_id)
        return self._broken(name, value, "an object")

    def _where(self) -> str:
        """What this is, for a message about one of its fields."""
        return f"{type(self).__name__}."

    def _broken(self, name: str, value: object, expected: str) -> NoReturn:
        raise ProviderBroken(
            f"{self._where()}{name} is {value!r:.80}, not {expected}; `raw` holds all that was sent",
            status=200,
            task_id=self._task_id,
        )

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and isinstance(other, Record) and self.raw == other.raw

    def __repr__(self) -> str:
        return f"{type(self).__name__}({dict(self.raw)!r})"


def moment(value: object) -> datetime | None:
    """A time of the provider's in UTC, None for anything that is none.

    Times are RFC 3339 with up to nine fraction digits; year 1 is "not yet" (recorded 2025-08-25). So is every time
    before 2000: the zero values of other clocks (1970-01-01, 1900, 1601) lie there, and no task does.
    """
    try:
        read = datetime.fromisoformat(value) if isinstance(value, str) else None
        if read is None or read.year == 1:  # in UTC, that can be in the year 0, which is an error
            return None
        read = read.replace(tzinfo=read.tzinfo or UTC).astimezone(UTC)
        return read if read.year >= EARLIEST_YEAR else None
    except (ValueError, OverflowError):  # no time, or one that is after the year 9999 in UTC
        return None
