"""`python -m generator.report`: count the fields of each family by the evidence for them."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from .bundle import Document, bundle, families
from .models import reachable, references

SUREST = ("documented", "recorded", "client", "inferred", "unknown")
COMMON = ("TaskEnvelope", "TaskRequest", "ErrorEnvelope", "Acknowledgement")


def evidence(document: Document) -> dict[str, Counter[str]]:
    """Return, for each family, the number of fields by their surest evidence."""
    counts = {"(every family)": _count(document, COMMON)}
    for family, tasks in families(document).items():
        counts[family] = _count(document, [task[side] for task in tasks for side in ("input", "output")])
    return counts


def _count(document: Document, names: Iterable[str]) -> Counter[str]:
    schemas = [document["components"]["schemas"][name] for name in reachable(document, names)]
    rules = [rule for schema in schemas for rule in schema.get("properties", {}).values()]
    return Counter(_surest(document, rule) for rule in rules if not references(rule))


def _surest(document: Document, rule: Document) -> str:
    known = {document["x-sources"][name]["evidence"] for name in rule.get("x-source", [])}
    return next((evidence for evidence in SUREST if evidence in known), "unknown")


if __name__ == "__main__":
    counts = evidence(bundle(Path(__file__).resolve().parents[1]))
    print(f"{'family':<16}" + "".join(f"{word:>12}" for word in SUREST))
    for family, counted in [*counts.items(), ("all", sum(counts.values(), Counter[str]()))]:
        print(f"{family:<16}" + "".join(f"{counted[word]:>12}" for word in SUREST))
