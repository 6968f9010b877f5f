"""Each keyword that an answer violates is widened by what came, and no further."""

from __future__ import annotations

from typing import Any

import pytest
from unitask_contract.patches.contradictions import findings
from unitask_contract.patches.widening import widening

REFERENCE = {"$ref": "#/components/schemas/B"}
# A schema, a value that violates it, and the schema afterwards. Any other keyword is removed.
RULES: dict[str, tuple[dict[str, Any], Any, dict[str, Any]]] = {
    "type": ({"type": "integer", "maximum": 3}, "a", {"type": ["integer", "string"], "maximum": 3}),
    "types": ({"type": ["integer", "string"]}, None, {"type": ["integer", "string", "null"]}),
    "number": ({"type": ["integer", "null"]}, 1.5, {"type": ["null", "number"]}),
    "array": ({"type": "string"}, [1], {"type": ["string", "array"], "items": {}}),
    "reference": (REFERENCE, None, {"anyOf": [REFERENCE, {"type": "null"}]}),
    "enum": ({"enum": ["fast", "slow"]}, "medium", {"enum": ["fast", "slow", "medium"]}),
    "branch": ({"anyOf": [{"type": "number"}]}, "a", {"anyOf": [{"type": "number"}, {"type": "string"}]}),
    "nearest branch": ({"anyOf": [{"type": "string"}, {"maximum": 3}]}, 4, {"anyOf": [{"type": "string"}, {}]}),
    "required": ({"required": ["a", "b"]}, {"a": 1}, {"required": ["a"]}),
    "all required": ({"required": ["a"], "type": "object"}, {}, {"type": "object"}),
    "another keyword": ({"pattern": "^v[0-9]$", "type": "string"}, "version", {"type": "string"}),
}


@pytest.mark.parametrize("name", RULES)
def test_keyword_is_widened_by_what_came(name: str) -> None:
    rule, value, expected = RULES[name]
    schemas = {"A": {"properties": {"x": rule}}, "B": {"type": "object"}}
    (found,) = findings({"x": value}, {"$ref": "#/components/schemas/A"}, schemas)
    widened = widening(found, schemas).applied(schemas)

    assert without_source(widened["A"]["properties"]["x"]) == expected
    assert widened["B"] == schemas["B"]
    assert "x-source" not in str(schemas)
    assert findings({"x": value}, {"$ref": "#/components/schemas/A"}, widened) == []


def without_source(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: without_source(part) for key, part in node.items() if key != "x-source"}
    return [without_source(part) for part in node] if isinstance(node, list) else node
