"""The drift ledger holds both ways: the page's own schema rejects what was seen, and ours accepts it."""

from pathlib import Path
from typing import Any

from generator.bundle import at, load_yaml
from jsonschema_rs import Draft202012Validator

from .support import bundle

LEDGER: list[dict[str, Any]] = load_yaml(Path(__file__).resolve().parents[1] / "spec" / "drift.yaml")


def wrong_entries(ledger: list[dict[str, Any]], document: dict[str, Any]) -> list[str]:
    examples, components = document["components"]["examples"], {"schemas": document["components"]["schemas"]}

    def accepts(schema: dict[str, Any]) -> bool:
        return Draft202012Validator({**schema, "components": components}).is_valid(value)

    wrong = []
    for entry in ledger:
        seen, ours = entry["seen"], entry["ours"]
        value = at(examples[seen["example"]]["value"], seen["at"]) if "example" in seen else seen["value"]
        is_contradiction = not accepts(entry["documented"]["schema"])
        is_covered = value in document["paths"] if ours == "#/paths" else not ours or accepts(at(document, ours))
        if not (is_contradiction and is_covered):
            wrong.append(entry["id"])
    return wrong


def test_every_entry_is_a_contradiction_that_our_schema_allows() -> None:
    assert wrong_entries(LEDGER, bundle()) == []


def test_every_entry_names_both_sides_and_the_reason() -> None:
    for entry in LEDGER:
        assert {entry["documented"]["source"], entry["seen"]["source"]} <= bundle()["x-sources"].keys(), entry
        assert entry["documented"]["says"], entry
        assert entry["why"], entry
