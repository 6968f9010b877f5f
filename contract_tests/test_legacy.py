"""Tasks of the API before the unified one, through the same calls: their own endpoints, and one form of task."""

from __future__ import annotations

import httpx
import pytest
import respx
from unitask import Client, State, errors, tasks

from .support import BASE_URL, KEY, examples

pytestmark = pytest.mark.contract("requests")

SWAP = tasks.LegacyFaceSwap(target_image="https://me.test/a.jpg", swap_image="https://me.test/b.jpg", result_type="url")
ACCEPTED = examples()["legacy.face-swap.goapi.create.200"]["value"]
DONE = examples()["legacy.face-swap.fetch.200"]["value"]
FAILED = examples()["legacy.face-swap.fetch.failed.200"]["value"]


def client() -> Client:
    """A client whose pauses take no time."""
    return Client(KEY, BASE_URL, sleep=lambda _: None)


def test_legacy_face_swap_runs_over_its_own_endpoints() -> None:
    """The input is the whole body, a look posts the id, and "success" of the old words is completed."""
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


def test_legacy_failure_tells_its_reasons() -> None:
    """The list of messages becomes the reason of the failure."""
    with respx.mock(base_url=BASE_URL) as router:
        router.post("/api/face_swap/v1/async").respond(json=ACCEPTED)
        router.post("/api/face_swap/v1/fetch").respond(json=FAILED)
        with client() as made, pytest.raises(errors.TaskFailed, match="no face found in the image"):
            made.run(SWAP)


def test_legacy_accept_word_is_no_completion() -> None:
    """A flat create that answers "success" has been accepted, and is not done."""
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


def test_legacy_look_by_path() -> None:
    """Luma's look has the id in its path; a pending task is pending."""
    created, pending = (examples()[name]["value"] for name in ("legacy.luma.create.200", "legacy.luma.200"))
    created = {**created, "data": {"task_id": pending["data"]["task_id"]}}
    with respx.mock(base_url=BASE_URL) as router:
        router.post("/api/luma/v1/video").respond(json=created)
        router.get(f"/api/luma/v1/video/{pending['data']['task_id']}").respond(json=pending)
        with client() as made:
            task = made.get(made.submit(tasks.LegacyLumaVideo(prompt="a cat")))

    assert task.state is State.PENDING
    assert task.output.raw["generation"]["state"] == "pending"


def test_legacy_create_is_sent_once_and_uncertain_without_an_id() -> None:
    """The rules of a create are the same for every protocol."""
    with respx.mock(base_url=BASE_URL) as router:
        create = router.post("/api/face_swap/v1/async").respond(502, text="<html>")
        with client() as made, pytest.raises(errors.SubmissionUncertain):
            made.submit(SWAP)

    assert create.call_count == 1


def test_legacy_takes_no_config() -> None:
    """What the old endpoints do not know is refused before sending, not dropped."""
    with client() as made, pytest.raises(errors.InvalidInput, match="LegacyFaceSwap takes no webhook_url"):
        made.submit(SWAP, webhook_url="https://me.test/hook")


@pytest.mark.parametrize("odd", ["text", 7, [], {"webhook_config": "x"}, {"webhook_config": {"secret": 7}}])
def test_legacy_create_survives_odd_fields(odd: object) -> None:
    """What is given past us is sent as it is, and never stands between an accepted task and its id."""
    task = tasks.LegacyFaceSwap(target_image="https://me.test/a", swap_image="https://me.test/b", extra={"config": odd})
    with respx.mock(base_url=BASE_URL) as router:
        router.post("/api/face_swap/v1/async").respond(json=ACCEPTED)
        with client() as made:
            assert made.submit(task).id == ACCEPTED["data"]["task_id"]


def test_legacy_webhook_secret_is_hidden() -> None:
    """A secret that a refusal repeats is in no error."""
    secret = "a-long-webhook-secret"
    task = tasks.LegacyMidjourneyImagine(prompt="a cat", webhook_secret=secret)
    with respx.mock(base_url=BASE_URL) as router:
        router.post("/mj/v2/imagine").respond(400, json={"message": f"no: {secret}"})
        with client() as made, pytest.raises(errors.InvalidRequest) as refused:
            made.submit(task)

    assert secret not in str(refused.value) + refused.value.body
