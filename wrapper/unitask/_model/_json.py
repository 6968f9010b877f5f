"""Reading JSON that may be of any shape."""

from __future__ import annotations

import re
from typing import TypeGuard
from unicodedata import category

from unitask_api.json_types import as_object, is_list, is_object, same

__all__ = ["as_object", "is_id", "is_list", "is_object", "printable", "same"]

# Controls, marks that turn the direction of writing or are not seen, halves of characters, and ends of lines.
_UNSEEN = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
LONGEST_ID = 512  # characters; a provider's have 36


def is_id(value: object) -> TypeGuard[str]:
    """Whether the value can be the id of a task, which has to stand in a path: quoted, it names no other resource."""
    if not (isinstance(value, str) and value.strip() and len(value) <= LONGEST_ID):
        return False
    is_whole = not re.search("[\ufffd\ud800-\udfff]", value)  # U+FFFD stands for bytes that were damaged
    return is_whole and not {".", ".."}.intersection(re.split(r"[/\\]", value))


def printable(text: str) -> str:
    """The text with each character escaped that a terminal or a log would obey and not show."""
    if text.isprintable():
        return text
    return "".join(
        letter.encode("unicode_escape").decode("ascii") if category(letter) in _UNSEEN else letter for letter in text
    )
