"""`python -m generator.report`: count the fields of each family by the evidence for them."""

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .bundle import Document, bundle

SUREST = ("documented", "recorded", "client", "inferred", "unknown")
COMMON = ("TaskEnvelope", "TaskRequest", "ErrorEnvelope", "Acknowledgement")


def evidence(document: Document) -> dict[str, Counter[str]]:
    """Return, for each family, the number of fields by their surest evidence."""
    counts = {"(every family)": _count(document, COMMON)}
    families: dict[str, list[str]] = {}
    for task in document["x-tasks"]:
        families.setdefault(task["family"], []).extend((task["input"], task["output"]))
    counts |= {family: _count(document, names) for family, names in families.items()}
    return counts


def _count(document: Document, names: Any) -> Counter[str]:
    seen: set[str] = set()
    fields = [rule for name in names for rule in _fields(document, name, seen)]
    return Counter(_surest(document, rule) for rule in fields)


def _fields(document: Document, name: str, seen: set[str]) -> Iterator[Document]:
    if name in seen:
        return
    seen.add(name)
    for rule in document["components"]["schemas"][name].get("properties", {}).values():
        inner = [part["$ref"] for part in _parts(rule) if "$ref" in part]
        if not inner:
            yield rule
        for reference in inner:
            yield from _fields(document, reference.rpartition("/")[2], seen)


def _parts(rule: Document) -> Iterator[Document]:
    yield rule
    for branch in [*rule.get("anyOf", []), *([rule["items"]] if isinstance(rule.get("items"), dict) else [])]:
        yield from _parts(branch)


def _surest(document: Document, rule: Document) -> str:
    known = {document["x-sources"][name]["evidence"] for name in rule.get("x-source", [])}
    return next((evidence for evidence in SUREST if evidence in known), "unknown")


def main() -> int:
    """Print the table."""
    counts = evidence(bundle(Path(__file__).resolve().parents[1]))
    print(f"{'family':<16}" + "".join(f"{word:>12}" for word in SUREST))
    for family, counted in [*counts.items(), ("all", sum(counts.values(), Counter[str]()))]:
        print(f"{family:<16}" + "".join(f"{counted[word]:>12}" for word in SUREST))
    return 0


if __name__ == "__main__":
    sys.exit(main())
