"""Record the result of `make mutants` in out/mutants.json, for `make score`.

The result is valid for the sources that were mutated ([tool.mutmut] in pyproject.toml). After a change of one of them,
the measure counts as not taken.
"""

import hashlib
import json
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MUTMUT_RESULT = ROOT / "out" / "mutmut" / "mutants" / "mutmut-cicd-stats.json"
RESULT = ROOT / "out" / "mutants.json"


def sources() -> list[Path]:
    """Return the files of the wrapper that mutmut changes."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mutmut"]
    patterns = [pattern.removeprefix("src/") for pattern in settings["only_mutate"]]
    return sorted(path for pattern in patterns for path in (ROOT / "wrapper").glob(pattern) if path.suffix == ".py")


def _digest(paths: list[Path]) -> str:
    found = hashlib.sha256()
    for path in paths:
        found.update(path.name.encode() + b"\0" + path.read_bytes())
    return found.hexdigest()


def measured(result: Path = RESULT, paths: list[Path] | None = None) -> tuple[int, int] | None:
    """Return the number of mutants that a test noticed, and of all; None if the sources have changed since."""
    if not result.is_file():
        return None
    found = json.loads(result.read_text(encoding="utf-8"))
    return (found["noticed"], found["of"]) if found["sources"] == _digest(paths or sources()) else None


def record(stats: Path, result: Path = RESULT, paths: list[Path] | None = None, *, whole: bool) -> bool:
    """Record the statistics of mutmut; return False if only a part of the mutants was ever run on these sources."""
    if not whole and measured(result, paths) is None:
        return False
    counts = json.loads(stats.read_text(encoding="utf-8"))
    noticed = counts["killed"] + counts["timeout"]
    found = {"sources": _digest(paths or sources()), "noticed": noticed, "of": counts["total"], "counts": counts}
    result.parent.mkdir(exist_ok=True)
    result.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return True


if __name__ == "__main__":
    recorded = record(MUTMUT_RESULT, whole=not sys.argv[1:])
    print(f"{RESULT.name}: {measured()}" if recorded else "not recorded: run make mutants without MUTANTS first")
