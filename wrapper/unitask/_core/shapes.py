"""Reading JSON that may be of any shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether the value is a JSON object."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[Sequence[object]]:
    """Whether the value is a JSON list; a tuple becomes one."""
    return isinstance(value, list | tuple)


def as_object(value: object) -> dict[str, Any]:
    """The value if it is a JSON object, and an empty one if it is anything else."""
    return value if is_object(value) else {}


def same(value: object, wanted: object) -> bool:
    """Whether two values are equal as JSON: true is not 1."""
    return isinstance(value, bool) == isinstance(wanted, bool) and value == wanted
