"""Reading JSON that may be of any shape."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, TypeGuard

from unitask_api.reader import malformed_field

from ..errors import ProviderBroken

LONGEST_ID = 512  # characters; a provider's have 36


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether the value is a JSON object."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[Sequence[object]]:
    """Whether the value is a JSON list; a tuple becomes one."""
    return isinstance(value, list | tuple)


def as_object(value: object) -> dict[str, Any]:
    """The value if it is a JSON object, and an empty one if it is anything else."""
    return value if is_object(value) else {}


def is_id(value: object) -> TypeGuard[str]:
    """Whether the value can be the id of a task, which has to stand in a path: quoted, it names no other resource."""
    if not (isinstance(value, str) and value.strip() and len(value) <= LONGEST_ID):
        return False
    is_whole = not re.search("[\ufffd\ud800-\udfff]", value)  # U+FFFD stands for bytes that were damaged
    return is_whole and not {".", ".."}.intersection(re.split(r"[/\\]", value))


def same(value: object, wanted: object) -> bool:
    """Whether two values are equal as JSON: true is not 1."""
    return isinstance(value, bool) == isinstance(wanted, bool) and value == wanted


def broken_field(owner: str, name: str, value: object, expected: str, task_id: str | None) -> ProviderBroken:
    """Make the error for a field that is not as documented; readers of the generated client take it (`error=`)."""
    message = str(malformed_field(owner, name, value, expected, task_id))
    return ProviderBroken(message, status=200, task_id=task_id)
