"""The steps that the core yields, and the replies of a client.

Rules of this file: plain values that nothing changes, except for `Progress`, though not frozen, which takes three times
the time to make one; durations are in seconds; time enters the core only as `at` of a reply.
"""

from collections.abc import Callable, Collection, Generator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from .._model.account import HistoryRow
from .._model.task import Output, Task
from .._model.timestamp import Timestamp

T = TypeVar("T")
NO_PARAMS: Mapping[str, str | int] = {}


@dataclass(slots=True)
class Progress:
    """How far a request has got."""

    left: bool | None = None  # whether bytes of it may have left; None while that is unknown


@dataclass(slots=True)
class SendRequest:
    """Do this HTTP call once; reply with a `Response` or a `TransportFailure`."""

    method: str
    path: str
    json: Any = field(default=None, repr=False)
    params: Mapping[str, str | int] = field(default_factory=lambda: NO_PARAMS)
    timeout: float | None = None  # None: the client's
    submission: bool = False  # it is paid when it arrives
    progress: Progress = field(default_factory=Progress, repr=False, compare=False)  # updated by the client
    # Called just before it is sent; an exception means that it was not.
    check: Callable[[], object] | None = field(default=None, repr=False, compare=False)


@dataclass(slots=True)
class Sleep:
    """Let this time pass; reply with a `Resumed`."""

    seconds: float
    # Ids of tasks; a notification of one of them ends the sleep early. A flow may change the set between its steps.
    notification_of: Collection[str] = ()


@dataclass(slots=True)
class TaskUpdated:
    """Report that the task has changed; reply with a `Resumed`."""

    task: Task[Output]


@dataclass(slots=True)
class RowYielded:
    """Report a row of the history; reply with a `Resumed`."""

    row: HistoryRow


@dataclass(slots=True)
class Write:
    """Wait until a change of a journal is on the disk; reply with a `Resumed`. The flow reads the result."""

    change: Future[Any]


@dataclass(slots=True)
class Response:
    """An answer of the server."""

    status: int
    headers: Mapping[str, str] = field(repr=False)  # with names in lower case
    body: bytes = field(repr=False)  # the body, or the part of it that arrived
    at: Timestamp
    broken: str = ""  # why the body did not arrive whole; empty when it did


@dataclass(slots=True)
class TransportFailure:
    """No answer came."""

    reason: str
    at: Timestamp
    never_left: bool = False  # DNS, refused, connect timeout, TLS, no free connection; otherwise it may have arrived


@dataclass(slots=True)
class Resumed:
    """The time has passed, or a notification came."""

    at: Timestamp
    notification_of: str | None = None  # the task whose notification ended the sleep; None when the time has passed


Step: TypeAlias = SendRequest | Sleep | TaskUpdated | RowYielded | Write
Reply: TypeAlias = Response | TransportFailure | Resumed
Flow: TypeAlias = Generator[Step, Reply, T]


def no_answer(reply: Reply) -> str:
    """Return why a request brought no whole answer."""
    if isinstance(reply, Response) and reply.broken:
        return f"HTTP {reply.status}, and {reply.broken}"
    return reply.reason if isinstance(reply, TransportFailure) else repr(reply)
