"""A quick yes to a value: whether it fits a schema for certain. Whatever else it is, jsonschema says.

Importing jsonschema is a fifth of what a first submission costs, and what it says is nearly always "nothing". Rules of
this
file: yes is said only where jsonschema finds neither a fault nor advice; a keyword that is not listed here is no yes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

Schemas = Mapping[str, Any]


def surely_fits(schema: Mapping[str, Any], value: object, schemas: Schemas) -> bool:
    """Whether a value fits a schema for certain.

    Args:
        schema: The schema.
        value: Anything.
        schemas: The components that a `$ref` names.
    """
    return all(
        keyword in _SAY_NOTHING or (keyword in _KEYWORDS and _KEYWORDS[keyword](rule, value, schemas))
        for keyword, rule in schema.items()
    )


def _is(kind: str, value: Any) -> bool:
    return isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _product(value: dict[str, Any], limit: Mapping[str, Any]) -> float:
    """The product of fields; 0 when one is not there, infinity when it is not known."""
    factors = [value.get(name, 0) for name in limit["fields"]]
    return math.prod(factors) if all(_is("number", factor) for factor in factors) else math.inf


_SAY_NOTHING = {"description", "examples", "x-media", "x-source"}
_TYPES: Mapping[str, type[Any] | tuple[type[Any], ...]] = {
    "array": list,
    "boolean": bool,
    "integer": int,
    "null": type(None),
    "number": (int, float),
    "object": dict,
    "string": str,
}
_KEYWORDS: Mapping[str, Callable[[Any, Any, Schemas], bool]] = {
    "$ref": lambda name, value, schemas: surely_fits(schemas[name.rpartition("/")[2]], value, schemas),
    "additionalProperties": lambda rule, _, __: rule is True,
    "anyOf": lambda rules, value, schemas: any(surely_fits(rule, value, schemas) for rule in rules),
    "const": lambda word, value, _: type(value) is type(word) and value == word,
    "dependentRequired": lambda needs, value, _: _is("object", value) and needs.keys().isdisjoint(value),
    "enum": lambda words, value, _: any(type(value) is type(word) and value == word for word in words),
    "exclusiveMinimum": lambda limit, value, _: _is("number", value) and value > limit,
    "format": lambda name, value, _: name == "int64" and _is("integer", value) and -(2**63) <= value < 2**63,
    "items": lambda rule, value, schemas: _is("array", value) and all(surely_fits(rule, i, schemas) for i in value),
    "maxItems": lambda limit, value, _: _is("array", value) and len(value) <= limit,
    "maxLength": lambda limit, value, _: _is("string", value) and len(value) <= limit,
    "maximum": lambda limit, value, _: _is("number", value) and value <= limit,
    "minItems": lambda limit, value, _: _is("array", value) and len(value) >= limit,
    "minLength": lambda limit, value, _: _is("string", value) and len(value) >= limit,
    "minimum": lambda limit, value, _: _is("number", value) and value >= limit,
    "properties": lambda rules, value, schemas: (
        _is("object", value) and all(surely_fits(rule, value[n], schemas) for n, rule in rules.items() if n in value)
    ),
    "required": lambda names, value, _: _is("object", value) and all(name in value for name in names),
    "type": lambda kinds, value, _: any(_is(kind, value) for kind in ([kinds] if isinstance(kinds, str) else kinds)),
    "x-advisory": lambda rule, value, schemas: surely_fits(rule, value, schemas),
    "x-max-product": lambda limit, value, _: _is("object", value) and _product(value, limit) <= limit["maximum"],
}
