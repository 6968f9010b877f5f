"""A body that shows a difference to the spec and nothing else: no key, no person, no file, no prompt.

Rules of this file: what is kept is listed, not what is removed. A text stays if the spec lists it as a word, if it is a
time, or if the difference lies in its very characters and it looks like a word; anything else becomes a text of the
same form. A number stays if it is 0, or if the difference lies in its very value. Keys of maps are data like any other.
What the spec says nothing about is left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, cast

from unitask_contract import bundle
from unitask_contract.bundle import fields, items
from unitask_contract.patches.contradictions import NEWS, Finding, findings, schema_of
from unitask_contract.scenarios import TASK_ID
from unitask_contract.schema_paths import Path, Place, Placed, Schemas, below, is_named, parts, pointer, rules

REMOVED = "removed"
LONGEST_WORD = 40
LONGEST_TEXT = 5_000
LARGEST = 2**53
STATUSES = range(100, 600)
# Keywords that are about the very characters of a text, or the very value of a number.
OF_WORDS = ("enum", "const", "pattern", "format")
OF_NUMBERS = ("enum", "const", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
OF_LENGTH = ("minLength", "maxLength")
OF_NUMBER_OF_PARTS = ("minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:?\d\d)?")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_EMAIL = re.compile(r"\S+@\S+\.\S+")
_ADDRESS = re.compile(r"(?:[a-z][a-z0-9+.-]*:)?//\S+", re.IGNORECASE)
_EXTENSION = re.compile(
    r"\.(png|jpe?g|webp|gif|mp4|webm|mov|mp3|wav|ogg|flac|glb|zip|json|ply|obj)(?=$|[?#])", re.IGNORECASE
)
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
_PLAIN = ("", "true", "false", "null", "none")
_WORD = re.compile(r"[A-Za-z0-9]+([._:/+-][A-Za-z0-9]+)*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9]*([_.-][A-Za-z0-9]+)*_?")


@cache
def _names() -> frozenset[str]:
    return frozenset(_fields(bundle.schemas()))


def _fields(node: Any) -> Iterator[str]:
    yield from fields(fields(node).get("properties"))
    for _, part in parts(node):
        yield from _fields(part)


def key_of(found: Finding) -> tuple[str, str, str, tuple[str, ...]]:
    """What a difference and its redacted form have in common: keys of maps are data."""
    return pointer(redacted_path(found.where)), str(found.place), found.keyword, found.names


def redacted_path(path: Path) -> Path:
    """A path in a body, with the keys that the spec does not name removed."""
    return tuple(step if isinstance(step, int) or step in _names() else REMOVED for step in path)


@cache
def words() -> frozenset[str]:
    """Every text that the spec lists: enumerations, advised ones too, models and task types."""
    entries = bundle.entries().values()
    named = [str(entry[key]) for entry in entries for key in ("model", "task_type")]
    return frozenset([*named, *_listed(bundle.document())])


def _listed(node: Any) -> Iterator[str]:
    for value in (*items(fields(node).get("enum")), fields(node).get("const")):
        if isinstance(value, str):
            yield value
    for step, part in parts(node):
        if step != "examples":
            yield from _listed(part)


def redacted(body: Any, component: str) -> Any:
    """The body without anything that could tell whose it is; None when it would not show its differences any more.

    Args:
        body: What was answered, read as JSON.
        component: The component that it should be one of: see `bundle.component_of`.
    """
    schemas: Schemas = bundle.schemas()
    schema = schema_of(component, body, schemas)
    found = [one for one in findings(body, schema, schemas) if one.keyword != NEWS or name_of(one.names[0]) != REMOVED]
    kept = _Kept(found, schemas)
    shown = kept.value(body, rules(schema, Place(""), body, schemas), ())
    again = findings(shown, schema_of(component, shown, schemas), schemas)
    same = set(map(key_of, again)) == set(map(key_of, found)) and _listed_values(again) == _listed_values(found)
    return shown if same and _is_json(shown) else None


def _listed_values(found: list[Finding]) -> set[str]:
    """The values that would have to be listed: another one in their place would be a lie."""
    return {repr((key_of(one), one.value)) for one in found if one.keyword in ("enum", "const")}


def _is_json(value: Any) -> bool:
    """Whether a value can be written: no lone half of a character, no number that JSON has no form for."""
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except ValueError:
        return False
    return True


class _Kept:
    """What is kept of a body.

    Args:
        found: Its differences.
        schemas: The components of the spec.
    """

    def __init__(self, found: list[Finding], schemas: Schemas) -> None:
        self._schemas = schemas
        self._keywords: dict[Path, set[str]] = {}
        for one in found:
            self._keywords.setdefault(one.where, set()).add(one.keyword)
        self._above = {one.where[:length] for one in found for length in range(len(one.where) + 1)}

    def value(self, value: Any, found: list[Placed], where: Path) -> Any:
        """What a value becomes."""
        if isinstance(value, dict):
            return self._object(cast("dict[str, Any]", value), found, where)
        if isinstance(value, list):
            return self._list(cast("list[object]", value), found, where)
        is_status = where == ("code",) and value in STATUSES
        return value if is_status else _scalar(value, self._keywords.get(where, set()), found)

    def _below(self, found: list[Placed], part: Any, step: str | int) -> list[Placed]:
        return below(found, part, step, self._schemas)

    def _object(self, value: dict[str, Any], found: list[Placed], where: Path) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        everything = self._keywords.get(where, set()) & set(OF_NUMBER_OF_PARTS)
        for step, part in value.items():
            path = (*where, step)
            if is_named(found, step):
                kept[step] = self.value(part, self._below(found, part, step), path)
            elif NEWS in self._keywords.get(path, set()) or "additionalProperties" in self._keywords.get(where, set()):
                kept[name_of(step)] = _outline(part)
            elif (path in self._above or everything or not kept) and (inner := self._below(found, part, step)):
                kept[_key(step, kept)] = self.value(part, inner, path)
        return kept

    def _list(self, value: list[Any], found: list[Placed], where: Path) -> list[Any]:
        kept: list[Any] = []
        everything = self._keywords.get(where, set()) & set(OF_NUMBER_OF_PARTS)
        for number, part in enumerate(value):
            path = (*where, number)
            inner = self._below(found, part, number)
            if everything or path in self._above or (not kept and inner):
                item = self.value(part, inner, path)
                if everything or item not in kept:
                    kept.append(item)
        return kept


def _key(step: str, taken: dict[str, Any]) -> str:
    """A key of a map: a word of the spec as it is, any other by its form and its number."""
    if step in words():
        return step
    key = TASK_ID if _UUID.fullmatch(step) else REMOVED
    return key if key not in taken else f"{REMOVED}-{len(taken) + 1}"


def name_of(step: str) -> str:
    """The name of a new field, if it can be one and is no id."""
    return step if len(step) <= LONGEST_WORD and _NAME.fullmatch(step) and not _is_secret(step) else REMOVED


def _outline(value: Any) -> Any:
    """A new field: nothing is known of what it holds, so its form stays and its content goes."""
    if isinstance(value, dict):
        named = {name_of(step): part for step, part in cast("dict[str, Any]", value).items()}
        return {step: _without_addresses(_outline(part)) for step, part in named.items() if step != REMOVED}
    if isinstance(value, list):
        return [_outline(part) for part in cast("list[object]", value)[:1]]
    return _scalar(value, set(), [])


def _scalar(value: Any, keywords: set[str], found: list[Placed]) -> Any:
    if isinstance(value, str):
        return _text(value, keywords)
    return _number(value, keywords, found) if isinstance(value, int | float) else value


def _without_addresses(value: Any) -> Any:
    """An address inside an object of unknown fields: no schema can say what lies there."""
    return REMOVED if isinstance(value, str) and _ADDRESS.match(value) else value


def _text(text: str, keywords: set[str]) -> str:
    if text in words() or text.lower() in _PLAIN or _TIME.fullmatch(text):
        return text
    if keywords & set(OF_WORDS) and len(text) <= LONGEST_WORD and _WORD.fullmatch(text) and not _is_secret(text):
        return text
    if keywords & set(OF_LENGTH) and len(text) <= LONGEST_TEXT:
        return "x" * len(text)
    return _of_the_same_form(text)


def _of_the_same_form(text: str) -> str:
    if _EMAIL.fullmatch(text):
        return "removed@removed.test"
    if _ADDRESS.match(text):
        extension = _EXTENSION.search(text)
        return f"https://removed.test/file{extension[0].lower() if extension else ''}"
    if _UUID.fullmatch(text):
        return TASK_ID
    return "1" if _NUMBER.fullmatch(text) else REMOVED


def _is_secret(text: str) -> bool:
    """Whether a text could be a key, an id, an address or a part of a file: letters and digits in disorder."""
    if (
        _EMAIL.search(text)
        or _ADDRESS.match(text)
        or _UUID.search(text)
        or re.match(r"(sk|pk|key|bearer)[ _-]", text, re.I)
    ):
        return True
    for run in re.findall(r"[A-Za-z0-9+]{10,}", text):
        changes = len(re.findall(r"(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])|(?<=[a-z])(?=[A-Z])", run))
        is_hex = re.fullmatch(r"[0-9a-f]{12,}", run, re.IGNORECASE) and not run.isalpha()
        if is_hex or changes > 2 + run.isalpha() or len(run) > 24:
            return True
    return re.search(r"\d{5}", text) is not None


def _number(value: Any, keywords: set[str], found: list[Placed]) -> Any:
    if isinstance(value, bool) or value == 0:
        return value
    if keywords & set(OF_NUMBERS) and abs(value) < LARGEST:
        return value
    sign = -1 if value < 0 else 1
    if isinstance(value, float) and not value.is_integer():
        return sign * 0.5
    listed = [schema[key] for _, schema in found for key in ("minimum", "maximum") if key in schema]
    plain = next((one for one in (sign, *listed) if all(_allows(schema, one) for _, schema in found)), sign)
    return type(value)(plain)


def _allows(schema: dict[str, Any], value: int) -> bool:
    return bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))
