"""For tests of programs that use unitask: a provider in memory, time that takes no time, documented bodies.

With pytest the fixtures `unitask_provider` and `unitask_sandbox` are there once unitask is installed; everywhere else
`UnitaskProvider` is a context manager. docs/testing.md shows both.

pytest loads this package at each start, so importing it imports nothing heavy: each name is loaded when it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .clock import InstantClock
    from .provider import ReceivedRequest, ReceivedTask, UnitaskProvider
    from .strategies import documented_example, task_bodies

__all__ = [
    "InstantClock",
    "ReceivedRequest",
    "ReceivedTask",
    "UnitaskProvider",
    "documented_example",
    "task_bodies",
]

_WHERE = {"InstantClock": "clock", "documented_example": "strategies", "task_bodies": "strategies"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_WHERE.get(name, 'provider')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
