"""From the words of a command line to the input of a task: FIELD=VALUE by the type of the field, FIELD:=JSON as it is.

text              as it is, also if it looks like a number; a file is given by its path or its URL
integer, number   in decimal digits
boolean           true, yes or 1; false, no or 0
list              FIELD=ITEM once for each item, or all of it as JSON
object            as JSON
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

from unitask_api import contract

from . import tasks
from ._model._json import is_list, is_object
from .errors import InvalidInput

Rule = Mapping[str, Any]

LONGEST = 80  # characters of a wrong value that a message repeats
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class _Given(NamedTuple):
    """What stands behind the equals sign of a word, and whether it is JSON by the word's own account (`:=`)."""

    text: str
    is_json: bool


def task_of(name: str, words: Sequence[str]) -> Any:
    """The task that a command line describes.

    Args:
        name: A class of `unitask.tasks`.
        words: FIELD=VALUE and FIELD:=JSON.

    Raises:
        InvalidInput: With all problems found.
    """
    entry = contract.task_types().get(name)
    if entry is None:
        raise InvalidInput(
            f"there is no task type {_short(name)}: `unitask tasks` lists them{_meant(name, contract.task_types())}"
        )
    kind = getattr(tasks, name)
    known = {field.name: field for field in dataclasses.fields(kind) if field.name != "extra"}
    has = f"{name} has {', '.join(known)}"
    given: dict[str, list[_Given]] = {}
    problems: list[str] = []
    for word in words:
        field, equals, text = word.partition("=")
        name_of_field = field.removesuffix(":")
        if not equals:
            problems.append(f"{_short(word)} is not of the form FIELD=VALUE; {has}")
        elif name_of_field not in known:
            there = f"it has {', '.join(known)}"
            problems.append(f"{name} has no field {_short(name_of_field)}; {there}{_meant(name_of_field, known)}")
        else:
            given.setdefault(name_of_field, []).append(_Given(text, field.endswith(":")))
    missing = [field for field, rule in known.items() if rule.default is dataclasses.MISSING and field not in given]
    problems += (f"{name} needs {field}=..." for field in missing)
    values: dict[str, Any] = {}
    for field, parts in given.items():
        try:
            values[field] = _value(field, parts, contract.field_rule(entry.input, field))
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise InvalidInput(*problems)
    return kind(**values)


def _value(field: str, given: Sequence[_Given], rule: Rule) -> Any:
    """The value of a field, from all words that name it.

    Raises:
        ValueError: They give no such value. The message names the field, the value and what is expected.
    """
    first, types = given[0], _types(rule)
    is_list = "array" in types and "string" not in types
    if len(given) > 1 and not (is_list and not any(part.is_json for part in given)):
        texts = ", ".join(_short(part.text) for part in given)
        raise ValueError(f"{field} is given {len(given)} times ({texts}): give it once")
    if first.is_json:
        return _json(field, first.text, "JSON is expected after :=")
    if not is_list:
        return _converted(field, first.text, rule)
    if len(given) == 1 and first.text.lstrip().startswith("["):
        return _json(
            field, first.text, f'a list in JSON is expected; {field}:=["..."] gives an item that begins with ['
        )
    items: Rule = contract.resolve(dict(rule)).get("items", {})
    return [_converted(field, part.text, items) for part in given]


def _converted(field: str, text: str, rule: Rule) -> Any:
    """The value that a text stands for."""
    types = _types(rule)
    value: Any = text
    if types and "string" not in types:
        readers = [reader for name, reader in _READERS.items() if name in types]
        for read, _ in readers:
            with contextlib.suppress(ValueError):
                value = read(text)
                break
        else:
            raise ValueError(f"{field} is {_short(text)}: {' or '.join(what for _, what in readers)} is expected")
    listed: Sequence[Any] = contract.resolve(dict(rule)).get("enum", ())
    if listed and value not in listed:
        choices = ", ".join(str(choice) for choice in listed)
        raise ValueError(f"{field} is {_short(text)}: one of {choices} is expected{_meant(text, listed)}")
    return value


def _types(rule: Rule) -> set[str]:
    """The JSON types that a rule allows, null excepted."""
    return {*_named_types(rule)} - {"null"}


def _named_types(rule: Rule) -> Iterator[str]:
    resolved: Rule = contract.resolve(dict(rule))
    named = resolved.get("type", ())
    yield from [named] if isinstance(named, str) else named
    for branch in resolved.get("anyOf", ()):
        yield from _named_types(branch)


def _integer(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,400}", text):
        raise ValueError(text)
    return int(text)


def _number(text: str) -> float:
    with contextlib.suppress(ValueError):
        return _integer(text)
    if not re.fullmatch(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?", text):
        raise ValueError(text)
    if not math.isfinite(number := float(text)):
        raise ValueError(text)
    return number


def _boolean(text: str) -> bool:
    if text.lower() not in _BOOLEANS:
        raise ValueError(text)
    return _BOOLEANS[text.lower()]


def _parsed(text: str) -> Any:
    def refuse(word: str) -> Any:
        raise ValueError(f"{word} is no number in JSON")

    try:
        return json.loads(text, parse_constant=refuse)
    except RecursionError:
        raise ValueError("too many brackets inside one another") from None


def _object(text: str) -> Any:
    if not is_object(value := _parsed(text)):
        raise ValueError(text)
    return value


def _array(text: str) -> Any:
    if not is_list(value := _parsed(text)):
        raise ValueError(text)
    return value


# How a value of each JSON type is read, and what is expected where it cannot be.
_READERS: Mapping[str, tuple[Callable[[str], Any], str]] = {
    "boolean": (_boolean, "true or false"),
    "integer": (_integer, "a whole number"),
    "number": (_number, "a number"),
    "object": (_object, "an object in JSON"),
    "array": (_array, "a list in JSON"),
}


def _json(field: str, text: str, expected: str) -> Any:
    try:
        return _parsed(text)
    except ValueError as error:
        raise ValueError(f"{field} is {_short(text)}: {expected} ({error!s:.200})") from None


def _short(text: str) -> str:
    shown = repr(text)
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}... ({len(text)} characters)"


def _meant(text: str, words: Iterable[object]) -> str:
    """A question for the word that was meant, if there is one like this text."""
    by_fold = {str(word).lower(): str(word) for word in words}
    close = get_close_matches(text.lower(), by_fold, n=1)
    return f" (did you mean {by_fold[close[0]]}?)" if close else ""
