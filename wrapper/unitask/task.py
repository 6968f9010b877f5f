"""A task as the provider last described it: a plain value over the raw body.

Nothing here asks the provider anything. To find a task again, its id is enough.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar, Generic, NoReturn, TypeVar, cast

from . import errors
from ._core.lifecycle import TERMINAL, State, state_of
from ._core.shapes import as_object

__all__ = ["Output", "State", "Task"]

USD_PER_CREDIT = 1e-7  # inferred from five published prices (2026-11); a face swap, $0.01, is 100,000 credits


OutputT = TypeVar("OutputT", bound="Output")


class Output:
    """What a task made. Subclasses name the fields that are known; `raw` holds all of them.

    A field is None while it is not there. Reading one that is there but not of its documented type raises
    `ProviderBroken` with the value; `raw` still has it.
    """

    PROTOCOL: ClassVar[str] = "unified"  # how such a task is looked at (x-protocols of the spec)

    def __init__(self, raw: Mapping[str, Any], task_id: str) -> None:
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

    def _texts(self, name: str) -> list[str]:
        return [text if isinstance(text, str) else self._broken(name, text, "text") for text in self._items(name)]

    def _object(self, name: str, kind: type[OutputT]) -> OutputT | None:
        value = self.raw.get(name)
        return None if value is None else self._read(name, value, kind)

    def _objects(self, name: str, kind: type[OutputT]) -> list[OutputT]:
        return [self._read(name, item, kind) for item in self._items(name)]

    def _mapped(self, name: str, kind: type[OutputT]) -> dict[str, OutputT]:
        value = self.raw.get(name)
        if value is not None and not isinstance(value, dict):
            return self._broken(name, value, "an object")
        return {key: self._read(name, item, kind) for key, item in cast("dict[str, object]", value or {}).items()}

    def _items(self, name: str) -> list[object]:
        value = self.raw.get(name)
        if value is None:
            return []
        return cast("list[object]", value) if isinstance(value, list) else self._broken(name, value, "a list")

    def _read(self, name: str, value: object, kind: type[OutputT]) -> OutputT:
        if isinstance(value, dict):
            return kind(cast("dict[str, Any]", value), self._task_id)
        return self._broken(name, value, "an object")

    def _broken(self, name: str, value: object, expected: str) -> NoReturn:
        raise errors.ProviderBroken(
            f"task {self._task_id}: output.{name} is {value!r:.80}, not {expected}; task.raw holds all that was sent",
            status=200,
            task_id=self._task_id,
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({dict(self.raw)!r})"


OutputT_co = TypeVar("OutputT_co", bound=Output, covariant=True)


@dataclass(frozen=True, slots=True)
class Task(Generic[OutputT_co]):
    """A task as it was when it was last looked at.

    Attributes:
        raw: The task as the provider sent it, unknown fields included, webhook secret excluded.
    """

    raw: dict[str, Any] = field(repr=False)
    output_type: type[OutputT_co] = field(repr=False)

    @property
    def id(self) -> str:
        """The id, with which the task can be found again."""
        return cast("str", self.raw["task_id"])

    @property
    def status(self) -> object:
        """The status word just as the provider wrote it; text in every answer seen."""
        return self.raw.get("status")

    @property
    def state(self) -> State:
        """What the status word stands for."""
        return state_of(self.status)

    @property
    def done(self) -> bool:
        """Whether nothing more will happen: completed, failed or cancelled."""
        return self.state in TERMINAL

    @property
    def model(self) -> str:
        """The model, as the provider echoes it; empty when it does not."""
        return self._text("model")

    @property
    def task_type(self) -> str:
        """The task type, as the provider echoes it; empty when it does not."""
        return self._text("task_type")

    @property
    def output(self) -> OutputT_co:
        """What was made; its fields are None before the end.

        Raises:
            ProviderBroken: `output` is neither an object nor null.
        """
        value = self.raw.get("output")
        if value is not None and not isinstance(value, dict):
            raise errors.ProviderBroken(
                f"task {self.id}: output is {value!r:.80}, not an object; task.raw holds all that was sent",
                status=200,
                task_id=self.id,
            )
        return self._reader()(cast("dict[str, Any] | None", value) or {}, self.id)

    @property
    def cost_usd(self) -> float | None:
        """What was taken for it, in USD; None when the provider does not say.

        For Qubico families it is filled while the task is still pending (facts of 2026-11).
        """
        consumed = as_object(as_object(self.raw.get("meta")).get("usage")).get("consume")
        if isinstance(consumed, bool) or not isinstance(consumed, int | float):
            return None
        try:
            cost = consumed * USD_PER_CREDIT
        except OverflowError:  # JSON has whole numbers of any length
            return None
        return cost if math.isfinite(cost) else None

    @property
    def created_at(self) -> datetime | None:
        """When it was submitted, in UTC; None when the provider does not say."""
        return self._time("created_at")

    @property
    def started_at(self) -> datetime | None:
        """When work began, in UTC; None before that."""
        return self._time("started_at")

    @property
    def ended_at(self) -> datetime | None:
        """When it ended, in UTC; None before that."""
        return self._time("ended_at")

    @property
    def failure(self) -> str:
        """Why it failed, in the provider's words; empty when it did not, or nothing is said.

        `error` is an object on success too, with code 0 and empty messages (Image Faceswap, 2025-04-03).
        """
        error = as_object(self.raw.get("error"))
        words = [str(error[key]) for key in ("message", "raw_message") if error.get(key)]
        return "; ".join(dict.fromkeys(words))

    def __repr__(self) -> str:
        return f"Task({self.id!r}, {self.model!r}, {self.task_type!r}, status={self.status!r})"

    def _reader(self) -> type[OutputT_co]:
        """The class of the output; for a task found by its id alone, what the catalogue says of its type."""
        if self.output_type is not Output:
            return self.output_type
        from .tasks import output_type  # at call time: the catalogue's classes are made of this module's

        return cast("type[OutputT_co]", output_type(self.model, self.task_type))

    def _text(self, key: str) -> str:
        value = self.raw.get(key)
        return value if isinstance(value, str) else ""

    def _time(self, key: str) -> datetime | None:
        """RFC 3339 with up to nine fraction digits; year 1 means "not yet" (recorded 2025-08-25)."""
        value = as_object(self.raw.get("meta")).get(key)
        try:
            moment = datetime.fromisoformat(value) if isinstance(value, str) else None
            if moment is None or moment.year == 1:
                return None
            return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
        except (ValueError, OverflowError):  # no time, or one that is after the year 9999 in UTC
            return None
