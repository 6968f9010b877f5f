"""Which engine does which task: a table by (model, task_type).

An engine is a function that takes a task's input, its media already read into bytes, and returns files. It runs in a
worker process, so it must be a function at the top level of a module, and must not keep anything between two tasks that
a fresh process would lack.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from unitask_sandbox.failures import TaskFailure


@dataclass(frozen=True, slots=True)
class EngineResult:
    """What an engine made.

    Attributes:
        output: The task's output as JSON, in which a tuple of bytes and file name extension ("png") stands where the
            address of that file shall be.
        meta: Joined to the task's meta.
    """

    output: Mapping[str, Any]
    meta: Mapping[str, Any] = field(default_factory=dict[str, Any])


Engine = Callable[[Mapping[str, Any]], EngineResult]
ENGINES: dict[tuple[str, str], Engine] = {}


def engine(model: str, task_type: str) -> Callable[[Engine], Engine]:
    """Register the decorated function as the engine of a task type.

    Raises:
        ValueError: The task type has an engine already.
    """

    def register(function: Engine) -> Engine:
        taken = ENGINES.setdefault((model, task_type), function)
        if taken is not function:
            raise ValueError(f"{model} {task_type} has two engines: {name_of(taken)} and {name_of(function)}")
        return function

    return register


def run(function: Engine, given: Mapping[str, Any]) -> EngineResult:
    """Run an engine here.

    Raises:
        TaskFailure: Whatever the engine raised.
    """
    try:
        return function(given)
    except TaskFailure:
        raise
    except Exception as error:
        raise TaskFailure(f"{name_of(function)} raised {type(error).__name__}: {error}") from error


def name_of(function: Engine) -> str:
    """The engine as an error names it: module and function."""
    return f"{function.__module__}.{getattr(function, '__qualname__', function)}"
