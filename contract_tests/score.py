"""How strong the checks are, as one table: `make score` prints it and writes out/score.json and out/score.md.

So far it counts wrong answers: every documented one, changed in one step (unitask_contract/mutation.py), read by the
wrapper, and beside it by the generated client as it comes from the generator, without the wrapper.
"""

from __future__ import annotations

import json
import logging
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from unitask_api import models
from unitask_contract import bundle
from unitask_contract.mutation import BAD, Mutant, Verdict, judged, mutants

OUT = Path(__file__).resolve().parents[1] / "out"


def main() -> int:
    """Count, print and write; 1 when a gate is not met."""
    logging.disable()  # an unknown status is a warning, and there are thousands
    found = mutants()
    rows = {"wrapper": _counted(found, lambda mutant: judged(mutant)[0]), "generated client": _counted(found, _plain)}
    lines = [f"{len(found)} documented answers, each changed in one step", "", _row("", list(Verdict))]
    lines += [_row("---", ["---"] * len(Verdict)), *(_row(name, list(row.values())) for name, row in rows.items())]
    text = "\n".join(lines)
    print(text)
    OUT.mkdir(exist_ok=True)
    (OUT / "score.md").write_text(f"# Score\n\n{text}\n", encoding="utf-8")
    (OUT / "score.json").write_text(json.dumps({"mutants": len(found), **rows}, indent=2) + "\n", encoding="utf-8")
    return int(any(rows["wrapper"][verdict] for verdict in BAD))


def _counted(found: tuple[Mutant, ...], judge: Callable[[Mutant], Verdict]) -> dict[str, int]:
    counts = Counter(map(judge, found))
    return {verdict.value: counts[verdict] for verdict in Verdict}


def _plain(mutant: Mutant) -> Verdict:
    """What the generated model makes of it: it raises what Python raises, or takes it."""
    part = bundle.document()["components"]["examples"][mutant.example]["x-part"]
    model: Any = getattr(models, bundle.component_of(mutant.operation, part))
    try:
        model.from_dict(json.loads(mutant.content))
    except Exception:  # the point of it
        return Verdict.REFUSED if mutant.valid else Verdict.UNTYPED
    return Verdict.UNDERSTOOD if mutant.valid else Verdict.SILENT


def _row(name: str, cells: list[Any]) -> str:
    return "| " + " | ".join(f"{cell!s:>10}" for cell in (f"{name:<16}", *cells)) + " |"


if __name__ == "__main__":
    sys.exit(main())
