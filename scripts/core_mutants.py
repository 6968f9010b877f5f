"""What the last whole `make mutants` measured, as that run wrote it: `make score` reads it, and no figure is typed in.

The result belongs to the sources that were mutated ([tool.mutmut] in pyproject.toml names them); once one of them is
another, nothing is measured.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WRITTEN_BY_MUTMUT = ROOT / "out" / "mutmut" / "mutants" / "mutmut-cicd-stats.json"
RESULT = ROOT / "out" / "mutants.json"


def sources() -> list[Path]:
    """The files of the wrapper that mutmut changes."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mutmut"]
    patterns = [pattern.removeprefix("src/") for pattern in settings["only_mutate"]]
    return sorted(path for pattern in patterns for path in (ROOT / "wrapper").glob(pattern) if path.suffix == ".py")


def digest(paths: list[Path]) -> str:
    """A digest of files: their names, and what they hold."""
    found = hashlib.sha256()
    for path in paths:
        found.update(path.name.encode() + b"\0" + path.read_bytes())
    return found.hexdigest()


def measured(result: Path = RESULT, paths: list[Path] | None = None) -> tuple[int, int] | None:
    """How many changes were noticed, of how many; None: it was not measured on the sources as they are."""
    if not result.is_file():
        return None
    found = json.loads(result.read_text(encoding="utf-8"))
    return (found["noticed"], found["of"]) if found["sources"] == digest(paths or sources()) else None


def record(stats: Path, result: Path = RESULT, paths: list[Path] | None = None, *, whole: bool) -> bool:
    """Keep the statistics of mutmut; False: only some mutants of these sources were tried, so nothing is known."""
    if not whole and measured(result, paths) is None:
        return False
    counts = json.loads(stats.read_text(encoding="utf-8"))
    noticed = counts["killed"] + counts["timeout"]
    found = {"sources": digest(paths or sources()), "noticed": noticed, "of": counts["total"], "counts": counts}
    result.parent.mkdir(exist_ok=True)
    result.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return True


if __name__ == "__main__":
    kept = record(WRITTEN_BY_MUTMUT, whole=not sys.argv[1:])
    print(f"{RESULT.name}: {measured()}" if kept else "nothing written: run make mutants without MUTANTS first")
