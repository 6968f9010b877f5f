"""The task that words such as FIELD=VALUE describe."""

import dataclasses
import difflib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from unitask_api import contract
from unitask_api.json_types import is_list

from . import errors, tasks
from ._terminal import kebab, task_type

_SIMPLE = {"boolean": "true or false", "integer": "a whole number", "number": "a number"}
Read = Callable[[str, contract.Node], Any]  # from a text of a user, and the schema of its field, to a value


def task_of(name: str, words: Sequence[str], read: Read | None = None) -> Any:
    """Return the task that FIELD=VALUE and FIELD:=JSON describe.

    A text is taken as it is, or as `read` returns it; for a list, FIELD=ITEM is repeated; everything else is JSON, such
    as 6 or true.
    """
    entry, spelled = task_type(name), kebab if name == kebab(name) else str
    kind = getattr(tasks, entry.name)
    known = {field.name: field for field in dataclasses.fields(kind) if field.name != "extra"}
    values: dict[str, Any] = {}
    problems: list[str] = []
    for word in words:
        given, _, text = word.partition("=")
        is_json, field = given.endswith(":"), given.removesuffix(":").replace("-", "_")
        if "=" not in word or field not in known:
            fields = ", ".join(map(spelled, known))
            problems.append(f"{_unusable(word, name, list(known))}; the fields of {name} are {fields}")
            continue
        rule = {} if is_json else contract.field_rule(entry.input, field)
        try:
            _add(values, field, read(text, rule) if read else text, rule, is_json=is_json)
        except ValueError as error:
            problems.append(f"{given.removesuffix(':')} is {text!r:.80}: {error}")
    missing = [field for field, rule in known.items() if rule.default is dataclasses.MISSING and field not in values]
    problems += (f"{name} needs {spelled(field)}=..." for field in missing)
    if problems:
        raise errors.InvalidInput(*problems)
    return kind(**values)


def _unusable(word: str, name: str, known: list[str]) -> str:
    if "=" not in word:
        return f"{word!r:.80}: this is not FIELD=VALUE"
    given = word.partition("=")[0].removesuffix(":").replace("-", "_").lower()
    near = [one for one in known if given and (given in one or one in given)] or difflib.get_close_matches(given, known)
    hint = f": did you mean {kebab(near[0])}?" if near else ""
    return f"{word!r:.80}: {name} has no such field{hint}"


def _add(values: dict[str, Any], field: str, text: Any, rule: contract.Node, *, is_json: bool) -> None:
    """Add the value that a text stands for, or a value. For a list, each text is an item."""
    types, before = set(_types(rule)), values.get(field, [])
    is_text = isinstance(text, str)
    is_item = "array" in types and "string" not in types and not (is_text and text.lstrip().startswith("["))
    if field in values and not (is_item and is_list(before)):
        raise ValueError("the field is given twice")
    if is_item:
        types = set(_types(contract.resolve(rule).get("items", {})))
    value: Any = text
    if is_text and (is_json or (types and "string" not in types)):
        try:
            value = json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            wanted = " or ".join(_SIMPLE[one] for one in sorted(types) if one in _SIMPLE and not is_json)
            raise ValueError(f"{wanted} is expected" if wanted else f"JSON is expected ({error!s:.200})") from None
    values[field] = [*before, value] if is_item else value


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def _types(rule: dict[str, Any]) -> Iterator[str]:
    """Yield the JSON types that a rule allows."""
    resolved = contract.resolve(rule)
    named = resolved.get("type", ())
    yield from [named] if isinstance(named, str) else named
    for branch in resolved.get("anyOf", ()):
        yield from _types(branch)
