"""`python -m generator.report`: the evidence for the fields of each family, and what would settle the open ones."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from .bundle import Document, bundle, families
from .models import reachable, references

SUREST = ("recorded", "documented", "client", "inferred")
OPEN = SUREST[2:]
COMMON = ("TaskEnvelope", "TaskRequest", "ErrorEnvelope", "Acknowledgement")
SETTLED_BY = {
    "input": "a page, or a recorded answer that echoes the input, of",
    "output": "a recorded answer of a completed",
}


def evidence(document: Document) -> dict[str, Counter[str]]:
    """Return, for each family, the number of fields by their surest evidence."""
    counts = {"(every family)": _count(document, COMMON)}
    for family, tasks in families(document).items():
        counts[family] = _count(document, [task[side] for task in tasks for side in ("input", "output")])
    return counts


def settled_by(document: Document, tasks: list[Document]) -> Iterator[str]:
    """Yield what evidence would settle the fields and prices that are known from clients alone, or inferred.

    The number is that of the open fields; "no field" is known of some inputs and outputs.
    """
    for side, wanted in SETTLED_BY.items():
        alike: dict[str, list[str]] = {}  # tasks with the same fields
        for task in tasks:
            alike.setdefault(task[side], []).append(task["name"])
        shown: list[str] = []
        for component, (first, *others) in alike.items():
            count = _count(document, [component])
            unsettled = sum(count[word] for word in OPEN)
            if unsettled or not count:
                also = f" or {len(others)} alike" if others else ""
                shown.append(f"{first}{also} ({unsettled or 'no field'})")
        if shown:
            yield f"{wanted} {', '.join(shown)}"
    unbilled = [task["name"] for task in tasks if _surest(document, task.get("price", {})) in OPEN]
    if unbilled:
        yield f"a bill of {', '.join(unbilled)}"


def _count(document: Document, names: Iterable[str]) -> Counter[str]:
    schemas = [document["components"]["schemas"][name] for name in reachable(document, names)]
    rules = [rule for schema in schemas for rule in schema.get("properties", {}).values()]
    return Counter(_surest(document, rule) for rule in rules if not references(rule))


def _surest(document: Document, rule: Document) -> str:
    known = {document["x-sources"][name]["evidence"] for name in rule.get("x-source", [])}
    return next((evidence for evidence in SUREST if evidence in known), "inferred")


def main() -> None:
    """Print the table and, for each family, what would settle its open fields."""
    document = bundle(Path(__file__).resolve().parents[1])
    counts = evidence(document)
    print(f"{'family':<16}" + "".join(f"{word:>12}" for word in SUREST))
    for family, counted in [*counts.items(), ("all", sum(counts.values(), Counter[str]()))]:
        print(f"{family:<16}" + "".join(f"{counted[word]:>12}" for word in SUREST))
    print("\nWhat would settle what is known from clients alone, or inferred:")
    print(
        "- (n): n fields are open; docs/reference/tasks/FAMILY.md lists the fields of each class, with their sources."
    )
    print("- A or n alike: A, or one of the n other classes of the family with the same fields.")
    print(
        "- a recorded answer: the JSON body of GET /api/v1/task/{task_id}, or of the version 1 or 2 endpoint (legacy)."
    )
    print("- a bill: such an answer with meta.usage and the input, or a page with the price.")
    for family, tasks in families(document).items():
        for line in settled_by(document, tasks):
            print(f"  {family}: {line}")


if __name__ == "__main__":
    main()
