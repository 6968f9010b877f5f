"""A value that breaks a documented limit is refused before it is paid for, or warned about.

The cases of every task type are read off the schemas of the bundle.
"""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from unitask import AdvisoryWarning, errors
from unitask.inputs import request_body
from unitask_contract.bundle import Rule, component
from unitask_contract.inputs import least

from .support import ENTRIES, address, make, required

pytestmark = pytest.mark.filterwarnings("ignore::unitask.AdvisoryWarning")


def several(rule: Rule, number: int) -> list[Any]:
    return [least(rule["items"], address)] * number


# For each keyword of a rule, a value that breaks it.
BREAKING: dict[str, Callable[[Any, Rule], Any]] = {
    "enum": lambda known, _: "no such word" if isinstance(known[0], str) else 987654,
    "minLength": lambda limit, _: "x" * (limit - 1),
    "maxLength": lambda limit, _: "x" * (limit + 1),
    "minimum": lambda limit, _: limit - 1,
    "exclusiveMinimum": lambda limit, _: limit,
    "maximum": lambda limit, _: limit + 1,
    "exclusiveMaximum": lambda limit, _: limit,
    "format": lambda _, __: 2**63,
    "minItems": lambda limit, rule: several(rule, limit - 1),
    "maxItems": lambda limit, rule: several(rule, limit + 1),
    "anyOf": lambda _, __: 0,  # no alternative of any field allows it
    "type": lambda kind, _: {} if kind not in ("object", ["object"]) else 7,
}


def breaking(rule: Rule) -> Iterator[tuple[str, Any]]:
    for key, broken in BREAKING.items():
        if key in rule and not (key == "minItems" and rule[key] < 1) and not (key == "type" and "x-media" in rule):
            yield key, broken(rule[key], rule)


def cases(*, advised: bool) -> Iterator[tuple[str, str, str, Any]]:
    for name, entry in ENTRIES.items():
        for field, rule in component(entry["input"])["properties"].items():
            limits = rule.get("x-advisory", {}) if advised else rule
            if "const" not in rule:
                yield from ((name, field, *found) for found in breaking({"items": rule.get("items"), **limits}))


def test_least_input_of_every_task_type_is_accepted_and_each_field_of_it_is_needed() -> None:
    for name, entry in ENTRIES.items():
        body = request_body(make(name, extra={"brand_new": 7}))
        assert (body["model"], body["task_type"]) == (entry["model"], entry["task_type"])
        assert body["input"].items() >= {**entry.get("match", {}), "brand_new": 7}.items()
        for field in required(name):
            with pytest.raises(errors.InvalidInput, match=field):
                request_body(make(name, **{field: None}))


def test_documented_limits_are_checked_before_sending() -> None:
    for name, field, _, value in cases(advised=False):
        task = make(name, **{field: value})
        with pytest.raises(errors.InvalidInput) as refused:
            request_body(task)
        assert any(field in problem for problem in refused.value.problems), (name, refused.value)
        assert request_body(task, validate=False)["input"][field] == value


def test_advised_limit_is_a_warning_and_is_sent() -> None:
    for name, field, _, value in cases(advised=True):
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            body = request_body(make(name, **{field: value}))
        assert body["input"][field] == value
        assert [one for one in warned if issubclass(one.category, AdvisoryWarning) and field in str(one.message)]
