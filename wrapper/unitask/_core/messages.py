"""What the core and a shell say to each other: the core yields a step, the shell takes it and answers with a reply.

Rules of this file: plain frozen values only, but for a set that changes (`Wanted`) and how far a request has got
(`Progress`); durations are in seconds; time enters the core only as `at` on a reply.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias, TypeVar

from .._model.account import HistoryRow
from .._model.task import Output, Task
from .._model.timestamp import Moment

T = TypeVar("T")


class Wanted(Collection[str]):
    """Ids of tasks of which news is wanted: a set that one flow changes while it waits again and again.

    It knows what has changed, so that whoever listens need not read all of it each time.
    """

    def __init__(self) -> None:
        self._ids: dict[str, None] = {}
        self._changed: dict[str, None] = {}

    def add(self, task_id: str) -> None:
        """News of this task is wanted from now on."""
        self._ids[task_id] = self._changed[task_id] = None

    def discard(self, task_id: str) -> None:
        """News of this task is wanted no longer."""
        if task_id in self._ids:
            del self._ids[task_id]
            self._changed[task_id] = None

    def changes(self) -> list[str]:
        """The ids that were added or discarded since the last call."""
        changed, self._changed = list(self._changed), {}
        return changed

    def __contains__(self, task_id: object) -> bool:
        return task_id in self._ids

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)


@dataclass(slots=True)
class Progress:
    """How far a request has got.

    Attributes:
        left: Whether bytes of it may have left; None while that is not known.
    """

    left: bool | None = None


@dataclass(frozen=True, slots=True)
class Send:
    """Do this HTTP call once; reply with an `Answer` or a `Failure`."""

    method: str
    path: str
    json: Any = field(default=None, repr=False)
    params: Mapping[str, str | int] = field(default_factory=dict[str, str | int])
    timeout: float | None = None  # None: what the client is set to
    submission: bool = False  # it is paid for when it arrives
    progress: Progress = field(default_factory=Progress, repr=False, compare=False)  # the shell keeps it up to date


@dataclass(frozen=True, slots=True)
class Sleep:
    """Let this time pass; reply with a `Woke`.

    Attributes:
        seconds: How long.
        news_of: Ids of tasks; news of one of them, from outside, ends the sleep early. Of many waits in one flow it is
            a `Wanted`, the same one in each step.
    """

    seconds: float
    news_of: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Changed:
    """Tell whoever watches that the task is not as it was; reply with a `Woke`."""

    task: Task[Output]


@dataclass(frozen=True, slots=True)
class Found:
    """Tell whoever iterates that there is this row of the history; reply with a `Woke`."""

    row: HistoryRow


@dataclass(frozen=True, slots=True)
class Answer:
    """The server answered, whatever it said.

    Attributes:
        status: The HTTP status.
        headers: With names in lower case.
        body: The body, or what arrived of it.
        at: When.
        broken: Why the body did not arrive whole; empty when it did.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    at: Moment
    broken: str = ""


class Delivery(Enum):
    """What is known of a request that brought no answer."""

    NEVER = "the request never left"  # DNS, refused, connect timeout, TLS, no free connection
    MAYBE = "the request may have arrived"  # read timeout, connection lost, answer that cannot be read


@dataclass(frozen=True, slots=True)
class Failure:
    """No answer came."""

    delivery: Delivery
    reason: str
    at: Moment


@dataclass(frozen=True, slots=True)
class Woke:
    """The time has passed, or the news was told.

    Attributes:
        at: When.
        news_of: The task of which news ended a sleep; None when the time has passed.
    """

    at: Moment
    news_of: str | None = None


Step: TypeAlias = Send | Sleep | Changed | Found
Reply: TypeAlias = Answer | Failure | Woke
Flow: TypeAlias = Generator[Step, Reply, T]


def no_answer(reply: Reply) -> str:
    """Why a request brought no answer, or none that is whole."""
    if isinstance(reply, Answer) and reply.broken:
        return f"HTTP {reply.status}, and {reply.broken}"
    return reply.reason if isinstance(reply, Failure) else repr(reply)
