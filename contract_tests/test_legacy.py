"""Tasks of the API before the unified one, through the same calls: their own endpoints, and one form of task."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx
from unitask import Client, Outcome, State, errors, tasks
from unitask_contract.checks._http import BLANK
from unitask_sandbox import Fault, Settings, running, samples

from .support import BASE_URL, KEY, bundle, examples, quick_client

SWAP = tasks.LegacyFaceSwap(target_image="https://me.test/a.jpg", swap_image="https://me.test/b.jpg", result_type="url")
ACCEPTED = examples()["legacy.face-swap.goapi.create.200"]["value"]
DONE = examples()["legacy.face-swap.fetch.200"]["value"]


def client() -> Client:
    return Client(KEY, BASE_URL, sleep=lambda _: None)


def test_legacy_face_swap_runs_over_its_own_endpoints() -> None:
    with respx.mock(base_url=BASE_URL) as router:
        create = router.post("/api/face_swap/v1/async").respond(json=ACCEPTED)
        look = router.post("/api/face_swap/v1/fetch").respond(json=DONE)
        with client() as made:
            task = made.run(SWAP)

    assert create.calls.last.request.read() == httpx.Request("POST", "x:", json=SWAP.values()).read()
    assert look.calls.last.request.read() == httpx.Request("POST", "x:", json={"task_id": task.id}).read()
    assert task.state is State.COMPLETED
    assert task.output.image == DONE["data"]["image"]
    assert task.raw["legacy"] == DONE


def test_legacy_accept_word_is_no_completion() -> None:
    accepted = {"task_id": "t-1", "status": "success", "message": ""}
    done = {"task_id": "t-1", "status": "finished", "task_result": {"image_url": "https://out.test/x.png"}}
    with respx.mock(base_url=BASE_URL) as router:
        router.post("/mj/v2/imagine").respond(json=accepted)
        router.post("/mj/v2/fetch").respond(json=done)
        with client() as made:
            submitted = made.submit(tasks.LegacyMidjourneyImagine(prompt="a cat"))
            task = made.wait(submitted)

    assert submitted.state is State.PENDING
    assert task.output.image_url == "https://out.test/x.png"


def test_legacy_takes_no_config() -> None:
    with client() as made, pytest.raises(errors.InvalidInput, match="LegacyFaceSwap takes no webhook_url"):
        made.submit(SWAP, webhook_url="https://me.test/hook")


@pytest.mark.parametrize("odd", ["text", {"webhook_config": {"secret": 7}}])
def test_legacy_create_survives_odd_fields(odd: object) -> None:
    task = tasks.LegacyFaceSwap(target_image="https://me.test/a", swap_image="https://me.test/b", extra={"config": odd})
    with respx.mock(base_url=BASE_URL) as router:
        router.post("/api/face_swap/v1/async").respond(json=ACCEPTED)
        with client() as made:
            assert made.submit(task).id == ACCEPTED["data"]["task_id"]


def test_legacy_webhook_secret_is_hidden() -> None:
    secret = "a-long-webhook-secret"
    task = tasks.LegacyMidjourneyImagine(prompt="a cat", webhook_secret=secret)
    with respx.mock(base_url=BASE_URL) as router:
        router.post("/mj/v2/imagine").respond(400, json={"message": f"no: {secret}"})
        with client() as made, pytest.raises(errors.InvalidRequest) as refused:
            made.submit(task)

    assert secret not in str(refused.value) + refused.value.body


# Against the sandbox, end to end.

SOURCES = {"target_image": samples.ASTRONAUT, "swap_image": samples.GRACE_HOPPER}
MADE: dict[str, dict[str, Any]] = {  # inputs of the legacy task types that need one
    "LegacyFaceSwap": {name: base64.b64encode(path.read_bytes()).decode() for name, path in SOURCES.items()},
    "LegacyMidjourneyUpscale": {"origin_task_id": "an-id", "index": "1"},
    "LegacyMidjourneyVariation": {"origin_task_id": "an-id", "index": "2"},
    "LegacyMidjourneyReroll": {"origin_task_id": "an-id"},
    "LegacyMidjourneyInpaint": {"origin_task_id": "an-id", "mask": base64.b64encode(BLANK).decode()},
    "LegacyMidjourneyOutpaint": {"origin_task_id": "an-id", "zoom_ratio": "2"},
    "LegacyMidjourneyPan": {"origin_task_id": "an-id", "direction": "up"},
    "LegacyMidjourneyDescribe": {},
    "LegacyMidjourneyBlend": {},
    "LegacyMidjourneySeed": {},
}
LEGACY = [entry["name"] for entry in bundle()["x-tasks"] if entry["protocol"] != "unified"]


def made(name: str) -> Any:
    return getattr(tasks, name)(**MADE.get(name, {"prompt": "a cat"}))


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with running(Settings()) as url:
        yield url


@pytest.mark.parametrize("name", LEGACY)
def test_legacy_task_type_runs_in_the_sandbox(name: str, base_url: str) -> None:
    estimate = made(name).estimate_usd() or 0
    with quick_client(base_url) as client:
        before = client.account().balance_usd or 0
        task = client.run(made(name))
        paid = before - (client.account().balance_usd or 0)
        unified = client.get(task.id)

    assert task.state is unified.state is State.COMPLETED
    assert paid == pytest.approx(estimate) == pytest.approx(unified.cost_usd)
    assert unified.model != "legacy"


@pytest.mark.parametrize(
    ("name", "kind"), [("LegacyFaceSwap", "image"), ("LegacyKlingVideo", "video"), ("LegacyMidjourneyImagine", "image")]
)
def test_legacy_output_can_be_downloaded(name: str, kind: str, base_url: str, tmp_path: Path) -> None:
    more = {"result_type": "url"} if name == "LegacyFaceSwap" else {}
    with quick_client(base_url) as client:
        task = client.run(getattr(tasks, name)(**MADE.get(name, {"prompt": "a cat"}), **more))
        (path,) = client.download(task, tmp_path)

    assert [file.kind for file in task.output.files] == [kind]
    assert path.stat().st_size > 500


def test_lost_legacy_create_is_not_taken_for_absent() -> None:
    """It was accepted; the history lists it under the names of today, and a client that saw none would pay twice."""
    with running(Settings(faults=(Fault("legacy_mj_imagine", "lose"),))) as url, quick_client(url) as client:
        with pytest.raises(errors.SubmissionUncertain) as lost:
            client.submit(made("LegacyMidjourneyImagine"))

        assert lost.value.find(client).outcome is Outcome.UNCLEAR
        assert [row.model for row in client.history()] == ["midjourney"]


def test_legacy_failure_of_the_sandbox_is_no_face(base_url: str) -> None:
    blank = base64.b64encode(BLANK).decode()
    task = tasks.LegacyFaceSwap(target_image=blank, swap_image=blank)
    with quick_client(base_url) as client, pytest.raises(errors.NoFaceFound):
        client.run(task)
