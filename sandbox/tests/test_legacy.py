"""The API before the unified one: the same tasks, shown in each protocol's own form."""

import base64
import json
from typing import Any

import pytest
from unitask_api import contract
from unitask_sandbox import Sandbox, legacy
from unitask_sandbox.engines import ENGINES

from .local import BASE_URL, MODEL, NO_FACE, PRICE, TASK_TYPE, Clock, Http, HttpWith, base64_of, fake_swap

SWAP, LOOK = "/api/face_swap/v1/async", "/api/face_swap/v1/fetch"
TOOLKIT, TOOLKIT_LOOK = "/api/image_toolkit/v2/create", "/api/image_toolkit/v2/fetch"
LUMA, KLING = "/api/luma/v1/video", "/api/kling/v1/video"
IMAGINE, MJ_LOOK = "/mj/v2/imagine", "/mj/v2/fetch"
EXAMPLES = contract.document()["components"]["examples"]


def pictures(target: bytes = b"target", **more: str) -> dict[str, str]:
    return {"target_image": base64_of(target), "swap_image": base64_of(b"source"), **more}


def create(http: Http, path: str, body: dict[str, Any]) -> str:
    answer = http("POST", path, json=body)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    task_id: str = (told if path.startswith("/mj/") else told["data"])["task_id"]
    return task_id


def look(http: Http, path: str, task_id: str) -> dict[str, Any]:
    by_path = path in (LUMA, KLING)
    answer = http("GET", f"{path}/{task_id}") if by_path else http("POST", path, json={"task_id": task_id})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_face_swap_as_an_address(http: Http) -> None:
    task_id = create(http, SWAP, pictures(result_type="url"))
    before = look(http, LOOK, task_id)
    http.sandbox.advance()
    done = look(http, LOOK, task_id)

    assert (before["data"]["status"], before["data"]["image"]) == ("pending", "")
    assert done["data"]["status"] == "success"
    assert done["data"]["image"].startswith(f"{BASE_URL}/files/")
    assert http("GET", done["data"]["image"]).content == b"<target>"
    assert EXAMPLES["legacy.face-swap.fetch.200"]["value"]["data"].keys() <= done["data"].keys()


def test_face_swap_is_base64_by_default(http: Http) -> None:
    task_id = create(http, SWAP, pictures())
    http.sandbox.advance()

    assert base64.b64decode(look(http, LOOK, task_id)["data"]["image"]) == b"<target>"


def test_failed_face_swap_tells_the_documented_reason(http: Http) -> None:
    task_id = create(http, SWAP, pictures(NO_FACE, result_type="url"))
    http.sandbox.advance()
    documented = EXAMPLES["legacy.face-swap.fetch.failed.200"]["value"]

    assert look(http, LOOK, task_id) == {**documented, "data": {**documented["data"], "task_id": task_id}}
    assert http.sandbox.balance("sandbox") == 10.0


def test_legacy_task_is_a_task_like_any_other(http: Http) -> None:
    task_id = create(http, SWAP, pictures())
    task = http.task(task_id)
    http("DELETE", f"/api/v1/task/{task_id}")

    assert (task["model"], task["task_type"], task["meta"]["usage"]["consume"]) == (MODEL, TASK_TYPE, PRICE)
    assert look(http, LOOK, task_id)["data"]["status"] == "failed"
    assert http.sandbox.balance("sandbox") == 10.0


def test_toolkit_answers_as_documented(http_with: HttpWith, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, (MODEL, "upscale"), lambda given: fake_swap({"target_image": given["image"]}))
    http = http_with(fetch=lambda _url: b"cat")
    request = EXAMPLES["legacy.toolkit-upscale.request"]["value"]
    documented = EXAMPLES["legacy.toolkit-upscale.200"]["value"]["data"]
    by_address = create(http, TOOLKIT, request)
    by_content = create(http, TOOLKIT, {"task_type": "upscale", "task_input": {"image": base64_of(b"cat"), "scale": 2}})
    http.sandbox.advance()
    one, other = (look(http, TOOLKIT_LOOK, task_id)["data"] for task_id in (by_address, by_content))

    for part in ("task_info", "task_result"):
        assert one[part].keys() == documented[part].keys()
    assert (one["status"], one["task_type"]) == ("success", "upscale")
    assert one["task_info"]["task_input"] == request["task_input"]
    assert http("GET", one["task_result"]["task_output"]["image_url"]).content == b"<cat>"
    assert other["task_info"]["task_input"] == {"scale": 2}
    assert other["task_result"]["task_output"] == {"image_base64": base64_of(b"<cat>"), "image_url": ""}


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"task_type": "face_swap", "task_input": {}}, "'target_image' is a required property of task_input"),
        ({"task_type": "upscale", "task_input": {"image": 5}}, "task_input.image must be of type string"),
        ({"task_type": "dance"}, "'task_input' is a required property; task_type does not meet enum"),
    ],
)
def test_wrong_toolkit_task_is_refused(http: Http, asked: dict[str, Any], words: str) -> None:
    answer = http("POST", TOOLKIT, json=asked)

    assert answer.status_code == 400
    assert words in answer.json()["message"]


def test_luma_answers_as_documented(http: Http) -> None:
    task_id = create(http, LUMA, {"prompt": "a cat", "expand_prompt": True})
    before = look(http, LUMA, task_id)["data"]
    http.sandbox.advance()
    done = look(http, LUMA, task_id)["data"]
    documented = EXAMPLES["legacy.luma.200"]["value"]["data"]

    for part in ("metadata", "generation"):
        assert before[part].keys() == documented[part].keys()
    assert json.loads(before["input"]) == {"user_prompt": "a cat", "expand_prompt": True}
    assert [before["status"], *(before["generation"][name] for name in ("state", "video"))] == ["pending"] * 2 + [None]
    assert (done["status"], done["generation"]["prompt"]) == ("completed", "a cat")
    assert b"SIMULATED" in http("GET", done["generation"]["video"]).content


def test_kling_has_its_video_where_clients_look(http: Http) -> None:
    task_id = create(http, KLING, EXAMPLES["legacy.kling.request"]["value"])
    before = look(http, KLING, task_id)["data"]
    http.sandbox.advance()
    done = look(http, KLING, task_id)["data"]

    assert (before["status"], before["output"]) == ("pending", {"video_url": "", "works": []})
    assert done["status"] == "completed"
    assert done["output"]["works"][0]["resource"]["resource"] == done["output"]["video_url"]
    assert b"SIMULATED" in http("GET", done["output"]["video_url"]).content


@pytest.mark.parametrize(
    ("given", "mode"), [({"professional_mode": True}, "pro"), ({"professional_mode": False}, "std")]
)
def test_kling_mode_is_that_of_professional_mode(given: dict[str, bool], mode: str) -> None:
    body = json.dumps({"prompt": "p", **given}).encode()

    assert legacy.read_create_request("legacy_create_kling_video", body).input["mode"] == mode


def test_midjourney_is_flat_from_staged_to_finished(http_with: HttpWith, clock: Clock) -> None:
    http = http_with(speed="real", concurrency=1)
    accepted = http("POST", IMAGINE, json={"prompt": "a cat"}).json()
    first, second = accepted["task_id"], create(http, IMAGINE, {"prompt": "a dog"})
    seen = [[look(http, MJ_LOOK, task_id)["status"] for task_id in (first, second)]]
    for seconds in (60, 6000, 60, 6000):
        clock.now += seconds
        http.sandbox.advance()
        seen.append([look(http, MJ_LOOK, task_id)["status"] for task_id in (first, second)])
    done = look(http, MJ_LOOK, first)

    assert accepted == {"task_id": first, "status": "success", "message": ""}
    assert seen == [
        ["pending", "staged"],
        ["processing", "staged"],
        ["finished", "pending"],
        ["finished", "processing"],
        ["finished", "finished"],
    ]
    assert done["task_result"]["error_messages"] == []
    assert b"SIMULATED" in http("GET", done["task_result"]["image_url"]).content


def test_look_is_of_one_protocol(http_with: HttpWith) -> None:
    http = http_with(any_key=True)
    unified, luma = http.create(), create(http, LUMA, {"prompt": "a cat"})
    answers = [
        http("POST", LOOK, json={"task_id": unified}),
        http("POST", LOOK, json={"task_id": luma}),
        http("GET", f"{KLING}/{luma}"),
        http("GET", f"{LUMA}/{luma}", headers={"x-api-key": "another"}),
    ]

    assert {(answer.status_code, answer.json()["message"]) for answer in answers} == {(404, "task not found")}


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        (IMAGINE, {"prompt": "a cat", "webhook_endpoint": "http://me.test/hook", "webhook_secret": "s"}),
        (KLING, {"prompt": "a cat", "webhook_config": {"endpoint": "http://me.test/hook", "secret": "s"}}),
    ],
)
def test_webhook_tells_what_a_look_tells(http_with: HttpWith, path: str, asked: dict[str, Any]) -> None:
    told: list[tuple[str, dict[str, Any], str | None]] = []

    def send(url: str, body: bytes, headers: Any) -> int:
        told.append((url, json.loads(body), headers.get("x-webhook-secret")))
        return 200

    http = http_with(send_webhook=send)
    task_id = create(http, path, asked)
    http.sandbox.advance()
    seen = look(http, MJ_LOOK if path == IMAGINE else path, task_id)
    seen.get("data", {}).get("config", {}).get("webhook_config", {}).update(secret="s")  # forgotten when it was told

    assert told == [("http://me.test/hook", seen, "s")]


@pytest.mark.parametrize("odd", [5, None])
@pytest.mark.parametrize("name", ["webhook_endpoint", "webhook_secret"])
def test_odd_webhook_of_an_open_input_is_refused(http: Http, name: str, odd: object) -> None:
    answer = http("POST", "/mj/v2/blend", json={name: odd})

    assert answer.status_code == 400
    assert f"webhook_config.{name.removeprefix('webhook_')} must be of type string" in answer.json()["message"]


@pytest.mark.parametrize("field", ["webhook_config", "result_type"])
def test_fields_of_other_protocols_mean_nothing(http: Http, field: str) -> None:
    task_id = create(http, "/mj/v2/seed", {field: "x"})
    http.sandbox.advance()

    assert look(http, MJ_LOOK, task_id)["status"] == "finished"


def test_pictures_of_a_legacy_task_do_not_stay(sandbox: Sandbox) -> None:
    picture = base64_of(b"the picture")
    for operation, body in (
        ("legacy_create_face_swap", pictures(b"the picture")),
        ("legacy_create_image_toolkit", {"task_type": "face_swap", "task_input": pictures(b"the picture")}),
        ("legacy_create_luma_video", {"prompt": "x", "image_url": picture}),
    ):
        sandbox.accept("sandbox", json.dumps(body).encode(), "", operation)
    sandbox.advance()
    kept = sandbox._store._rows("SELECT * FROM tasks") + sandbox._store._rows("SELECT * FROM inputs")

    assert len(kept) == 3
    assert picture not in str(kept)
