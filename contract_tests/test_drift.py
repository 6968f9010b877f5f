"""The drift ledger, held both ways: the page's own schema rejects what was seen, and ours accepts it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from generator.bundle import at, load_yaml
from jsonschema import Draft202012Validator

from .support import bundle

pytestmark = pytest.mark.contract("drift")

LEDGER: list[dict[str, Any]] = load_yaml(Path(__file__).resolve().parents[1] / "spec" / "drift.yaml")


def seen_value(entry: dict[str, Any], document: dict[str, Any] | None = None) -> Any:
    """What was shown or recorded, from the example it stands in or from the entry itself."""
    seen, examples = entry["seen"], (document or bundle())["components"]["examples"]
    return at(examples[seen["example"]]["value"], seen["at"]) if "example" in seen else seen["value"]


def accepts(schema: dict[str, Any], value: Any, document: dict[str, Any] | None = None) -> bool:
    """Whether a schema, which may refer to the bundle's components, accepts a value."""
    return Draft202012Validator({**schema, "components": (document or bundle())["components"]}).is_valid(value)


@pytest.mark.parametrize("entry", LEDGER, ids=[entry["id"] for entry in LEDGER])
def test_documented_schema_rejects_what_was_seen(entry: dict[str, Any]) -> None:
    """If it did not, there would be no contradiction, and the entry would be stale."""
    assert not accepts(entry["documented"]["schema"], seen_value(entry))


@pytest.mark.parametrize(
    "entry", [entry for entry in LEDGER if entry["ours"]], ids=[entry["id"] for entry in LEDGER if entry["ours"]]
)
def test_our_schema_accepts_what_was_seen(entry: dict[str, Any]) -> None:
    """Our choice covers the evidence; a part of the document that is no schema holds the value itself."""
    ours, value = at(bundle(), entry["ours"]), seen_value(entry)

    assert value in ours if entry["ours"] == "#/paths" else accepts(ours, value)


@pytest.mark.parametrize("entry", LEDGER, ids=[entry["id"] for entry in LEDGER])
def test_entry_names_both_sides_and_the_reason(entry: dict[str, Any]) -> None:
    """Whoever doubts a choice finds both sources and why it was made."""
    assert entry["documented"]["source"] in bundle()["x-sources"]
    assert entry["seen"]["source"] in bundle()["x-sources"]
    assert entry["documented"]["says"]
    assert len(entry["why"]) > 20
