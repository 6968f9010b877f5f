"""Types of JSON values, and printable text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard
from unicodedata import category

__all__ = ["as_object", "is_list", "is_object", "printable", "same"]

# Controls, invisible marks, surrogates, and ends of lines.
_INVISIBLE = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Return whether the value is a JSON object."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[Sequence[object]]:
    """Return whether the value is a JSON list; a tuple becomes one."""
    return isinstance(value, list | tuple)


def as_object(value: object) -> dict[str, Any]:
    """Return the value if it is a JSON object, else an empty object."""
    return value if is_object(value) else {}


def same(value: object, wanted: object) -> bool:
    """Return whether two values are equal as JSON, where true is not 1."""
    return isinstance(value, bool) == isinstance(wanted, bool) and value == wanted


def printable(text: str) -> str:
    """Escape the characters that a terminal or a log would interpret or hide."""
    if text.isprintable():
        return text
    return "".join(
        letter.encode("unicode_escape").decode("ascii") if category(letter) in _INVISIBLE else letter for letter in text
    )
