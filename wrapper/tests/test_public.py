"""What the package shows: its names, their docstrings, and how little it costs to import."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import unitask
from unitask import errors

MODULES = [  # users may import from them
    "budget",
    "errors",
    "inputs",
    "media",
    "tasks",
    "tasks.faceswap",
    "testing",
    "webhooks",
]


def module(name: str) -> Any:
    return importlib.import_module(f"unitask.{name}")


@pytest.mark.parametrize("name", MODULES)
def test_listed_names_exist(name: str) -> None:
    """In alphabetical order, each once."""
    names = module(name).__all__

    assert names == sorted(set(names))
    assert all(hasattr(module(name), each) for each in names)


@pytest.mark.parametrize("name", MODULES)
def test_public_classes_are_listed(name: str) -> None:
    """A class without an underscore that is defined here is for users."""
    place = module(name)
    defined = {
        each
        for each, value in vars(place).items()
        if inspect.isclass(value) and value.__module__ == place.__name__ and not each.startswith("_")
    }

    assert defined <= set(place.__all__)


def test_package_lists_what_it_has() -> None:
    """Each name loads, and all errors are among them."""
    assert unitask.__all__ == sorted(unitask.__all__)
    assert all(hasattr(unitask, name) for name in unitask.__all__)
    assert set(errors.__all__) <= set(unitask.__all__)
    assert dir(unitask) == unitask.__all__


def test_name_that_is_not_there_is_an_attribute_error() -> None:
    """As for any module."""
    with pytest.raises(AttributeError, match="module 'unitask' has no attribute 'Klient'"):
        _ = unitask.Klient  # type: ignore[attr-defined]


def test_version_is_the_installed_one() -> None:
    """It is written in the package too, for a copy without metadata."""
    assert unitask.__version__ == version("unitask")


def public_things() -> Iterator[tuple[str, Any]]:
    """Every public class and function, and every public method and property of theirs."""
    for place in [unitask, *map(module, MODULES)]:
        for name in place.__all__:
            thing = getattr(place, name)
            if inspect.ismodule(thing) or not (inspect.isclass(thing) or inspect.isfunction(thing)):
                continue
            yield f"{place.__name__}.{name}", thing
            members = vars(thing).items() if inspect.isclass(thing) else ()
            for member, value in members:
                if not member.startswith("_") and (inspect.isfunction(value) or isinstance(value, property)):
                    yield f"{place.__name__}.{name}.{member}", value


THINGS = dict(public_things())


@pytest.mark.parametrize("name", THINGS)
def test_public_name_has_a_docstring(name: str) -> None:
    """Of its own."""
    thing = THINGS[name]

    assert vars(thing)["__doc__"] if inspect.isclass(thing) else thing.__doc__


FRESH = """
import json, sys
{0}
heavy = {{"httpx", "attrs", "attr", "unitask_api.models", "asyncio", "PIL", "numpy"}}
print(json.dumps(sorted(heavy & set(sys.modules))))
"""


def imported_by(statement: str) -> list[str]:
    """Which heavy modules a statement imports in a fresh interpreter."""
    done = subprocess.run([sys.executable, "-c", FRESH.format(statement)], capture_output=True, check=True, text=True)
    found: list[str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    "statement",
    [
        "import unitask",
        "from unitask import errors, tasks, Task, InvalidInput",
        "import unitask.testing",
        "from unitask import tasks; tasks.FaceSwap(target_image='a', swap_image='b')",
        "from unitask import inputs, tasks; inputs.request_body(tasks.FluxDevTxt2Img(prompt='a', width=512))",
    ],
)
def test_import_is_light(statement: str) -> None:
    """Whoever only names a task, checks a plain one, or catches an error, pays for no HTTP client."""
    assert imported_by(statement) == []


def test_client_brings_httpx() -> None:
    """So that the test above would see it."""
    assert "httpx" in imported_by("from unitask import Client")


FROM_A_ZIP = """
import sys
sys.path.insert(0, {archive!r})
import unitask
from unitask import Client, tasks
from unitask_api import contract
assert contract.__file__.startswith({archive!r})
assert tasks.FaceSwap(target_image="https://a.test/a.png", swap_image="https://a.test/b.png").estimate_usd()
assert contract.document()["openapi"]
with Client("key", "http://127.0.0.1:1") as client:
    print(unitask.__version__)
"""


def test_package_works_from_a_zip(tmp_path: Path) -> None:
    """As a zipped application has it: the rules of the spec are read through the loader."""
    archive = tmp_path / "app.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        for package in (Path(unitask.__file__).parent, Path(spec_of("unitask_api")).parent):
            for file in package.rglob("*"):
                if file.suffix in (".py", ".json"):
                    zipped.write(file, file.relative_to(package.parent))
    program = [sys.executable, "-c", FROM_A_ZIP.format(archive=str(archive))]
    done = subprocess.run(program, capture_output=True, check=False, text=True)

    assert (done.stdout.strip(), done.stderr) == (unitask.__version__, "")


def spec_of(package: str) -> str:
    found = importlib.util.find_spec(package)
    assert found
    assert found.origin
    return found.origin
