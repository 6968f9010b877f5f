"""`python -m generator.changes --base REF`: list the changes of the contract for a caller, with their semver level.

What is not proven harmless counts as a break, unless spec/waivers.yaml explains why it is not one.
"""

import argparse
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

from unitask_contract.changes import Change, changes, verdict

from .bundle import load_yaml

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = "generated/unitask_api/openapi.json"


def waived(found: list[Change], waivers: list[dict[str, str]]) -> list[Change]:
    """Return the changes; a break that a waiver explains becomes a minor change."""
    reasons = {waiver["where"]: waiver["why"] for waiver in waivers}
    return [
        Change("minor", change.where, f"{change.what} (waived: {reasons[change.where]})")
        if change.level == "major" and change.where in reasons
        else change
        for change in found
    ]


def bump_is_enough(old: str, new: str, level: str) -> bool:
    """Return whether a version was raised enough. Before 1.0 a break raises the second number (semver, 4)."""
    before, after = ([int(part) for part in version.split(".")] for version in (old, new))
    needed = {"major": 0, "minor": 1, "patch": 2} if before[0] else {"major": 1, "minor": 2, "patch": 2}
    place = needed.get(level)
    return place is None or after[: place + 1] > before[: place + 1]


def grouped(found: Iterable[Change]) -> Iterator[str]:
    """Yield a line for each kind of change, and below it the places where it occurs."""
    places: dict[tuple[str, str], list[str]] = {}
    for change in found:
        places.setdefault((change.level, change.what), []).append(change.where)
    for (level, what), where in places.items():
        yield f"{level:<6} {what}"
        yield from (f"       - {place}" for place in where)


def main(arguments: list[str] | None = None) -> int:
    """Print the changes since a git ref. Exit code 1: the version was not raised enough; 2: nothing to compare with."""
    parser = argparse.ArgumentParser(prog="generator.changes", description=__doc__)
    parser.add_argument("--base", required=True, help="a git ref")
    parser.add_argument("--require-bump", action="store_true", help="fail if the version was not raised enough")
    options = parser.parse_args(arguments)
    try:
        old = json.loads(_at_ref(options.base, BUNDLE))
        old_version = tomllib.loads(_at_ref(options.base, "pyproject.toml"))["project"]["version"]
    except subprocess.CalledProcessError as error:
        print(f"{options.base} has no bundle to compare with: {error.stderr.strip()}", file=sys.stderr)
        return 2
    new = json.loads((ROOT / BUNDLE).read_text(encoding="utf-8"))
    new_version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    found = waived(changes(old, new), load_yaml(ROOT / "spec" / "waivers.yaml") or [])
    level = verdict(found)
    print(*grouped(found), sep="\n")
    print(f"verdict: {level} (version {old_version} -> {new_version})")
    if options.require_bump and not bump_is_enough(old_version, new_version, level):
        print(f"raise version {new_version}: the contract has a {level} change since {old_version}", file=sys.stderr)
        return 1
    return 0


def _at_ref(ref: str, path: str) -> str:
    command = ["git", "show", f"{ref}:{path}"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    sys.exit(main())
