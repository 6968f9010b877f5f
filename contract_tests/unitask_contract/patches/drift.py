"""A contradiction as an entry of the drift ledger, `spec/drift.yaml`: what a source says, what came, what we choose.

The ledger is held both ways by a test: what the source says refuses what came, and what stands in the spec now allows
it. So an entry becomes stale, and is told, when somebody takes the change back.
"""

from __future__ import annotations

import json
from typing import Any

from unitask_contract.patches.contradictions import Finding
from unitask_contract.patches.yaml_edit import block, flow
from unitask_contract.schema_paths import Path

LEDGER = "drift.yaml"
SHOWN = 200  # letters of what the source says
WHY = "A provider answered so. The change that came with this entry allows it beside what was allowed before."


def entry(found: Finding, documented: str, observed: str, example: str, number: int) -> str:
    """The text of an entry.

    Args:
        found: The difference, as the example shows it.
        documented: The source of what the spec said.
        observed: The source of what came.
        example: The name of the body that shows it.
        number: Of the differences in that body; the first is 1.
    """
    rule = {found.keyword: found.rule}
    said: dict[str, Any] = {
        "where": ".".join(map(str, found.where)) or "the body",
        "documented": {"source": documented, "says": json.dumps(rule)[:SHOWN], "schema": rule},
        "seen": {"source": observed, "example": example, "at": _pointer(found.where)},
        "ours": f"#/components/schemas/{found.edited.component}{_pointer(found.edited.steps)}",
        "why": WHY,
    }
    name = f"{example}{'' if number == 1 else f'-{number}'}".replace(".", "-")
    return f"\n- id: {flow(name)}{block(said, 2)}\n"


def _pointer(path: Path) -> str:
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in path)
