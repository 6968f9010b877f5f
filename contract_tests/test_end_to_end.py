"""The whole way over real HTTP: wrapper, generated requests, sandbox, engine, download; and the code of the pages."""

import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from unitask import errors, tasks
from unitask_sandbox import Settings, running, samples

from sandbox.tests.recogniser import judge

from .support import quick_client

ROOT = Path(__file__).resolve().parents[1]
PAGES = "\n".join((ROOT / page).read_text(encoding="utf-8") for page in ("README.md", "docs/client.md"))
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGES, re.DOTALL)


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with running(Settings()) as url:
        yield url


def test_swap_is_judged_a_swap_by_an_independent_recogniser(base_url: str, tmp_path: Path) -> None:
    target, source = samples.ASTRONAUT, samples.GRACE_HOPPER
    with quick_client(base_url) as client:
        task = client.run(tasks.FaceSwap(target_image=target, swap_image=source))
        (swapped,) = client.download(task, tmp_path / "swapped.png")

    judge(target.read_bytes(), swapped.read_bytes(), source.read_bytes(), exact=True)

    assert task.cost_usd == pytest.approx(0.01)


def test_code_of_the_pages_runs(base_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every piece of Python in README.md and docs/client.md runs against the local provider; all at once: they wait."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNITASK_BASE_URL", base_url)
    monkeypatch.setenv("UNITASK_API_KEY", "sandbox")
    shutil.copy(samples.GRACE_HOPPER, "group.jpg")
    shutil.copy(samples.ASTRONAUT, "me.png")

    def run(snippet: str) -> None:
        exec(compile(snippet, "a page", "exec"), {"__name__": "page"})

    with ThreadPoolExecutor(len(SNIPPETS)) as pool:
        assert len(list(pool.map(run, SNIPPETS))) > 2


def test_pages_list_every_error() -> None:
    raised = set(errors.__all__) - {"UnitaskError", "ApiError"}

    assert {name for name in raised if f"`{name}`" not in PAGES} == set()
