"""The Python code of README.md, docs/ and examples/ runs against the local provider.

The code of a page is one program, and its commands `unitask run` follow. A block that begins with `# NAME.py` is a file
of its own; test_*.py runs in pytest. A block after the comment `<!-- not run: REASON -->` is left out.
"""

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image
from unitask import Client, tasks
from unitask.testing import UnitaskProvider
from unitask_contract.checks._http import BLANK
from unitask_sandbox import Settings, running, samples
from unitask_sandbox.engines import ENGINES

from .support.simulated_network import quick_swap

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = [*(ROOT / "docs" / "reference" / "tasks").glob("*.md")]
TESTED_ELSEWHERE = {"testing.md"}  # wrapper/tests/test_testing.py
PAGES = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
BLOCK = re.compile(r"(<!-- not run: .+ -->\n\n?)?^```python\n(.*?)^```", re.M | re.S)
# Top-level `await` is allowed, as in a notebook.
RUN = """
import ast, asyncio, pathlib
code = compile(pathlib.Path("page.py").read_text(encoding="utf-8"), "page.py", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
coroutine = eval(code)
coroutine and asyncio.run(coroutine)
"""


def blocks_of(page: Path) -> list[str]:
    return [code for marked, code in BLOCK.findall(page.read_text(encoding="utf-8")) if not marked]


RUNNABLE = [page for page in PAGES if page.name not in TESTED_ELSEWHERE and page not in REFERENCE and blocks_of(page)]
EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def sandbox_url() -> Iterator[str]:
    """Run a local provider whose face swap takes no time; what it shows is tested in sandbox/tests/test_faces.py."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(ENGINES, ("Qubico/image-toolkit", "face-swap"), quick_swap)
        with running(Settings(keys={"sandbox": 1000.0}, engine_process=False)) as url:
            yield url


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder with the files that the pages name."""
    (tmp_path / "people").mkdir()
    for name in ("group.jpg", "people/1.jpg", "people/2.jpg"):
        shutil.copy(samples.GRACE_HOPPER, tmp_path / name)
    shutil.copy(samples.ASTRONAUT, tmp_path / "me.png")
    return tmp_path


def run(url: str, folder: Path, *arguments: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]  # free for the receiver of webhooks of a page
    environment = os.environ | {
        "UNITASK_BASE_URL": url,
        "UNITASK_API_KEY": "sandbox",
        "WEBHOOK_SECRET": "a long random text",
        "WEBHOOK_URL": f"http://127.0.0.1:{port}/",
        "PORT": str(port),
        "PYTHONPATH": str(folder),
        "XDG_CONFIG_HOME": str(folder),
        "XDG_STATE_HOME": str(folder),
    }
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


def load(example: str) -> ModuleType:
    spec = spec_from_file_location(example, EXAMPLES / f"{example}.py")
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: str(page.relative_to(ROOT)))
def test_code_of_a_page_runs(page: Path, sandbox_url: str, folder: Path) -> None:
    program = []
    for block in blocks_of(page):
        if named := re.match(r"# (\S+\.py)\n", block):
            folder.joinpath(named[1]).write_text(block, encoding="utf-8")
        else:
            program.append(block)
    folder.joinpath("page.py").write_text("\n".join(program), encoding="utf-8")
    run(sandbox_url, folder, "-c", RUN)
    for command in re.findall("^unitask (run .*)", page.read_text(encoding="utf-8"), re.M):
        run(sandbox_url, folder, "-m", "unitask", *shlex.split(command))
    if [*folder.glob("test_*.py")]:
        run(sandbox_url, folder, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", ".")


@pytest.mark.parametrize("page", REFERENCE, ids=lambda page: page.stem)
def test_example_of_a_task_type_makes_its_input(page: Path) -> None:
    for block in blocks_of(page):
        exec(block, {"tasks": tasks})


def test_script_swaps_a_face(sandbox_url: str, folder: Path) -> None:
    run(sandbox_url, folder, str(EXAMPLES / "swap.py"), "group.jpg", "me.png", "swapped.png")

    assert folder.joinpath("swapped.png").read_bytes() == BLANK


def test_web_app_swaps_the_faces_of_two_uploads(
    sandbox_url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    testclient = pytest.importorskip("fastapi.testclient")
    monkeypatch.setenv("UNITASK_BASE_URL", sandbox_url)
    monkeypatch.setenv("UNITASK_API_KEY", "sandbox")
    uploads = {"group": folder.joinpath("group.jpg").read_bytes(), "face": folder.joinpath("me.png").read_bytes()}
    with testclient.TestClient(load("fastapi_app").app) as web:
        refused = web.post("/swaps", files=uploads | {"face": b"GIF89a"})
        task_id = web.post("/swaps", files=uploads).json()["id"]
        with Client() as client:
            client.wait(task_id)
        task = web.get(f"/swaps/{task_id}").json()

        assert (refused.status_code, web.get("/swaps/none").status_code) == (422, 404)
    assert task["state"] == "completed"
    assert task["picture"].startswith(sandbox_url)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_order_that_celery_delivers_twice_is_paid_once(
    sandbox_url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNITASK_BASE_URL", sandbox_url)
    monkeypatch.setenv("UNITASK_API_KEY", "sandbox")
    monkeypatch.chdir(folder)
    worker = load("celery_worker")
    with Client() as client:
        before = client.account().balance_usd
        first, second = (worker.swap.apply(("17", "group.jpg", "me.png")).get() for _ in range(2))

        assert first == second
        assert client.account().balance_usd == pytest.approx(before - 0.01)


def test_batch_of_a_hundred_goes_on_where_it_stopped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for number in range(1, 101):
        Image.new("RGB", (32, 32)).save(f"people/{number}.jpg")
    main = load("batch").main
    with UnitaskProvider() as provider:
        failures = [main("people", "people/1.jpg", "out") for _ in range(2)]

    assert failures == [0, 0]
    assert len(provider.tasks) == len([*Path("out").iterdir()]) == 100
