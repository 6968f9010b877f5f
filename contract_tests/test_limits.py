"""Every documented limit of every task type: what breaks it is refused before it is paid for, or warned about.

Nothing here is written by hand for a task type: the cases are read off the schemas of the bundle.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from unitask import AdvisoryWarning, errors
from unitask.inputs import request_body
from unitask_contract.bundle import Rule, component
from unitask_contract.inputs import least

from .support import ENTRIES, address, make, required

pytestmark = [pytest.mark.contract("requests"), pytest.mark.filterwarnings("ignore::unitask.AdvisoryWarning")]

Broken = tuple[str, str, str, Any]  # class, field, rule, a value that breaks it


def several(rule: Rule, number: int) -> list[Any]:
    """So many items that a rule, its advice included, allows."""
    return [least(rule["items"], address)] * number


# For each keyword of a rule, a value that breaks it; and the keywords that are no limit of one field.
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
    "anyOf": lambda _, __: 0,  # which no alternative of any field is
    "type": lambda kind, _: {} if kind not in ("object", ["object"]) else 7,
}
NO_LIMITS = {"description", "x-source", "x-advisory", "x-media", "items", "$ref", "const"}


def breaking(rule: Rule) -> Iterator[tuple[str, Any]]:
    """For each rule of a field, its name and a value that breaks it."""
    for key, broken in BREAKING.items():
        if key in rule and not (key == "minItems" and rule[key] < 1) and not (key == "type" and "x-media" in rule):
            yield key, broken(rule[key], rule)


def cases(advised: bool) -> Iterator[Broken]:
    """Every rule of every field of every task type, strict ones or advised ones."""
    for name, entry in ENTRIES.items():
        for field, rule in component(entry["input"])["properties"].items():
            if "const" not in rule:
                source = rule.get("x-advisory", {}) if advised else rule
                yield from (
                    (name, field, key, value) for key, value in breaking({"items": rule.get("items"), **source})
                )


def test_every_keyword_is_broken_or_is_no_limit() -> None:
    """One that nobody knows here would be a limit that nobody tests."""
    fields = [rule for entry in ENTRIES.values() for rule in component(entry["input"])["properties"].values()]

    assert {key for rule in fields for key in (*rule, *rule.get("x-advisory", ()))} <= BREAKING.keys() | NO_LIMITS


@pytest.mark.parametrize("name", ENTRIES)
def test_least_input_is_accepted(name: str) -> None:
    """The required fields alone make a request."""
    body = request_body(make(name))

    assert (body["model"], body["task_type"]) == (ENTRIES[name]["model"], ENTRIES[name]["task_type"])
    assert body["input"].items() >= ENTRIES[name].get("match", {}).items()


@pytest.mark.parametrize(("name", "field", "rule", "value"), [*cases(advised=False)])
def test_documented_limit_is_kept_before_sending(name: str, field: str, rule: str, value: Any) -> None:
    """What every source rules out is refused, and the refusal names the field; validate=False goes past it."""
    task = make(name, **{field: value})

    with pytest.raises(errors.InvalidInput) as refused:
        request_body(task)

    assert any(field in problem for problem in refused.value.problems), refused.value
    assert request_body(task, validate=False)["input"][field] == value


@pytest.mark.parametrize(("name", "field"), [(name, field) for name in ENTRIES for field in required(name)])
def test_missing_required_field_is_told(name: str, field: str) -> None:
    """A required field that is None is refused like one that was never known."""
    with pytest.raises(errors.InvalidInput, match=field):
        request_body(make(name, **{field: None}))


@pytest.mark.parametrize(("name", "field", "rule", "value"), [*cases(advised=True)])
def test_contradicted_limit_is_a_warning_and_goes_out(name: str, field: str, rule: str, value: Any) -> None:
    """What one source rules out and another does not is sent all the same, with a warning."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        body = request_body(make(name, **{field: value}))

    assert body["input"][field] == value
    assert [one for one in warned if issubclass(one.category, AdvisoryWarning) and field in str(one.message)]


@pytest.mark.parametrize("name", ENTRIES)
def test_unknown_field_goes_out_through_extra(name: str) -> None:
    """The provider changes monthly; a field that we do not know can be sent."""
    assert request_body(make(name, extra={"brand_new": 7}))["input"]["brand_new"] == 7


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        (n, component(e["input"])["x-max-product"])
        for n, e in ENTRIES.items()
        if "x-max-product" in component(e["input"])
    ],
)
def test_limit_on_a_product_is_kept(name: str, limit: Rule) -> None:
    """Width times height may not be more than the pixels that are allowed."""
    side = int(limit["maximum"] ** (1 / len(limit["fields"])))

    request_body(make(name, **dict.fromkeys(limit["fields"], side)))
    with pytest.raises(errors.InvalidInput, match=" x ".join(limit["fields"])):
        request_body(make(name, **dict.fromkeys(limit["fields"], side + 64)))
