"""What the last whole `make mutants` measured, as that run wrote it: `make score` reads it, and no figure is typed in.

The result belongs to the core that it was measured on; once the core is another, nothing is measured.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CORE = ROOT / "wrapper" / "unitask" / "_core"
WRITTEN_BY_MUTMUT = ROOT / "out" / "mutmut" / "mutants" / "mutmut-cicd-stats.json"
RESULT = ROOT / "out" / "mutants.json"


def digest(core: Path = CORE) -> str:
    """A digest of the sources of the core."""
    found = hashlib.sha256()
    for path in sorted(core.rglob("*.py")):
        found.update(path.relative_to(core).as_posix().encode() + b"\0" + path.read_bytes())
    return found.hexdigest()


def measured(result: Path = RESULT, core: Path = CORE) -> tuple[int, int] | None:
    """How many changes were noticed, of how many; None: it was not measured on the core as it is."""
    if not result.is_file():
        return None
    found = json.loads(result.read_text(encoding="utf-8"))
    return (found["noticed"], found["of"]) if found["core"] == digest(core) else None


def record(stats: Path, result: Path = RESULT, core: Path = CORE, *, whole: bool) -> bool:
    """Keep the statistics of mutmut; False: only some mutants of this core were tried, so nothing is known of it."""
    if not whole and measured(result, core) is None:
        return False
    counts = json.loads(stats.read_text(encoding="utf-8"))
    noticed = counts["killed"] + counts["timeout"]
    found = {"core": digest(core), "noticed": noticed, "of": counts["total"], "counts": counts}
    result.parent.mkdir(exist_ok=True)
    result.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return True


if __name__ == "__main__":
    kept = record(WRITTEN_BY_MUTMUT, whole=not sys.argv[1:])
    print(f"{RESULT.name}: {measured()}" if kept else "nothing written: run make mutants without MUTANTS first")
