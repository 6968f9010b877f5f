"""The drift ledger, held both ways: the page's own schema rejects what was seen, and ours accepts it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from generator.bundle import at, load_yaml
from jsonschema import Draft202012Validator

from .support import bundle

LEDGER: list[dict[str, Any]] = load_yaml(Path(__file__).resolve().parents[1] / "spec" / "drift.yaml")


def seen_value(entry: dict[str, Any], document: dict[str, Any] | None = None) -> Any:
    seen, examples = entry["seen"], (document or bundle())["components"]["examples"]
    return at(examples[seen["example"]]["value"], seen["at"]) if "example" in seen else seen["value"]


def accepts(schema: dict[str, Any], value: Any, document: dict[str, Any] | None = None) -> bool:
    return Draft202012Validator({**schema, "components": (document or bundle())["components"]}).is_valid(value)


def test_documented_schema_rejects_what_was_seen() -> None:
    """Otherwise there is no contradiction, and the entry is stale."""
    assert [entry["id"] for entry in LEDGER if accepts(entry["documented"]["schema"], seen_value(entry))] == []


def test_our_schema_accepts_what_was_seen() -> None:
    def is_covered(entry: dict[str, Any]) -> bool:
        ours, value = at(bundle(), entry["ours"]), seen_value(entry)
        return value in ours if entry["ours"] == "#/paths" else accepts(ours, value)

    assert [entry["id"] for entry in LEDGER if entry["ours"] and not is_covered(entry)] == []


def test_entry_names_both_sides_and_the_reason() -> None:
    for entry in LEDGER:
        assert {entry["documented"]["source"], entry["seen"]["source"]} <= bundle()["x-sources"].keys(), entry
        assert entry["documented"]["says"], entry
        assert len(entry["why"]) > 20, entry
