"""Run `python -m generator [--check]` in the folder spec/: generate, or compare with what is checked in."""

import argparse
import contextlib
import filecmp
import hashlib
import io
import json
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from .async_client import MODULES, emit_async_client
from .bundle import SpecError, as_text, bundle
from .catalogue import emit_catalogue
from .emit import emit_client
from .lint import faults
from .public import emit_public
from .reference import emit_reference

SPEC = Path(__file__).resolve().parents[1]
ROOT = SPEC.parent
WRAPPER = Path("wrapper/unitask")
# What is generated: folders that hold nothing else, and modules.
PUBLIC = Path("docs/openapi.json")
PLACES = (
    Path("generated"),
    WRAPPER / "tasks",
    Path("docs/reference/tasks"),
    PUBLIC,
    *(WRAPPER / name for name in MODULES.values()),
)


def generate(root: Path) -> None:
    """Write everything that is generated below a root folder."""
    document = bundle(SPEC)
    if wrong := faults(document):
        raise SpecError("\n".join(wrong))
    package = root / "generated" / "unitask_api"
    package.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.redirect_stdout(io.StringIO()):  # the generator prints the name of a temporary folder
        emit_client(document, package)
    emit_catalogue(document, root / WRAPPER / "tasks")
    emit_reference(document, root / "docs/reference/tasks")
    emit_public(document, root / PUBLIC)
    emit_async_client(ROOT / WRAPPER, root / WRAPPER)
    lock = {
        "spec_sha256": hashlib.sha256(as_text(document).encode()).hexdigest(),
        **{name: version(name) for name in ("openapi-python-client", "ruff")},
    }
    (package.parent / "lock.json").write_text(json.dumps(lock, indent=1) + "\n", encoding="utf-8")


def differences(root: Path, other: Path) -> list[str]:
    """Return the generated files that differ between two root folders, or are in one only."""
    found: set[str] = set()
    for place in PLACES:
        names = {
            path.relative_to(base).as_posix()
            for base in (root, other)
            for path in (base / place, *(base / place).rglob("*"))
            if path.is_file() and "__pycache__" not in path.parts
        }
        _, unequal, missing = filecmp.cmpfiles(root, other, names, shallow=False)
        found.update(unequal, missing)
    return sorted(found)


def main(arguments: list[str] | None = None) -> int:
    """Generate, or check. Exit code 1: the spec has a fault, or the checked-in files are not current."""
    parser = argparse.ArgumentParser(prog="generator", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare with what is checked in; write nothing")
    check = parser.parse_args(arguments).check
    try:
        if not check:
            generate(ROOT)
            return 0
        with tempfile.TemporaryDirectory() as fresh:
            generate(Path(fresh))
            stale = differences(ROOT, Path(fresh))
    except SpecError as error:
        print(error, file=sys.stderr)
        return 1
    for name in stale:
        print(f"{name} differs from what the spec generates: run `make generate`", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
