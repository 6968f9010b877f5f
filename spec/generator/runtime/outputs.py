"""The output class of a task."""

from __future__ import annotations

from . import contract, models
from .reader import Output


def output_type(model: object, task_type: object, given: object = None) -> type[Output]:
    """Return the output class of a task.

    Args:
        model: Its `model`.
        task_type: Its `task_type`.
        given: Its `input`, if known.

    Returns:
        The class; `Output` itself for a task type that is not in the catalogue.
    """
    entry = contract.find(model, task_type, given)
    return output_named(entry.output) if entry else Output


def output_named(name: str) -> type[Output]:
    """Return an output class by its name; `Output` itself for an unknown name."""
    known = {entry.output for entry in contract.task_types().values()}
    found: type[Output] = getattr(models, name) if name in known else Output
    return found
