"""Rules in every form that they may be written in: each is widened where it stands, and no further."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from unitask_contract.patches.proposals import Difference, Kind, proposal, spec_folder

# Rules as they may be written, a value that breaks each, and what becomes of the rule.
RULES: dict[str, tuple[str, Any, str]] = {
    "enum": ("{type: string, enum: [fast, slow]}", "medium", "{type: string, enum: [fast, slow, medium]}"),
    "enum-with-null": ("{type: [string, 'null'], enum: [fast]}", None, "{type: [string, 'null'], enum: [fast, null]}"),
    "const": ("{const: 7}", 8, "{enum: [7, 8]}"),
    "minimum": ("{type: number, minimum: 5}", 4, "{type: number, minimum: 4}"),
    "maximum": ("{type: number, maximum: 5}", 6.5, "{type: number, maximum: 6.5}"),
    "exclusive": ("{type: number, exclusiveMaximum: 5}", 5, "{type: number}"),
    "multiple": ("{type: integer, multipleOf: 8}", 12, "{type: integer}"),
    "pattern": ("{pattern: '^v[0-9]$', type: string}", "version", "{type: string}"),
    "too-long": ("{type: string, maxLength: 3}", "long", "{type: string, maxLength: 4}"),
    "too-short": ("{type: string, minLength: 3}", "ab", "{type: string, minLength: 2}"),
    "too-many": ("{type: array, maxItems: 1, items: {}}", [1, 2], "{type: array, maxItems: 2, items: {}}"),
    "twice": ("{type: array, uniqueItems: true, items: {}}", [1, 1], "{type: array, items: {}}"),
    "closed": (
        "{type: object, additionalProperties: false, properties: {a: {type: string}}}",
        {"b": True},
        "{type: object, additionalProperties: false, properties: {a: {type: string}, b: {type: boolean, ",
    ),
    "one-of": ("{oneOf: [{type: number}, {type: integer}]}", 3, "{anyOf: [{type: number}, {type: integer}]}"),
    "one-of-no-branch": ("{oneOf: [{type: number}, {type: array}]}", "a", "{type: array}, {type: string}]}"),
    "nearest": (
        "{anyOf: [{type: string, enum: [a]}, {type: integer, maximum: 3}]}",
        4,
        "{anyOf: [{type: string, enum: [a]}, {type: integer, maximum: 4}]}",
    ),
    "all-of": ("{allOf: [{type: integer}, {minimum: 3}]}", 2, "{allOf: [{type: integer}, {minimum: 2}]}"),
    "condition": (
        "{if: {type: string}, then: {maxLength: 2, minLength: 1}}",
        "abc",
        "{if: {type: string}, then: {maxLength: 3, minLength: 1}}",
    ),
    "dependent": ("{type: object, dependentRequired: {a: [b]}}", {"a": 1}, "{type: object}"),
    "a block": (
        "\n      type: string\n      enum:\n        - fast # the best\n        - slow\n      description: a",
        "medium",
        "\n      enum:\n        - fast # the best\n        - slow\n        - medium\n      description: a",
    ),
    "a block to remove": (
        "\n      type: object\n      required:\n        - a # always\n        - b\n      description: a",
        {"a": 1},
        "\n      type: object\n      required:\n        - a # always\n      description: a",
    ),
    "a line to remove": (
        "\n      type: integer\n      # why\n      multipleOf: 8 # gone\n      # as well\n      description: a",
        12,
        "\n      type: integer\n      # why\n      # as well\n      description: a",
    ),
    "a branch that begins with it": (
        "\n      anyOf:\n        - maximum: 3\n          type: integer\n          multipleOf: 1",
        4,
        "\n      anyOf:\n        - maximum: 4\n          type: integer\n          multipleOf: 1",
    ),
    "an anchor": ("&limits {type: integer, maximum: 3}", 4, "&limits {type: integer, maximum: 4}"),
    "merged": ("{<<: *limits, description: a}", 5, "&limits {type: integer, maximum: 5}"),
    "an alias": ("*limits", 6, "&limits {type: integer, maximum: 6}"),
}


@pytest.fixture
def ruled(tmp_path: Path) -> Path:
    rules = "".join(
        f"    field{number}:{'' if rule.startswith(chr(10)) else ' '}{rule}\n"
        for number, (rule, _, _) in enumerate(RULES.values())
    )
    spec = Path(shutil.copytree(spec_folder(), tmp_path / "spec", ignore=shutil.ignore_patterns("tests", "examples")))
    path = spec / "schemas/error.yaml"
    path.write_text(path.read_text().replace("  properties:\n", f"  properties:\n{rules}", 1))
    return spec


def seen(body: Any) -> Difference:
    return Difference(Kind.BROKEN, "cancel_task", "200", "", "/", "", "", "", "", body)


@pytest.mark.parametrize("name", RULES)
def test_rule_is_widened_where_it_stands_and_no_further(name: str, ruled: Path) -> None:
    _, value, expected = RULES[name]
    patch = proposal([seen({f"field{list(RULES).index(name)}": value})], ruled)
    lines = patch.partition("+++ b/spec/schemas/error.yaml\n")[2].partition("diff --git")[0].splitlines()
    changed = [line[0] for line in lines if line[0] in "+-" and "x-source" not in line]

    assert expected.strip("\n") in _after(patch), patch
    assert changed in (["-"], ["+"], ["-", "+"]), patch


def _after(patch: str) -> str:
    return "\n".join(line[1:] for line in patch.splitlines() if line[:1] in ("+", " ") and not line.startswith("+++"))
