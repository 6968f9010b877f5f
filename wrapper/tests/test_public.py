"""The public names of the package, and the cost of importing it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
import unitask
from unitask import errors


def run(program: str) -> str:
    """Run a program in a fresh interpreter; return what it prints."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, text=True)
    assert done.stderr == ""
    return done.stdout.strip()


def test_package_lists_its_names() -> None:
    assert sorted(unitask.__all__) == dir(unitask)
    assert all(hasattr(unitask, name) for name in unitask.__all__)
    assert set(errors.__all__) <= set(unitask.__all__)
    assert unitask.__version__ == version("unitask")
    with pytest.raises(AttributeError, match="module 'unitask' has no attribute 'Klient'"):
        _ = unitask.Klient  # type: ignore[attr-defined]


HEAVY = {"httpx", "attrs", "attr", "unitask_api.models.task", "asyncio", "PIL", "numpy"}


@pytest.mark.parametrize(
    "statement",
    [
        "from unitask import errors, tasks, Task, InvalidInput; tasks.FaceSwap(target_image='a', swap_image='b')",
        "import unitask.testing",
        "from unitask import inputs, tasks; inputs.request_body(tasks.FluxDevTxt2Img(prompt='a', width=512))",
    ],
)
def test_import_is_light(statement: str) -> None:
    assert run(f"import sys; {statement}; print(sorted({HEAVY} & set(sys.modules)))") == "[]"


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
    archive = tmp_path / "app.zip"
    generated = importlib.util.find_spec("unitask_api")
    assert generated
    assert generated.origin
    with zipfile.ZipFile(archive, "w") as zipped:
        for package in (Path(unitask.__file__).parent, Path(generated.origin).parent):
            for file in package.rglob("*"):
                if file.suffix in (".py", ".json"):
                    zipped.write(file, file.relative_to(package.parent))

    assert run(FROM_A_ZIP.format(archive=str(archive))) == unitask.__version__
