"""The whole way over real HTTP: wrapper, generated requests, sandbox, engine, download; and the code of the pages."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from unitask import errors, tasks
from unitask_contract.checks._http import BLANK
from unitask_sandbox import Settings, running, samples

from sandbox.tests.recogniser import judge

from .support import quick_client

ROOT = Path(__file__).resolve().parents[1]
PAGES = "\n".join((ROOT / page).read_text(encoding="utf-8") for page in ("README.md", "docs/client.md"))
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGES, re.DOTALL)


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    """A sandbox on a free port."""
    with running(Settings()) as url:
        yield url


def test_swap_is_judged_a_swap_by_an_independent_recogniser(base_url: str, tmp_path: Path) -> None:
    """The downloaded picture shows the source's face, and everything outside the face is as it was."""
    target, source = samples.ASTRONAUT, samples.GRACE_HOPPER
    with quick_client(base_url) as client:
        task = client.run(tasks.FaceSwap(target_image=target, swap_image=source))
        (swapped,) = client.download(task, tmp_path / "swapped.png")

    verdict = judge(target.read_bytes(), swapped.read_bytes(), source.read_bytes(), exact=True)

    assert verdict.accepted, verdict
    assert task.cost_usd == pytest.approx(0.01)


def test_picture_without_a_face_fails_as_a_task_with_its_id(base_url: str) -> None:
    """It is only found out by looking, so it is accepted, fails, costs nothing, and the error has the id."""
    with quick_client(base_url) as client, pytest.raises(errors.TaskFailed) as failed:
        client.run(tasks.FaceSwap(target_image=BLANK, swap_image=samples.ASTRONAUT))

    assert failed.value.task_id == failed.value.task.id
    assert "no face found in the image" in str(failed.value)
    assert failed.value.task.cost_usd == 0


def test_sandbox_saw_each_create_once(base_url: str) -> None:
    """Seen from the server's side, a run is one create and some looks."""

    def arrived() -> list[dict[str, Any]]:
        return list(httpx.get(f"{base_url}/_sandbox/arrivals").json()["arrivals"])

    before = len(arrived())
    with quick_client(base_url) as client:
        client.run(tasks.FaceSwap(target_image=samples.ASTRONAUT, swap_image=samples.GRACE_HOPPER))
    arrivals = arrived()[before:]

    assert [arrival["operation"] for arrival in arrivals].count("create_task") == 1
    assert {arrival["status"] for arrival in arrivals} == {200}


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
