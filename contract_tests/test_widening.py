"""Rules in every form that they may be written in: each is widened where it stands, and no further."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from unitask_contract.patches.proposals import Difference, Kind, proposal, spec_folder

# A rule as it may be written, a value that violates it, and the rule afterwards. Answers have no other keywords; any
# other keyword is removed.
RULES: dict[str, tuple[str, Any, str]] = {
    "enum": ("{type: string, enum: [fast, slow]}", "medium", "{type: string, enum: [fast, slow, medium]}"),
    "enum with null": ("{type: [string, 'null'], enum: [fast]}", None, "{type: [string, 'null'], enum: [fast, null]}"),
    "another keyword": ("{pattern: '^v[0-9]$', type: string}", "version", "{type: string}"),
    "the last keyword": ("{type: array, uniqueItems: true}", [1, 1], "{type: array}"),
    "the only keyword": ("{maximum: 3}", 4, "{}"),
    "a branch": ("{anyOf: [{type: number}, {type: array}]}", "a", "{type: array}, {type: string}]}"),
    "the nearest branch": (
        "{anyOf: [{type: string, enum: [a]}, {type: integer, maximum: 3}]}",
        4,
        "{anyOf: [{type: string, enum: [a]}, {type: integer}]}",
    ),
    "a block": (
        "\n      type: string\n      enum:\n        - fast # the best\n        - slow\n      description: a",
        "medium",
        "\n      enum:\n        - fast # the best\n        - slow\n        - medium\n      description: a",
    ),
    "required": ("{type: object, required: [a, b]}", {"a": 1}, "{type: object, required: [a]}"),
    "a line": (
        "\n      type: integer\n      # why\n      multipleOf: 8 # gone\n      # as well\n      description: a",
        12,
        "\n      type: integer\n      # why\n      # as well\n      description: a",
    ),
    "the only line": ("\n      multipleOf: 8", 12, "\n      {}"),
    "beside a dash": (
        "\n      anyOf:\n        - maximum: 3\n          type: integer",
        4,
        "\n      anyOf:\n        - type: integer",
    ),
    "an anchor": ("&kinds {type: integer, maximum: 3}", 4, "&kinds {type: integer}"),
    "merged": ("{<<: *kinds, description: a}", "b", "&kinds {type: [integer, string], maximum: 3}"),
    "an alias": ("*kinds", "b", "&kinds {type: [integer, string], maximum: 3}"),
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
    assert changed in (["-"], ["+"], ["-", "+"], ["-", "-", "+"]), patch


def _after(patch: str) -> str:
    return "\n".join(line[1:] for line in patch.splitlines() if line[:1] in ("+", " ") and not line.startswith("+++"))
