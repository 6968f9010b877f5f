"""The API before the unified one: the same tasks, shown in each protocol's own form.

The contract tests run every legacy task type with the client.
"""

import base64
import json
from typing import Any

import pytest
from unitask_api import contract
from unitask_sandbox.engines import ENGINES

from .local import BASE_URL, CREATE, MODEL, Http, HttpWith, Receiver, base64_of, fake_swap

SWAP, LUMA, KLING, IMAGINE = "/api/face_swap/v1/async", "/api/luma/v1/video", "/api/kling/v1/video", "/mj/v2/imagine"
TOOLKIT = "/api/image_toolkit/v2/create"
POLLS = {SWAP: "/api/face_swap/v1/fetch", TOOLKIT: "/api/image_toolkit/v2/fetch"}  # the others: GET, or Midjourney's
EXAMPLES = contract.document()["components"]["examples"]


def pictures(target: bytes = b"target", **more: str) -> dict[str, str]:
    return {"target_image": base64_of(target), "swap_image": base64_of(b"source"), **more}


def create(http: Http, path: str, body: dict[str, Any]) -> str:
    answer = http("POST", path, json=body)
    assert answer.status_code == 200, answer.text
    task_id: str = (answer.json() if path.startswith("/mj/") else answer.json()["data"])["task_id"]
    return task_id


def poll(http: Http, path: str, task_id: str) -> dict[str, Any]:
    if path in (LUMA, KLING):
        answer = http("GET", f"{path}/{task_id}")
    else:
        answer = http("POST", POLLS.get(path, "/mj/v2/fetch"), json={"task_id": task_id})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body if path.startswith("/mj/") else body["data"]


def test_face_swap_as_an_address_and_as_base64(http: Http) -> None:
    bodies = pictures(result_type="url"), pictures(), pictures()
    as_address, as_base64, cancelled = (create(http, SWAP, body) for body in bodies)
    before = poll(http, SWAP, as_address)
    http("DELETE", f"{CREATE}/{cancelled}")
    http.sandbox.advance()
    after = poll(http, SWAP, as_address)

    assert (before["status"], before["image"]) == ("pending", "")
    assert after["status"] == "success"
    assert after["image"].startswith(f"{BASE_URL}/files/")
    assert http("GET", after["image"]).content == b"<target>"
    assert base64.b64decode(poll(http, SWAP, as_base64)["image"]) == b"<target>"
    assert poll(http, SWAP, cancelled)["status"] == "failed"


def test_toolkit_answers_as_documented(http_with: HttpWith, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, (MODEL, "upscale"), lambda given: fake_swap({"target_image": given["image"]}))
    http = http_with(fetch=lambda _url: b"cat")
    request = EXAMPLES["legacy.toolkit-upscale.request"]["value"]
    by_content = {"task_type": "upscale", "task_input": {"image": base64_of(b"cat"), "scale": 2}}
    tasks = [create(http, TOOLKIT, body) for body in (request, by_content)]
    http.sandbox.advance()
    one, other = (poll(http, TOOLKIT, task_id) for task_id in tasks)

    assert (one["status"], one["task_type"]) == ("success", "upscale")
    assert one["task_info"]["task_input"] == request["task_input"]
    assert http("GET", one["task_result"]["task_output"]["image_url"]).content == b"<cat>"
    assert other["task_info"]["task_input"] == {"scale": 2}
    assert other["task_result"]["task_output"] == {"image_base64": base64_of(b"<cat>"), "image_url": ""}


def test_luma_and_kling_are_done_as_documented(http: Http) -> None:
    luma = create(http, LUMA, {"prompt": "a cat", "expand_prompt": True})
    modes = [create(http, KLING, {"prompt": "p", "professional_mode": professional}) for professional in (True, False)]
    assert [http.sandbox._store.given(task_id)["mode"] for task_id in modes] == ["pro", "std"]
    before, kling_before = poll(http, LUMA, luma), poll(http, KLING, modes[0])
    http.sandbox.advance()
    after, kling_after = poll(http, LUMA, luma), poll(http, KLING, modes[0])

    assert json.loads(before["input"]) == {"user_prompt": "a cat", "expand_prompt": True}
    assert (before["status"], before["generation"]["video"]) == ("pending", None)
    assert (after["generation"]["state"], after["generation"]["prompt"]) == ("completed", "a cat")
    assert b"SIMULATED" in http("GET", after["generation"]["video"]).content
    assert (kling_before["output"], kling_before["works"]) == ({"video_url": "", "works": []}, [])
    assert kling_after["works"] == kling_after["output"]["works"]
    resource = kling_after["works"][0]["resource"]
    for url in (resource["resource"], resource["resourceWithoutWatermark"], kling_after["output"]["video_url"]):
        assert b"SIMULATED" in http("GET", url).content


@pytest.mark.parametrize("path", [LUMA, KLING])
def test_extension_of_a_video_is_a_new_task_of_the_same_protocol(http: Http, path: str) -> None:
    origin = create(http, path, {"prompt": "a cat"})
    http.sandbox.advance()
    extension = create(http, f"{path}/{origin}/extend", {"prompt": "it jumps"})
    given = http.sandbox._store.given(extension)
    http.sandbox.advance()

    assert given == {"prompt": "it jumps", "origin_task_id": origin}
    assert poll(http, path, extension)["status"] == "completed"
    assert http("POST", f"{path}/no-task/extend", json={"prompt": "it jumps"}).status_code == 404


def test_midjourney_is_flat(http: Http) -> None:
    task_id = create(http, IMAGINE, {"prompt": "a cat"})
    before = poll(http, IMAGINE, task_id)["status"]
    http.sandbox.advance()

    after = poll(http, IMAGINE, task_id)

    assert (before, after["status"]) == ("pending", "finished")
    assert after["task_result"]["discord_image_url"] == after["task_result"]["image_url"]


@pytest.mark.parametrize(
    ("action", "given"),
    [("upscale", {"index": 2}), ("variation", {"index": "1"}), ("outpaint", {"zoom_ratio": 1.5}), ("seed", {})],
)
def test_midjourney_task_starts_from_one_of_the_account(http: Http, action: str, given: dict[str, Any]) -> None:
    origin = create(http, IMAGINE, {"prompt": "a cat"})
    http.sandbox.advance()
    path = IMAGINE.replace("imagine", action)
    tasks = [create(http, path, {"origin_task_id": one, **given}) for one in (origin, "no such task")]
    http.sandbox.advance()
    done, failed = (poll(http, path, task_id) for task_id in tasks)

    assert (done["status"], done["task_result"]["error_messages"]) == ("finished", [])
    assert failed["status"] == "failed"
    assert failed["task_result"]["error_messages"] == ["derive from origin task: task not found"]


def test_poll_shows_tasks_of_its_protocol_and_key_only(http_with: HttpWith) -> None:
    http = http_with(keys={"sandbox": 10.0, "another": 10.0})
    unified, luma = http.create(), create(http, LUMA, {"prompt": "a cat"})
    answers = [
        http("POST", POLLS[SWAP], json={"task_id": unified}),
        http("POST", POLLS[SWAP], json={"task_id": luma}),
        http("GET", f"{KLING}/{luma}"),
        http("GET", f"{LUMA}/{luma}", headers={"x-api-key": "another"}),
    ]

    assert {(answer.status_code, answer.json()["message"]) for answer in answers} == {(404, "task not found")}


@pytest.mark.parametrize("path", [IMAGINE, KLING])
def test_webhook_has_what_a_poll_answers(http_with: HttpWith, path: str) -> None:
    receiver = Receiver()
    http = http_with(send_webhook=receiver)
    hook = {"endpoint": "http://me.test/hook", "secret": "s"}
    config = {f"webhook_{name}": value for name, value in hook.items()} if path == IMAGINE else {"webhook_config": hook}
    task_id = create(http, path, {"prompt": "a cat", **config})
    http.sandbox.advance()
    ((url, body, headers),) = receiver.got
    sent, seen = body if path == IMAGINE else body["data"], poll(http, path, task_id)
    for one in (sent, seen):  # the secret is removed when it was sent
        one.get("config", {}).get("webhook_config", {}).pop("secret", None)

    assert (url, headers["x-webhook-secret"], sent) == ("http://me.test/hook", "s", seen)


def test_pictures_of_a_legacy_task_are_removed(http: Http) -> None:
    picture = base64_of(b"the picture")
    create(http, SWAP, pictures(b"the picture"))
    create(http, TOOLKIT, {"task_type": "face_swap", "task_input": pictures(b"the picture")})
    create(http, LUMA, {"prompt": "x", "image_url": picture})
    http.sandbox.advance()
    kept = http.sandbox._store._rows("SELECT * FROM tasks") + http.sandbox._store._rows("SELECT * FROM inputs")

    assert len(kept) == 3
    assert picture not in str(kept)
