"""Test programs that use unitask: a provider in memory, recordings, a clock whose sleeps return at once, bodies.

pytest finds the fixtures `unitask_provider`, `unitask_recording` and `unitask_sandbox` once unitask is installed;
outside of pytest `UnitaskProvider` and `UnitaskRecording` are context managers. docs/testing.md shows them.

pytest imports this package at each start, so its names are imported when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .clock import InstantClock
    from .provider import UnitaskProvider
    from .provider import running_sandbox as running_sandbox  # for the plugin
    from .recording import UnitaskRecording
    from .responses import ReceivedRequest, ReceivedTask
    from .strategies import documented_example, task_bodies

__all__ = [
    "InstantClock",
    "ReceivedRequest",
    "ReceivedTask",
    "UnitaskProvider",
    "UnitaskRecording",
    "documented_example",
    "task_bodies",
]

_MODULES = {
    "InstantClock": "clock",
    "ReceivedRequest": "responses",
    "ReceivedTask": "responses",
    "UnitaskProvider": "provider",
    "UnitaskRecording": "recording",
    "documented_example": "strategies",
    "running_sandbox": "provider",
    "task_bodies": "strategies",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
