"""Find the class that reads the output of a task."""

from __future__ import annotations

from . import contract, models
from .reader import Output


def output_type(model: object, task_type: object, given: object = None) -> type[Output]:
    """Return the class that reads the output of a task.

    Args:
        model: Its `model`.
        task_type: Its `task_type`.
        given: Its `input`, as far as it is known.

    Returns:
        The class; `Output` itself for a task type that is not in the catalogue.
    """
    entry = contract.find(model, task_type, given)
    return output_named(entry.output) if entry else Output


def output_named(name: str) -> type[Output]:
    """Return the class of an output by its name; `Output` itself when there is none of that name."""
    known = {entry.output for entry in contract.task_types().values()}
    found: type[Output] = getattr(models, name) if name in known else Output
    return found
