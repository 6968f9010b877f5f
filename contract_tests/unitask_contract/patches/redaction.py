"""Reduce a body to its differences: without keys, names, addresses and prompts.

What is kept is listed, not what is removed. A text stays if the spec lists it, or if it is a time; any other text
becomes one of the same form. A number stays if it is 0. Keys of maps are data, too. What the spec does not describe is
left out, except the names of new fields. Where the spec lists words, another word stays, and so does a number that
exceeds a limit.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, cast

from unitask_api.output_files import ending_of, is_ending
from unitask_contract import bundle
from unitask_contract.bundle import fields, items
from unitask_contract.patches.contradictions import NEW_FIELD, NEW_WORD, Finding, findings, open_lists, schema_of
from unitask_contract.schema_paths import Path, Place, Placed, Schemas, below, form_of, is_named, parts, pointer, rules

REMOVED = "removed"
TASK_ID = "90efd2db-bcfc-413f-a0be-c893850c9d68"  # in place of any other
LONGEST_WORD = 40
MOST_CAPITALS = 3  # inside a word; more are a token
STATUSES = range(100, 600)
OF_VALUES = ("const", "pattern", "format")  # keywords about a value, which would have to be shown
OF_WORDS, OF_NUMBERS = ("enum", NEW_WORD), ("minimum", "maximum")  # about a value that is shown
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:?\d\d)?")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_EMAIL = re.compile(r"[^\s@]*@\S+\.\S+")
_ADDRESS = re.compile(r"(?:[a-z][a-z0-9+.-]*:)?//\S+", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
_PLAIN = ("", "true", "false", "null", "none")
_WORD = re.compile(r"[A-Za-z]{1,20}\d{0,3}([_.-]([A-Za-z]{1,20}\d{0,3}|\d{1,3})){0,5}_?")
_MEASURE = re.compile(r"\d{1,4}[a-zA-Z]{0,2}|\d{1,2}:\d{1,2}")  # such as 1080p and 16:9


def redacted(body: Any, component: str) -> Any:
    """Return the redacted body of a component; None when it would not show the differences any more."""
    schemas = bundle.schemas()
    schema = schema_of(component, body, schemas)
    found = [one for one in findings(body, schema, schemas) if not one.is_new or word_of(one.names[0]) != REMOVED]
    shown = _Redactor(found, schemas).value(body, rules(schema, Place(""), body, schemas))
    again = findings(shown, schema_of(component, shown, schemas), schemas)
    is_same = set(map(key_of, again)) == set(map(key_of, found))
    return shown if is_same and not any(one.keyword in OF_VALUES for one in found) else None


def key_of(found: Finding) -> tuple[str, str, str, tuple[str, ...]]:
    """Return what a difference and its redacted form have in common."""
    return shown_path(found.where), str(found.place), found.keyword, found.names


def shown_path(path: Path) -> str:
    """Return a path as text, without the keys that the spec does not name."""
    return pointer(tuple(step if isinstance(step, int) or step in names() else REMOVED for step in path))


def name_of(step: str) -> str:
    """Return the name of a new field, if it is a word of an API, and neither a token, an id nor an address."""
    is_word = len(step) <= LONGEST_WORD and _WORD.fullmatch(step) is not None
    return step if is_word and len(re.findall("[a-z][A-Z]", step)) <= MOST_CAPITALS else REMOVED


def word_of(text: str) -> str:
    """Return a word that a list of the spec lacks, if it is one of an API, such as "1080p"."""
    return text if _MEASURE.fullmatch(text) else name_of(text)


@cache
def names() -> frozenset[str]:
    return frozenset(name for rule in _rules(bundle.schemas()) for name in fields(rule.get("properties")))


@cache
def words() -> frozenset[str]:
    """Return every text that the spec lists: enumerations, advised ones too, models and task types."""
    named = [str(entry[key]) for entry in bundle.entries().values() for key in ("model", "task_type")]
    listed = [word for rule in _rules(bundle.schemas()) for word in (*items(rule.get("enum")), rule.get("const"))]
    return frozenset([*named, *(word for word in listed if isinstance(word, str))])


def _rules(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield cast("dict[str, Any]", node)
    for _, part in parts(node):
        yield from _rules(part)


class _Redactor:
    """Redacts the parts of a body, and keeps what its differences need."""

    def __init__(self, found: list[Finding], schemas: Schemas) -> None:
        self._schemas = schemas
        self._new = {one.where for one in found if one.keyword == NEW_FIELD}
        self._shown = {one.where for one in found if one.keyword in OF_NUMBERS}
        self._shown |= {one.where for one in found if one.keyword in OF_WORDS and word_of(str(one.value)) != REMOVED}
        self._above = {one.where[:length] for one in found for length in range(len(one.where) + 1)}

    def value(self, value: Any, found: list[Placed], where: Path = ()) -> Any:
        if isinstance(value, dict):
            return self._object(cast("dict[str, Any]", value), found, where)
        if isinstance(value, list):
            return self._list(cast("list[object]", value), found, where)
        if where in self._shown or (where == ("code",) and value in STATUSES):
            return value
        if isinstance(value, str):
            for _, words, listed in open_lists(found):
                return value if value.casefold() in words else listed[0]
        return _scalar(value)

    def _object(self, value: dict[str, Any], found: list[Placed], where: Path) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for step, part in value.items():
            path, inner = (*where, step), below(found, part, step, self._schemas)
            if is_named(found, step):
                kept[step] = self.value(part, inner, path)
            elif path in self._new:
                kept[name_of(step)] = _outline(part)
            elif inner and (path in self._above or not kept):
                kept[_map_key(step, kept)] = self.value(part, inner, path)
        return kept

    def _list(self, value: list[Any], found: list[Placed], where: Path) -> list[Any]:
        """Keep the items with differences, and the first of the others."""
        kept: list[Any] = []
        for number, part in enumerate(value):
            path, inner = (*where, number), below(found, part, number, self._schemas)
            if path in self._above or (not kept and inner):
                item = self.value(part, inner, path)
                kept += [] if item in kept else [item]
        return kept


def _map_key(step: str, taken: dict[str, Any]) -> str:
    if step in words():
        return step
    return REMOVED if REMOVED not in taken else f"{REMOVED}-{len(taken) + 1}"


def _outline(value: Any) -> Any:
    """Return the form of a new field, whose content is unknown."""
    if isinstance(value, dict):
        named = {name_of(step): _outline(part) for step, part in cast("dict[str, Any]", value).items()}
        # an address inside would be a file that no schema describes
        return {step: REMOVED if _ADDRESS.match(str(part)) else part for step, part in named.items() if step != REMOVED}
    if isinstance(value, list):
        first = {form_of(part): part for part in reversed(cast("list[object]", value))}
        return [_outline(part) for part in reversed(first.values())]
    return _scalar(value)


def _scalar(value: Any) -> Any:
    if isinstance(value, str):
        return _text(value)
    if not isinstance(value, int | float) or isinstance(value, bool) or value == 0:
        return value
    form = 0.5 if isinstance(value, float) and not value.is_integer() else type(value)(1)
    return -form if value < 0 else form


def _text(text: str) -> str:
    if text in words() or text.lower() in _PLAIN or _TIME.fullmatch(text):
        return text
    if _EMAIL.fullmatch(text):
        return "removed@removed.test"
    if _ADDRESS.match(text):
        ending = ending_of(text)
        return f"https://removed.test/file{ending if is_ending(ending) else ''}"
    if _UUID.fullmatch(text):
        return TASK_ID
    return "1" if _NUMBER.fullmatch(text) else REMOVED
