"""Tasks of the older API, through the same calls: in the sandbox, on their own endpoints."""

import base64
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from unitask import State, errors
from unitask_contract.checks._http import BLANK
from unitask_sandbox import Settings, running, samples

from .support import ENTRIES, answer, make, perform, quick_client

PICTURES = {"target_image": samples.ASTRONAUT, "swap_image": samples.GRACE_HOPPER}
GIVEN = {
    "LegacyFaceSwap": {name: base64.b64encode(path.read_bytes()).decode() for name, path in PICTURES.items()},
    "LegacyMidjourneyInpaint": {"mask": base64.b64encode(BLANK).decode()},
}
LEGACY = [name for name, entry in ENTRIES.items() if entry["protocol"] != "unified"]


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with running(Settings()) as url:
        yield url


@pytest.mark.parametrize("name", LEGACY)
def test_legacy_task_runs_at_its_price_and_is_a_unified_task(name: str, base_url: str, tmp_path: Path) -> None:
    legacy = make(name, **GIVEN.get(name, {}))
    with quick_client(base_url) as client:
        if "origin_task_id" in legacy.values():
            legacy = replace(legacy, origin_task_id=client.run(make("LegacyMidjourneyImagine")).id)
        before = client.account().balance_usd or 0
        task = client.run(legacy)
        paid = before - (client.account().balance_usd or 0)
        unified = client.get(task.id)
        files = [client.download(file, f"{tmp_path}/") for file in task.output.files[:1]]

    assert task.state is unified.state is State.COMPLETED
    assert paid == pytest.approx(legacy.estimate_usd() or 0) == pytest.approx(unified.cost_usd)
    assert unified.model != "legacy"
    assert all(path.stat().st_size > 500 for paths in files for path in paths)


def test_legacy_webhook_secret_is_hidden() -> None:
    secret = "a-long-webhook-secret"
    task = make("LegacyMidjourneyImagine", webhook_secret=secret)
    error = perform("sync", lambda client: client.submit(task), [answer(400, {"message": f"no: {secret}"})]).error

    assert isinstance(error, errors.InvalidRequest)
    assert secret not in str(error) + error.body


def test_legacy_task_takes_no_config() -> None:
    refused = perform("sync", lambda client: client.submit(make("LegacyFaceSwap"), webhook_url="https://me.test/hook"))

    assert isinstance(refused.error, errors.InvalidInput)
