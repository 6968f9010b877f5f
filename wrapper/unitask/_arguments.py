"""Read the input of a task from a command line: FIELD=VALUE by the type of the field, FIELD:=JSON as it is.

A text is taken as it is; a file is given by its path or its URL. For a list, FIELD=ITEM is repeated. Everything else is
JSON: `duration=6`, `enable_audio=true`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from typing import Any

from unitask_api import contract

from . import tasks
from .errors import InvalidInput


def task_of(name: str, words: Sequence[str]) -> Any:
    """Return the task that a command line describes.

    Args:
        name: A class of `unitask.tasks`.
        words: FIELD=VALUE and FIELD:=JSON.

    Raises:
        InvalidInput: With all problems found.
    """
    entry = contract.task_types().get(name)
    if entry is None:
        raise InvalidInput(f"there is no task type {name!r:.80}: `unitask tasks` lists them")
    kind = getattr(tasks, name)
    known = {field.name: field for field in dataclasses.fields(kind) if field.name != "extra"}
    values: dict[str, Any] = {}
    problems: list[str] = []
    for word in words:
        field, _, text = word.partition("=")
        is_json, field = field.endswith(":"), field.removesuffix(":")
        if "=" not in word or field not in known:
            problems.append(f"{word!r:.80} is not FIELD=VALUE: the fields of {name} are {', '.join(known)}")
            continue
        try:
            _add(values, field, text, {} if is_json else contract.field_rule(entry.input, field), is_json=is_json)
        except ValueError as error:
            problems.append(f"{field} is {text!r:.80}: {error}")
    missing = [field for field, rule in known.items() if rule.default is dataclasses.MISSING and field not in values]
    problems += (f"{name} needs {field}=..." for field in missing)
    if problems:
        raise InvalidInput(*problems)
    return kind(**values)


def _add(values: dict[str, Any], field: str, text: str, rule: dict[str, Any], *, is_json: bool) -> None:
    types = set(_types(rule))
    if "array" in types and "string" not in types and not text.lstrip().startswith("["):
        items = values.setdefault(field, [])
        if isinstance(items, list):
            items.append(_value(text, contract.resolve(rule).get("items", {}), is_json=False))
            return
    if field in values:
        raise ValueError("the field is given twice")
    values[field] = _value(text, rule, is_json=is_json)


def _value(text: str, rule: dict[str, Any], *, is_json: bool) -> Any:
    types = set(_types(rule))
    if not is_json and (not types or "string" in types):
        return text
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"JSON is expected, such as 6 or true ({error!s:.200})") from None


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def _types(rule: dict[str, Any]) -> Iterator[str]:
    """Yield the JSON types that a rule allows."""
    resolved = contract.resolve(rule)
    named = resolved.get("type", ())
    yield from [named] if isinstance(named, str) else named
    for branch in resolved.get("anyOf", ()):
        yield from _types(branch)
