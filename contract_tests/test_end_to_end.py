"""The whole way over real HTTP: wrapper, generated requests, sandbox, engine, download."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from unitask import errors, tasks
from unitask_sandbox import Settings, running, samples

from sandbox.tests.recogniser import judge

from .support import quick_client

ROOT = Path(__file__).resolve().parents[1]


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


def test_page_lists_every_error() -> None:
    page = (ROOT / "docs" / "guides" / "errors.md").read_text(encoding="utf-8")
    raised = set(errors.__all__) - {"UnitaskError", "ApiError"}

    assert {name for name in raised if f"`{name}`" not in page} == set()
