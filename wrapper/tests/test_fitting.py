"""The quick yes to an input is never said where jsonschema finds something."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from unitask import inputs
from unitask._core.fitting import surely_fits
from unitask._model import spec

SCHEMAS: list[dict[str, Any]] = [
    *({"type": kind} for kind in ("array", "boolean", "integer", "null", "number", "object", "string")),
    {"type": ["integer", "null"], "description": "May be absent."},
    {"enum": ["a", 1]},
    {"const": 1},
    {"minimum": 1, "maximum": 2},
    {"exclusiveMinimum": 1},
    {"minLength": 1, "maxLength": 2},
    {"minItems": 1, "maxItems": 2},
    {"format": "int64"},
    {"items": {"type": "integer"}},
    {"anyOf": [{"const": "a"}, {"minimum": 2}]},
    {"$ref": "#/components/schemas/Other"},
    {"required": ["a"], "properties": {"a": {"type": "integer"}, "b": {"enum": [0]}}, "additionalProperties": True},
    {"additionalProperties": False},
    {"dependentRequired": {"b": ["a"]}},
    {"x-advisory": {"maximum": 1}},
    {"x-max-product": {"fields": ["a", "b"], "maximum": 4}},
    {"pattern": "^b"},
    {"not": {"required": ["b"]}},
]
VALUES: list[Any] = [
    *(None, True, False, 0, 1, 2, 3, 1.0, 1.5, -1, 2**63, math.nan, math.inf, "", "a", "b", "abc"),
    *([], [1], [True], ["a"], [1, 2, 3], (), (1,), {}, {"a": 1}, {"b": 0}, {"b": False}, {"a": "a"}),
    *({"a": 2, "b": 3}, {"a": 2, "b": 2}, {"a": 2, "b": "3"}, {"a": True, "b": 9}),
]
OTHER = {"type": "string", "maxLength": 1}


@pytest.mark.parametrize("schema", SCHEMAS, ids=json.dumps)
def test_no_yes_where_something_is_found(schema: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the value; advice counts as found."""
    schemas = {"This": schema, "Other": OTHER}
    monkeypatch.setattr(spec, "catalogue", lambda: {"components": {"schemas": schemas}})
    check = inputs.validator.__wrapped__("This")

    wrong = [value for value in VALUES if surely_fits(schema, value, schemas) and not check.is_valid(value)]

    assert wrong == []
