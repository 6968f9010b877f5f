"""The branches of a schema, and those that a value takes.

A branch has the name of its component and a JSON pointer in it: `Task#/properties/output` is that field being there,
`…/type/null` one of several types, `…/anyOf/1` an alternative, `…/items` an item of a list, `…/additionalProperties` a
field that has no name of its own, `…/then` the end of a condition; a word of an enum stands behind it,
`…/enum=pending`. Rules of this file: a branch is taken by a value that is allowed whole; of several alternatives the
first that allows a value is the one; advice (`x-advisory`) has words and alternatives like any rule, and refuses
nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, cast

from unitask_contract import bundle
from unitask_contract.bundle import Rule

Taken = list[str]

# What a keyword means; those below the line lead to other rules. Any other keyword is no rule: a test knows them all.
TYPES: Mapping[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "integer": lambda value: (
        (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and value.is_integer())
    ),
}
_LIMITS: Mapping[str, Callable[[Any, Any], bool]] = {
    "enum": lambda words, value: any(is_same(word, value) for word in words),
    "const": lambda word, value: is_same(word, value),
    "minLength": lambda limit, value: not isinstance(value, str) or len(value) >= limit,
    "maxLength": lambda limit, value: not isinstance(value, str) or len(value) <= limit,
    "pattern": lambda pattern, value: not isinstance(value, str) or re.search(pattern, value) is not None,
    "minItems": lambda limit, value: not isinstance(value, list) or len(cast("list[object]", value)) >= limit,
    "maxItems": lambda limit, value: not isinstance(value, list) or len(cast("list[object]", value)) <= limit,
    "minimum": lambda limit, value: not TYPES["number"](value) or value >= limit,
    "maximum": lambda limit, value: not TYPES["number"](value) or value <= limit,
    "exclusiveMinimum": lambda limit, value: not TYPES["number"](value) or value > limit,
    "exclusiveMaximum": lambda limit, value: not TYPES["number"](value) or value < limit,
    "required": lambda names, value: not isinstance(value, dict) or value.keys() >= set(names),
    "dependentRequired": lambda needs, value: (
        not isinstance(value, dict) or all(value.keys() >= set(names) for name, names in needs.items() if name in value)
    ),
}
SAYS_NOTHING = frozenset(
    {"description", "format", "x-source", "x-media", "x-max-product", "examples"}  # what jsonschema does not check
)


@cache
def branches(component: str) -> frozenset[str]:
    """Every branch of a component, without those of the components that it names."""
    return frozenset(f"{component}#{at}" for at in _branches(bundle.component(component), ""))


@cache
def reached(component: str) -> tuple[str, ...]:
    """A component and all that it names, at any depth."""
    found = [component]
    for name in found:  # grows as it goes
        found += [other for other in dict.fromkeys(_named(bundle.component(name))) if other not in found]
    return tuple(found)


def taken(component: str, value: Any) -> set[str] | None:
    """The branches that a value takes, in every component that it reaches; None: it is not allowed."""
    found: Taken = []
    return set(found) if _visit(bundle.component(component), value, f"{component}#", found) else None


def is_same(word: Any, value: Any) -> bool:
    """Whether two values are the same in JSON, where true is no 1."""
    return word == value and isinstance(word, bool) == isinstance(value, bool)


def _named(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, part in cast("Rule", node).items():
            if key == "$ref":
                yield part.rpartition("/")[2]
            else:
                yield from _named(part)
    elif isinstance(node, list):
        for part in cast("list[object]", node):
            yield from _named(part)


def _branches(rule: Rule, at: str) -> Iterator[str]:
    if isinstance(rule.get("type"), list):
        yield from (f"{at}/type/{kind}" for kind in rule["type"])
    yield from (f"{at}/enum={word}" for word in rule.get("enum", ()))
    for below, part, is_branch in _below(rule, at):
        if is_branch:
            yield below
        if isinstance(part, dict):
            yield from _branches(cast("Rule", part), below)


def _below(rule: Rule, at: str) -> Iterator[tuple[str, Any, bool]]:
    """The rules inside a rule: where, each of them, and whether it is a branch."""
    yield from ((f"{at}/properties/{name}", part, True) for name, part in rule.get("properties", {}).items())
    for key in ("items", "additionalProperties", "then", "else"):
        if rule.get(key, False) is not False:
            yield f"{at}/{key}", rule[key], True
    for key, is_branch in (("anyOf", True), ("oneOf", True), ("allOf", False)):
        yield from ((f"{at}/{key}/{number}", part, is_branch) for number, part in enumerate(rule.get(key, ())))
    if "x-advisory" in rule:
        yield f"{at}/x-advisory", rule["x-advisory"], False


def _visit(rule: Rule, value: Any, at: str, found: Taken) -> bool:
    """Whether a rule allows a value; what it takes is in `found` then."""
    for keyword, part in rule.items():
        if limit := _LIMITS.get(keyword):
            if not limit(part, value):
                return False
        elif (lead := _LEADS.get(keyword)) and not lead(rule, value, at, found):
            return False
    if "enum" in rule:
        found.append(f"{at}/enum={value}")
    return True


def _type(rule: Rule, value: Any, at: str, found: Taken) -> bool:
    kinds: str | list[str] = rule["type"]
    if isinstance(kinds, str):
        return TYPES[kinds](value)
    for kind in kinds:
        if TYPES[kind](value):
            found.append(f"{at}/type/{kind}")
            return True
    return False


def _reference(rule: Rule, value: Any, _at: str, found: Taken) -> bool:
    component: str = rule["$ref"].rpartition("/")[2]
    return _visit(bundle.component(component), value, f"{component}#", found)


def _properties(rule: Rule, value: Any, at: str, found: Taken) -> bool:
    if not isinstance(value, dict):
        return True
    fields = cast("dict[str, Any]", value)
    for name, part in rule["properties"].items():
        if name in fields:
            found.append(f"{at}/properties/{name}")
            if not _visit(part, fields[name], found[-1], found):
                return False
    return True


def _others(rule: Rule, value: Any, at: str, found: Taken) -> bool:
    if not isinstance(value, dict):
        return True
    named, part = rule.get("properties", {}), rule["additionalProperties"]
    others = [item for name, item in cast("dict[str, Any]", value).items() if name not in named]
    if others and part is not False:
        found.append(f"{at}/additionalProperties")
    if isinstance(part, bool):
        return part or not others
    return all(_visit(part, item, f"{at}/additionalProperties", found) for item in others)


def _items(rule: Rule, value: Any, at: str, found: Taken) -> bool:
    if not isinstance(value, list):
        return True
    items = cast("list[object]", value)
    if items:
        found.append(f"{at}/items")
    return all(_visit(rule["items"], item, f"{at}/items", found) for item in items)


def _any_of(rule: Rule, value: Any, at: str, found: Taken) -> bool:
    for number, part in enumerate(rule["anyOf"]):
        own: Taken = [f"{at}/anyOf/{number}"]
        if _visit(part, value, own[0], own):
            found += own
            return True
    return False


def _one_of(rule: Rule, value: Any, at: str, found: Taken) -> bool:
    ways: list[Taken] = []
    for number, part in enumerate(rule["oneOf"]):
        own: Taken = [f"{at}/oneOf/{number}"]
        if _visit(part, value, own[0], own):
            ways.append(own)
    found += ways[0] if len(ways) == 1 else []
    return len(ways) == 1


def _all_of(rule: Rule, value: Any, at: str, found: Taken) -> bool:
    return all(_visit(part, value, f"{at}/allOf/{number}", found) for number, part in enumerate(rule["allOf"]))


def _not(rule: Rule, value: Any, at: str, _found: Taken) -> bool:
    return not _visit(rule["not"], value, at, [])


def _if(rule: Rule, value: Any, at: str, found: Taken) -> bool:
    key = "then" if _visit(rule["if"], value, at, []) else "else"
    if key not in rule:
        return True
    found.append(f"{at}/{key}")
    return _visit(rule[key], value, found[-1], found)


def _advice(rule: Rule, value: Any, at: str, found: Taken) -> bool:
    """Each part of it that is followed counts; none refuses."""
    advice: Rule = rule["x-advisory"]
    whole = {key: part for key, part in advice.items() if key != "allOf"}
    parts = [(whole, ""), *((part, f"/allOf/{number}") for number, part in enumerate(advice.get("allOf", ())))]
    for part, below in parts:
        own: Taken = []
        if _visit(part, value, f"{at}/x-advisory{below}", own):
            found += own
    return True


_LEADS: Mapping[str, Callable[[Rule, Any, str, Taken], bool]] = {
    "type": _type,
    "$ref": _reference,
    "properties": _properties,
    "additionalProperties": _others,
    "items": _items,
    "anyOf": _any_of,
    "oneOf": _one_of,
    "allOf": _all_of,
    "not": _not,
    "if": _if,
    "x-advisory": _advice,
}
KEYWORDS = frozenset({*_LIMITS, *_LEADS, *SAYS_NOTHING, "then", "else"})


def canonical(value: Any) -> str:
    """The value as JSON in one order, to tell whether two are the same; empty when it is nested too deep."""
    try:
        return json.dumps(value, sort_keys=True)
    except RecursionError:
        return ""
