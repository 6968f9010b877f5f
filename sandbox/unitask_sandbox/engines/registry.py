"""Which engine does which task: a table by (model, task_type).

An engine is a function that takes a task's input, its media already read into bytes, and returns files. It runs in a
worker process, so it must be a function at the top level of a module, and must not keep anything between two tasks.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from unitask_sandbox.failures import TaskFailure


@dataclass(frozen=True, slots=True)
class EngineResult:
    """What an engine made."""

    # the task's output as JSON, with a tuple of bytes and file name extension ("png") in place of each file's address
    output: Mapping[str, Any]
    meta: Mapping[str, Any] = field(default_factory=dict[str, Any])  # joined to the task's meta


Engine = Callable[[Mapping[str, Any]], EngineResult]
ENGINES: dict[tuple[str, str], Engine] = {}
MOST_SECONDS: dict[Engine, float] = {}  # that one task of an engine may take in the worker process
USUAL_SECONDS = 120.0


def engine(model: str, task_type: str, most_seconds: float = USUAL_SECONDS) -> Callable[[Engine], Engine]:
    """Register the decorated function as the engine of a task type."""

    def register(function: Engine) -> Engine:
        ENGINES[model, task_type] = function
        MOST_SECONDS[function] = most_seconds
        return function

    return register


def run(function: Engine, given: Mapping[str, Any]) -> EngineResult:
    """Run an engine here."""
    name = name_of(function)
    try:
        return function(given)
    except TaskFailure:
        raise
    except ImportError as error:  # hibari, the only optional module
        install = "pip install 'unitask[sandbox-tts]'"
        raise TaskFailure(f"the engine {name} needs the extra 'sandbox-tts': {install} ({error})") from error
    except Exception as error:
        raise TaskFailure(f"{name} raised {type(error).__name__}: {error}") from error


def name_of(function: Engine) -> str:
    """Return an engine's name for errors: module and function."""
    return f"{function.__module__}.{getattr(function, '__qualname__', function)}"
