"""What the core and a shell say to each other: the core yields a step, the shell takes it and answers with a reply.

Rules of this file: plain frozen values only; durations are in seconds; time enters the core only as `at` on a reply.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

if TYPE_CHECKING:
    from ..task import Output, Task

T = TypeVar("T")


class Moment(NamedTuple):
    """One moment on two clocks."""

    ticks: float  # monotonic seconds, for durations
    unix: float  # seconds since 1970, for people


@dataclass(frozen=True, slots=True)
class Send:
    """Do this HTTP call once; reply with an `Answer` or a `Failure`."""

    method: str
    path: str
    json: Any = field(default=None, repr=False)
    params: Mapping[str, str | int] = field(default_factory=dict[str, str | int])
    timeout: float | None = None  # None: what the client is set to


@dataclass(frozen=True, slots=True)
class Sleep:
    """Let this time pass; reply with a `Woke`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Changed:
    """Tell whoever watches that the task is not as it was; reply with a `Woke`."""

    task: Task[Output]


@dataclass(frozen=True, slots=True)
class Answer:
    """The server answered, whatever it said. Header names are in lower case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    at: Moment


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
    """The time has passed, or the news was told."""

    at: Moment


Step: TypeAlias = Send | Sleep | Changed
Reply: TypeAlias = Answer | Failure | Woke
Flow: TypeAlias = Generator[Step, Reply, T]
