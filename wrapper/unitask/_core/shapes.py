"""Reading JSON that may be of any shape."""

from __future__ import annotations

from typing import Any, cast


def as_object(value: object) -> dict[str, Any]:
    """The value if it is a JSON object, and an empty one if it is anything else."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
