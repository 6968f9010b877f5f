"""The public names of the package, and the cost of importing it."""

import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import unitask
import unitask_api
from unitask import errors


def run(program: str) -> str:
    """Run a program in a fresh interpreter, apart from the environment and the folder; return what it prints."""
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, check=False, text=True)
    assert done.stderr == ""
    return done.stdout.strip()


def test_package_lists_its_names() -> None:
    assert sorted(unitask.__all__) == dir(unitask)
    assert all(hasattr(unitask, name) for name in unitask.__all__)
    assert set(errors.__all__) <= set(unitask.__all__)
    assert unitask.__version__ == version("unitask")
    with pytest.raises(AttributeError, match="module 'unitask' has no attribute 'Klient'"):
        _ = unitask.Klient  # type: ignore[attr-defined]  # it must raise


HEAVY = {"httpx", "attrs", "attr", "unitask_api.models.task", "asyncio", "PIL", "numpy"}
STATEMENTS = [
    "from unitask import errors, tasks, Task, InvalidInput; tasks.FaceSwap(target_image='a', swap_image='b')",
    "import unitask.testing",
    "from unitask import inputs, tasks; inputs.request_body(tasks.FluxDevTxt2Img(prompt='a', width=512))",
]


@pytest.mark.parametrize("statement", STATEMENTS)
def test_import_is_light(statement: str) -> None:
    assert run(f"import sys; {statement}; print(sorted({HEAVY} & set(sys.modules)))") == "[]"


def test_pytest_plugin_is_light() -> None:
    program = (
        "import sys, pytest; before = set(sys.modules); import unitask.testing.plugin; "
        "packages = {name.partition('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names; "
        "print(sorted(packages), {'unitask.client', 'unitask.tasks', 'unitask_api.models'} & set(sys.modules))"
    )

    assert run(program) == "['unitask', 'unitask_api'] set()"


def test_package_works_from_a_zip(tmp_path: Path) -> None:
    program = f"import sys; sys.path[:0] = [{str(tmp_path / 'unitask.zip')!r}, {str(tmp_path / 'unitask_api.zip')!r}]"
    program += """
import unitask
from unitask import Client, tasks
from unitask_api import contract
assert ".zip" in unitask.__file__ and ".zip" in contract.__file__
assert tasks.FaceSwap(target_image="https://a.test/a.png", swap_image="https://a.test/b.png").estimate_usd()
with Client("key", "http://127.0.0.1:1") as client:
    print(unitask.__version__)
"""
    for package in (unitask, unitask_api):
        folder = Path(str(package.__file__)).parent
        shutil.make_archive(str(tmp_path / folder.name), "zip", folder.parent, folder.name)

    assert run(program) == unitask.__version__
