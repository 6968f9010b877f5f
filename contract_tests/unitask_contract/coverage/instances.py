"""Values of a component that together take every branch of its schema and say every word of its enums.

They are few and always the same: the least value, one with every field, and from the least one change at a time, edges
of limits included. Rules of this file: advice is followed where it can be; what the component does not allow is never
yielded; nothing is drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, cast

from unitask_contract import bundle
from unitask_contract.bundle import Rule
from unitask_contract.coverage.branches import TYPES, canonical
from unitask_contract.inputs import least, least_object, least_of_kind

ANYTHING: tuple[Any, ...] = ("x", 7, 0.5, True, None, ["x"], {"x": "x"})
OWN_FIELD = "x_own"


@cache
def instances(component: str) -> tuple[Any, ...]:
    """The values of a component; the first has the required fields alone. Do not change them."""
    found = {canonical(value): value for value in values(bundle.component(component))}
    return tuple(value for value in found.values() if bundle.allows(component, value))


def address(kind: str) -> str:
    """Where a file of a kind is; a picture in the form that every field takes."""
    return f"https://me.test/a.{'png' if kind == 'image' else 'bin'}"


def values(rule: Rule) -> Iterator[Any]:
    """Values that take every branch of a rule, the least one first; the rule need not allow every one of them."""
    if "$ref" in rule:
        yield from values(_named(rule))
        return
    rule = _advised(rule)
    if "anyOf" in rule and rule.get("type") != "object":
        for branch in rule["anyOf"]:
            yield from values({**_without(rule, "anyOf"), **branch})
        return
    if words := rule.get("enum"):
        yield from cast("list[Any]", words)
    for kind in _kinds(rule):
        if not words or (kind and not any(TYPES[kind](word) for word in words)):
            yield from _of_kind(kind, _without(rule, "enum"))


def _kinds(rule: Rule) -> list[str]:
    """The types of a value; empty text for one that may be of any."""
    kinds: str | list[str] = rule.get("type", "")
    return [kinds] if isinstance(kinds, str) else kinds


def _of_kind(kind: str, rule: Rule) -> Iterator[Any]:
    match kind:
        case "":
            yield from [rule["const"]] if "const" in rule else ANYTHING
        case "null":
            yield None
        case "boolean":
            yield from (True, False)
        case "integer" | "number":
            yield least_of_kind(kind, rule, address) if "x-media" not in rule else least(rule, address)
            yield from (rule[key] for key in ("minimum", "maximum") if key in rule)
        case "array":
            yield from _lists(rule)
        case "object":
            yield from _objects(rule)
        case _:
            yield least_of_kind(kind, rule, address) if "x-media" not in rule else least(rule, address)
            if "x-media" not in rule and "maxLength" in rule:
                yield "x" * rule["maxLength"]


def _lists(rule: Rule) -> Iterator[list[Any]]:
    low = max(1, rule.get("minItems", 0))
    usual = least(rule["items"], address)
    yield from ([value] + [usual] * (low - 1) for value in values(rule["items"]))
    yield []
    if "maxItems" in rule:
        yield [usual] * rule["maxItems"]


def _objects(rule: Rule) -> Iterator[dict[str, Any]]:
    properties: dict[str, Rule] = rule.get("properties", {})
    base, full = least_object(rule, address), {name: least(part, address) for name, part in properties.items()}
    yield base
    yield full
    yield from ({**base, name: value} for name, part in properties.items() for value in values(part))
    if rule.get("x-advisory", {}).keys() & {"if", "allOf"}:  # a word asks for other fields
        yield from ({**full, name: value} for name, part in properties.items() for value in _words(part))
    others = rule.get("additionalProperties", False)
    if isinstance(others, dict):
        yield from ({**base, OWN_FIELD: value} for value in values(cast("Rule", others)))
    elif others:
        yield {**base, OWN_FIELD: "x"}


def _words(rule: Rule) -> list[Any]:
    words: list[Any] = rule.get("enum") or rule.get("x-advisory", {}).get("enum", [])
    return words


def _advised(rule: Rule) -> Rule:
    """The rule with the advice for a value; that for an object's fields together stays apart."""
    return rule if rule.get("type") == "object" else {**_without(rule, "x-advisory"), **rule.get("x-advisory", {})}


def _named(rule: Rule) -> Rule:
    return bundle.component(rule["$ref"].rpartition("/")[2])


def _without(rule: Rule, key: str) -> Rule:
    return {name: part for name, part in rule.items() if name != key}
