"""Check a release before its tag: `make release-check` prints a table, and fails if a line of it does.

Both distributions are built, as wheel and sdist in out/release, and installed without constraints in clean environments
outside of the repository, where they run. A Python that is not on this machine is skipped.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from email import message_from_bytes
from functools import partial
from itertools import product
from pathlib import Path

from readme_renderer import markdown

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "out/release"
PYTHONS = ("3.11", "3.12", "3.13")
FORMS = {"wheel": "*.whl", "sdist": "*.tar.gz"}
EXTRAS = ("", "[sandbox]", "[all]")
LARGEST_WHEEL = 1_500_000  # bytes, of the client

BASE = """
import unitask
print(unitask.__version__)
assert unitask.tasks.FaceSwap(target_image="a.png", swap_image="b.png").estimate_usd()
"""
DEMO = """
from pathlib import Path
from unitask.demo import demo
demo(Path("."), print)
"""


class Failed(Exception):
    """A check that does not hold, and why."""


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """Run a command; return its output. Raises Failed with the last lines of it when the exit code is not 0."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "UNITASK_"))}
    done = subprocess.run(
        command, cwd=cwd, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        last = " / ".join(done.stdout.strip().splitlines()[-3:])
        raise Failed(f"{' '.join(map(str, command))[-80:]} ended with {done.returncode}: {last}")
    return done.stdout.strip()


# --- what the files say


def version(root: Path = ROOT) -> str:
    """Return the version that every file names."""
    client, sandbox = (
        tomllib.loads((root / path).read_text(encoding="utf-8"))["project"]
        for path in ("pyproject.toml", "sandbox/pyproject.toml")
    )
    code = re.search(r'"(.+?)"', (root / "wrapper/unitask/_version.py").read_text(encoding="utf-8"))
    pins = [*client["optional-dependencies"]["sandbox"], *sandbox["dependencies"]]
    found = {client["version"], sandbox["version"], code[1] if code else "none"}
    found |= {pin.partition("==")[2] for pin in pins if re.match(r"unitask(-sandbox)?\b", pin)}
    if len(found) > 1:
        raise Failed(f"pyproject.toml, sandbox/pyproject.toml and _version.py have different versions: {sorted(found)}")
    return found.pop()


def changelog(text: str, wanted: str, verdict: str) -> str:
    """Return the title of the version's section; what changed must be in it, and a break of the contract named."""
    sections = dict(re.findall(r"^## (\[.+?\].*?)\n(.*?)(?=^(?:## |\[Unreleased\]:)|\Z)", text, re.M | re.S))
    title = next((title for title in sections if title.startswith(f"[{wanted}]")), "")
    if not re.fullmatch(r"\[.+\] - \d{4}-\d\d-\d\d", title):
        raise Failed(f"CHANGELOG.md needs a section `## [{wanted}] - YYYY-MM-DD`")
    if sections.get("[Unreleased]", "").strip():
        raise Failed(f"move the entries of Unreleased in CHANGELOG.md to [{wanted}]")
    if verdict == "major" and "**Major.**" not in sections[title]:
        raise Failed(f"the contract has a major change, and [{wanted}] in CHANGELOG.md has no entry **Major.**")
    return title


def tag(wanted: str) -> str:
    """Return the tag of this version: of this commit, or of none yet."""
    name = f"v{wanted}"
    here = run("git", "tag", "--points-at", "HEAD", "--list", "v*").split()
    if here and here != [name]:
        raise Failed(f"the commit has the tag {', '.join(here)}, and its version is {wanted}")
    if not here and run("git", "tag", "--list", name):
        raise Failed(f"another commit has the tag {name}: raise the version")
    return name if here else f"{name} is free"


def verdict(wanted: str) -> str:
    """Return the semver level of the contract's changes since the last release."""
    last = run("git", "tag", "--merged", "HEAD", "--sort=-v:refname", "--list", "v*").split()
    earlier = next((name for name in last if name != f"v{wanted}"), None)
    if earlier is None:
        return "none: no earlier release"
    command = (sys.executable, "-m", "generator.changes", "--base", earlier, "--require-bump")
    return run(*command, cwd=ROOT / "spec").rpartition("verdict: ")[2].split()[0]


# --- what is built


def build() -> str:
    shutil.rmtree(OUT, ignore_errors=True)
    for folder in (ROOT, ROOT / "sandbox"):
        run(sys.executable, "-m", "build", "--outdir", OUT, folder)
    return ", ".join(sorted(path.name for path in OUT.iterdir()))


def size() -> str:
    (wheel,) = OUT.glob("unitask-*.whl")
    if wheel.stat().st_size > LARGEST_WHEEL:
        raise Failed(f"{wheel.name} has {wheel.stat().st_size:,} bytes; the limit is {LARGEST_WHEEL:,}")
    return "; ".join(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB" for path in sorted(OUT.iterdir()))


def twine() -> str:
    run(sys.executable, "-m", "twine", "check", "--strict", *OUT.iterdir())
    return "metadata and descriptions are valid"


def readme(wheel: Path) -> str:
    """Render the README as the index does; its links must lead somewhere from there."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        text = str(message_from_bytes(archive.read(name)).get_payload(decode=True), "utf-8")
    links = re.findall(r'(?:href|src)="(.*?)"', markdown.render(text) or "")
    relative = [link for link in links if not link.startswith(("https://", "#"))]
    if relative or not links:
        raise Failed(f"links that an index cannot follow: {relative or 'no link was found'}")
    return f"{wheel.name}: {len(links)} absolute links"


# --- what is installed


def interpreter(wanted: str) -> str | None:
    """Return a Python of this version: on the PATH, or of pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = [shutil.which(f"python{wanted}"), *pyenv.glob(f"versions/{wanted}.*/bin/python")]
    return next((str(path) for path in found if path and works(path)), None)


def works(python: str | Path) -> bool:  # the name can be a shim of pyenv for a Python that is not chosen
    return subprocess.run([python, "-m", "venv", "--help"], capture_output=True, check=False).returncode == 0


def installed(python: str, form: str, extra: str, wanted: str) -> str:
    """Install the distributions in a clean environment and run what this extra promises."""
    (client,), (sandbox,) = (list(OUT.glob(name + FORMS[form])) for name in ("unitask-", "unitask_sandbox-"))
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        run(python, "-m", "venv", here / "venv")
        programs = here / "venv/bin"
        files = [f"{client}{extra}", str(sandbox)] if extra else [str(client)]
        run(programs / "python", "-m", "pip", "install", "--quiet", *files, cwd=here)
        run(programs / "python", "-m", "pip", "check", cwd=here)
        named = run(programs / "python", "-c", BASE, cwd=here)
        if extra == "[sandbox]":
            run(programs / "python", "-c", DEMO, cwd=here)
        if extra == "[all]":
            named = run(programs / "unitask", "--version", cwd=here)
            run(programs / "unitask", "demo", cwd=here)
            run(programs / "unitask", "contract", "--families", "general", cwd=here)
        if wanted not in named:
            raise Failed(f"the installed version is {named}, not {wanted}")
    return f"pip check, version{', demo' if extra else ''}{', contract' if extra == '[all]' else ''}"


# --- the table


def facts(wanted: str) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield the checks of what the files and the repository say."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    yield "tag", partial(tag, wanted)
    yield "changes of the contract", partial(verdict, wanted)
    yield "CHANGELOG", lambda: changelog(text, wanted, verdict(wanted))


def files() -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield the checks of the files that were built."""
    yield "size", size
    yield "twine check", twine
    yield from (("README", partial(readme, wheel)) for wheel in sorted(OUT.glob("*.whl")))


def environments(wanted: str) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield a check for each Python, form and extra."""
    for number, form, extra in product(PYTHONS, FORMS, EXTRAS):
        python = interpreter(number)
        name = f"{number} {form:<5} unitask{extra}"
        yield name, partial(installed, python, form, extra, wanted) if python else lambda: "SKIPPED: no such Python"


def held(check: tuple[str, Callable[[], str]]) -> bool:
    """Run a check and print its line; return whether it holds."""
    name, function = check
    try:
        result, detail = "ok", function()
    except Failed as failed:
        result, detail = "FAILED", str(failed)
    print(f"{'skipped' if detail.startswith('SKIPPED') else result:<8} {name:<28} {detail}", flush=True)
    return result == "ok"


def main() -> int:
    """Run all checks; return 0 if they hold, else 1."""
    if not held(("version", version)):
        return 1
    wanted = version()
    results = [*map(held, facts(wanted)), held(("build", build))]
    if results[-1]:
        results += map(held, files())
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            results += pool.map(held, environments(wanted))
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
