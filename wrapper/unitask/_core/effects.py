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
from .._model.timestamp import Timestamp

T = TypeVar("T")


class WakeSet(Collection[str]):
    """Ids of tasks of which notifications is wanted: a set that one flow changes while it waits again and again.

    It knows what has changed, so that whoever listens need not read all of it each time.
    """

    def __init__(self) -> None:
        self._ids: dict[str, None] = {}
        self._changed: dict[str, None] = {}

    def add(self, task_id: str) -> None:
        """Notifications of this task is wanted from now on."""
        self._ids[task_id] = self._changed[task_id] = None

    def discard(self, task_id: str) -> None:
        """Notifications of this task is wanted no longer."""
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
class SendRequest:
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
        notification_of: Ids of tasks; a notification of one of them ends the sleep early. Many waits in one flow give
            one `WakeSet`, the same in each step.
    """

    seconds: float
    notification_of: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class TaskUpdated:
    """Tell whoever watches that the task is not as it was; reply with a `Woke`."""

    task: Task[Output]


@dataclass(frozen=True, slots=True)
class RowYielded:
    """Tell whoever iterates that there is this row of the history; reply with a `Woke`."""

    row: HistoryRow


@dataclass(frozen=True, slots=True)
class Response:
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
    at: Timestamp
    broken: str = ""


class Delivery(Enum):
    """What is known of a request that brought no answer."""

    NEVER = "the request never left"  # DNS, refused, connect timeout, TLS, no free connection
    MAYBE = "the request may have arrived"  # read timeout, connection lost, answer that cannot be read


@dataclass(frozen=True, slots=True)
class TransportFailure:
    """No answer came."""

    delivery: Delivery
    reason: str
    at: Timestamp


@dataclass(frozen=True, slots=True)
class Resumed:
    """The time has passed, or a notification came.

    Attributes:
        at: When.
        notification_of: The task of which notifications ended a sleep; None when the time has passed.
    """

    at: Timestamp
    notification_of: str | None = None


Step: TypeAlias = SendRequest | Sleep | TaskUpdated | RowYielded
Reply: TypeAlias = Response | TransportFailure | Resumed
Flow: TypeAlias = Generator[Step, Reply, T]


def no_answer(reply: Reply) -> str:
    """Why a request brought no answer, or none that is whole."""
    if isinstance(reply, Response) and reply.broken:
        return f"HTTP {reply.status}, and {reply.broken}"
    return reply.reason if isinstance(reply, TransportFailure) else repr(reply)
