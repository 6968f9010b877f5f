"""A task as the provider last described it: a plain value over the raw body."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, TypeVar, cast

from unitask_api.output_files import OutputFile, text_of
from unitask_api.outputs import output_type
from unitask_api.reader import Output, parse_time
from unitask_api.states import ENDED, State, state_of

from ..errors import ProviderBroken
from . import card, task_token
from ._json import as_object, broken_field

__all__ = ["Outcome", "Output", "OutputFile", "Recovery", "State", "Task"]

CREDITS_PER_USD = 10_000_000  # inferred from five published prices (2026-11); a face swap, $0.01, is 100,000 credits


OutputT = TypeVar("OutputT", bound=Output)
OutputT_co = TypeVar("OutputT_co", bound=Output, covariant=True)


@dataclass(frozen=True, slots=True)
class Task(Generic[OutputT_co]):
    """A task as it was when it was last polled.

    Attributes:
        raw: The task as the provider sent it, unknown fields included, webhook secret excluded.
    """

    raw: dict[str, Any] = field(repr=False)
    output_type: type[OutputT_co] = field(repr=False)

    def __hash__(self) -> int:
        return hash(self.raw.get("task_id"))

    @property
    def id(self) -> str:
        """The id."""
        task_id: str = self.raw["task_id"]
        return task_id

    @property
    def status(self) -> object:
        """The status word as the provider wrote it; text in every answer seen."""
        return self.raw.get("status")

    @property
    def state(self) -> State:
        """The state that the status word stands for."""
        return state_of(self.raw.get("status"))

    @property
    def done(self) -> bool:
        """Whether it is completed, failed or cancelled."""
        return self.state in ENDED

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
        """The output; its fields are None before the end.

        Raises:
            ProviderBroken: `output` is neither an object nor null.
        """
        value = self.raw.get("output")
        if value is not None and not isinstance(value, dict):
            raise ProviderBroken(
                f"task {self.id}: output is {value!r:.80}, not an object; task.raw holds all that was sent",
                status=200,
                task_id=self.id,
            )
        reader = self.output_type
        if reader is Output:  # found by its id alone: the catalogue has the class of its output
            reader = cast("type[OutputT_co]", output_type(self.model, self.task_type, self.raw.get("input")))
        return reader(cast("dict[str, Any] | None", value) or {}, self.id, error=broken_field)

    @property
    def cost_usd(self) -> float | None:
        """The cost in USD; None when the provider does not say. For Qubico families it is known while it is pending."""
        consumed = as_object(as_object(self.raw.get("meta")).get("usage")).get("consume")
        if isinstance(consumed, bool) or not isinstance(consumed, int | float):
            return None
        try:
            cost = consumed / CREDITS_PER_USD  # exact as far as a float can be; a product with 1e-7 is not
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
        """Why it failed, in the provider's words; empty without any."""
        if isinstance(said := self.raw.get("error"), str):  # an older form of webhooks (a public client, 2025)
            return said
        error = as_object(said)
        words = [str(error[key]) for key in ("message", "raw_message") if error.get(key)]
        return "; ".join(dict.fromkeys(words))

    @property
    def failure_code(self) -> int | None:
        """The provider's code of the failure, such as 10000; None when it did not fail, or none is said."""
        code = as_object(self.raw.get("error")).get("code")
        return code if isinstance(code, int) and not isinstance(code, bool) and code else None

    @property
    def progress(self) -> float | None:
        """The progress in percent; None where the body has none (Midjourney and Hailuo have it in the output)."""
        output = as_object(self.raw.get("output"))
        given = (self.raw.get("progress"), *(output.get(key) for key in ("progress", "task_progress", "percent")))
        return next((percent for value in given if (percent := _percent(value)) is not None), None)

    @property
    def token(self) -> str:
        """A text that `wait`, `get` and `watch` take in place of the task, in another process too.

        It holds the id, the task type and the protocol, and no secret. A legacy task needs it; for others the id is
        enough, and the token adds the usual duration.
        """
        output = self.output_type.__name__
        return task_token.token(self.id, self.model, self.task_type, "" if output == "Output" else output)

    def __repr__(self) -> str:
        return f"Task({self.raw.get('task_id')!r}, {self.model!r}, {self.task_type!r}, status={self.status!r})"

    def to_html(self, contents: Mapping[str, bytes | int] | None = None) -> str:
        """Return the task as HTML: status, cost, links, and the files whose bytes are at hand.

        What the provider wrote is escaped; the HTML has no script and loads nothing. A notebook shows a task so.

        Args:
            contents: By the URL of an output file, its bytes, or only their number. At most 8 MB are shown.

        Example:
            file = task.output.files[0]
            page = task.to_html({file.url: Path("out/swapped.png").read_bytes()})
        """
        cost = None if self.cost_usd is None else f"${self.cost_usd:.7f}".rstrip("0").rstrip(".")
        seconds = (self.ended_at - self.started_at).total_seconds() if self.ended_at and self.started_at else None
        facts = [str(self.raw.get("task_id")), str(self.status)]
        facts += [fact for fact in (cost, None if seconds is None else f"{seconds:.1f} s") if fact]
        files, text = list[OutputFile](), self.failure
        try:
            output = self.output
        except ProviderBroken as error:
            text = text or str(error)
        else:
            files, text = output.files, text or text_of(output.raw, type(output).__name__)
        return card.html(f"{self.model} {self.task_type}", facts, files, contents or {}, text=text)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:  # noqa: ARG002
        return {"text/plain": f"{self!r:.500}", "text/html": self.to_html()}

    def _text(self, key: str) -> str:
        value = self.raw.get(key)
        return value if isinstance(value, str) else ""

    def _time(self, key: str) -> datetime | None:
        return parse_time(as_object(self.raw.get("meta")).get(key))


class Outcome(StrEnum):
    """What became of an uncertain submission."""

    FOUND = "found"  # it was certainly accepted: `task`
    ABSENT = "absent"  # it was certainly not accepted, and may be submitted again
    UNCLEAR = "unclear"  # it is unknown; `reason` says why


@dataclass(frozen=True, slots=True)
class Recovery:
    """What became of an uncertain submission.

    Attributes:
        outcome: found, absent or unclear.
        reason: Why that is so, in a sentence.
        task: The task, when it was found.
        candidates: If it is unclear: tasks of that time that may be the one; those with its input first.
        fitting: How many of the candidates, from the first, show the whole input of this submission.
    """

    outcome: Outcome
    reason: str
    task: Task[Output] | None = None
    candidates: tuple[Task[Output], ...] = ()
    fitting: int = 0


def _percent(value: object) -> float | None:
    text = str(value).strip().removesuffix("%")
    is_number = not isinstance(value, bool) and re.fullmatch(r"\d{1,3}(\.\d{1,20})?", text, re.ASCII)
    return min(100.0, float(text)) if is_number else None
