"""Which engine does which task: a table by (model, task_type).

An engine is a function that takes a task's input, its media already read into bytes, and returns files. It runs in a
worker process, so it must be a function at the top level of a module, and must not keep anything between two tasks that
a fresh process would lack. What only an optional extra brings is imported inside the function: `run` turns a failing
import into a failed task that names the extra.
"""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from unitask_sandbox.failures import TaskFailure


@dataclass(frozen=True, slots=True)
class EngineResult:
    """What an engine made."""

    # the task's output as JSON, in which a tuple of bytes and file name extension ("png") stands where the address of
    # that file shall be
    output: Mapping[str, Any]
    meta: Mapping[str, Any] = field(default_factory=dict[str, Any])  # joined to the task's meta


@dataclass(frozen=True, slots=True)
class Needs:
    """What an engine needs and may take."""

    extra: str = "sandbox"  # the extra of the package that brings what it imports
    seconds: float = 120.0  # how long one task may take in the worker process
    # by how much one task may make the worker process grow; not checked where there is no /proc (it is there on Linux)
    mebibytes: float = 2048.0


Engine = Callable[[Mapping[str, Any]], EngineResult]
ENGINES: dict[tuple[str, str], Engine] = {}
_NEEDS: dict[Engine, Needs] = {}


def engine(model: str, task_type: str, needs: Needs | None = None) -> Callable[[Engine], Engine]:
    """Register the decorated function as the engine of a task type."""

    def register(function: Engine) -> Engine:
        taken = ENGINES.setdefault((model, task_type), function)
        if taken is not function:
            raise ValueError(f"{model} {task_type} has two engines: {name_of(taken)} and {name_of(function)}")
        if needs is not None:
            _NEEDS[function] = needs
        return function

    return register


def needs_of(function: Engine) -> Needs:
    """What an engine needs and may take, as it was registered."""
    return _NEEDS.get(function, Needs())


def run(function: Engine, given: Mapping[str, Any]) -> EngineResult:
    """Run an engine here."""
    name = name_of(function)
    try:
        with naming_extra(needs_of(function).extra, f"the engine {name}"):
            return function(given)
    except TaskFailure:
        raise
    except Exception as error:
        raise TaskFailure(f"{name} raised {type(error).__name__}: {error}") from error


@contextmanager
def naming_extra(extra: str, who: str) -> Generator[None]:
    """Turn a failing import into the failure of a task that says what to install."""
    try:
        yield
    except ImportError as error:
        install = f"pip install 'unitask[{extra}]'"
        raise TaskFailure(f"{who} needs the extra {extra!r}: {install} ({error})") from error


def name_of(function: Engine) -> str:
    """The engine as an error names it: module and function."""
    return f"{function.__module__}.{getattr(function, '__qualname__', function)}"
