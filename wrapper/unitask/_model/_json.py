"""Reading JSON that may be of any shape."""

import re
from typing import TypeGuard

from unitask_api.json_types import as_object, is_list, is_object, same
from unitask_api.reader import malformed_field

from ..errors import ProviderBroken

__all__ = ["as_object", "broken_field", "is_id", "is_list", "is_object", "same"]

LONGEST_ID = 512  # characters; a provider's have 36


def is_id(value: object) -> TypeGuard[str]:
    """Whether the value can be the id of a task, which stands in a path."""
    if not (isinstance(value, str) and value.strip() and len(value) <= LONGEST_ID):
        return False
    is_whole = not re.search("[\ufffd\ud800-\udfff]", value)  # U+FFFD stands for bytes that were damaged
    return is_whole and not {".", ".."}.intersection(re.split(r"[/\\]", value))


def broken_field(owner: str, name: str, value: object, expected: str, task_id: str | None) -> ProviderBroken:
    """Return the error of a field that is not as documented; readers of the generated client take it (`error=`)."""
    message = str(malformed_field(owner, name, value, expected, task_id))
    return ProviderBroken(message, status=200, task_id=task_id)
