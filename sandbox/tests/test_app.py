"""The sandbox over HTTP: every answer as the spec has it, every refusal in the envelope, every request noted.

The client of these tests holds each answer against the bundle.
"""

import hashlib
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from jsonschema.exceptions import ValidationError
from unitask_api import contract
from unitask_sandbox import Fault

from .local import BASE_URL, NOW, Clock, Http, HttpWith, base64_of, encoded, face_swap

CREATE = "/api/v1/task"
TASKS = "/api/v1/tasks"
NO_SUCH_TASK = "/api/v1/task/00000000-0000-4000-8000-000000000000"


def test_file_is_gone_after_three_days(http_with: HttpWith, clock: Clock, tmp_path: Path) -> None:
    http = http_with(data=tmp_path)
    task_id = http.create()
    http.sandbox.advance()
    url = http.task(task_id)["output"]["image_url"]
    clock.now += 3 * 86400 - 1
    kept = http("GET", url)
    clock.now += 1
    expired = http("GET", url)
    http.sandbox.advance()

    assert (kept.status_code, expired.status_code) == (200, 404)
    assert expired.json() == {
        "code": 404,
        "message": "file not found; outputs are kept for 3 days, uploads for 24 hours",
        "data": None,
    }
    assert not list((tmp_path / "files").iterdir())


def deep(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"deeper": value}
    return value


BAD_BODIES = {
    "not-a-number": (b'{"model": NaN}', "the body is not JSON"),
    "infinite": (encoded(face_swap(config={"x": 0})).replace(b'"x": 0', b'"x": 1e999'), "the body is not JSON"),
    "lone-surrogate": (encoded(face_swap(config={"service_mode": "\ud800"})), "the body is not JSON"),
    "not-utf-8": (b'"\xff"', "the body is not JSON"),
    "endless-brackets": (b"[" * 99_999, "the body is not JSON"),
    "many-parts": (b"[" + b"0," * 100_000 + b"0]", "the body has more than 100000 parts"),
    "deep": (encoded(face_swap(config=deep(64))), "nested more than 64 levels deep"),
    "a-list": (b"[]", "the body must be of type object"),
    "nothing-given": (b"{}", "'model' is a required property; 'task_type' is a required property; 'input' is a"),
    "config-of-wrong-type": (encoded(face_swap(config=None)), "config must be of type object"),
    "unknown-model": (
        encoded(face_swap(model="Qubico/nope")),
        "no such task: model 'Qubico/nope', task_type 'face-swap'",
    ),
    "unknown-task-type": (encoded(face_swap(task_type="face_swap")), "no such task: model 'Qubico/image-toolkit'"),
    "missing-picture": (
        encoded(face_swap(input={"target_image": "x"})),
        "'swap_image' is a required property of input",
    ),
    "picture-of-wrong-type": (
        encoded(face_swap(input={"target_image": ["A" * 9999], "swap_image": "x"})),
        "input.target_image must be of type string",
    ),
}


@pytest.mark.parametrize(("body", "words"), BAD_BODIES.values(), ids=BAD_BODIES)
def test_bad_create_is_refused_with_path_and_reason(http: Http, body: bytes, words: str) -> None:
    response = http("POST", CREATE, content=body)

    assert response.status_code == 400
    assert words in response.json()["message"]
    assert len(response.content) < 400
    assert http.sandbox.balance("sandbox") == 10.0


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", NO_SUCH_TASK, 404, "task not found"),
        ("DELETE", NO_SUCH_TASK, 404, "task not found"),
        ("DELETE", TASKS, 400, "'created_before' is a required property"),
        ("DELETE", f"{TASKS}?created_before=soon", 400, "created_before must be of type integer"),
        ("DELETE", f"{TASKS}?created_before=1.5", 400, "created_before must be of type integer"),
        ("DELETE", f"{TASKS}?created_before=9223372036854775808", 400, "created_before must be of type integer"),
        ("DELETE", f"{TASKS}?created_before=1&model=", 400, "model does not meet minLength 1"),
        ("GET", "/api/v1/nothing", 404, "not found"),
        ("GET", "/files/../sandbox.sqlite3", 404, "not found"),
        ("GET", "/files/nothing.png", 404, "file not found"),
    ],
)
def test_bad_request_is_refused_in_the_envelope(http: Http, method: str, path: str, status: int, words: str) -> None:
    response = http(method, path)
    body = response.json()

    assert (response.status_code, body["code"], body["data"]) == (status, status, None)
    assert words in body["message"]


@pytest.mark.parametrize(
    ("path", "allowed"), [(CREATE, {"POST"}), (NO_SUCH_TASK, {"GET", "HEAD", "DELETE"}), (TASKS, {"DELETE"})]
)
def test_wrong_method_is_told_the_right_ones(http: Http, path: str, allowed: set[str]) -> None:
    response = http("PUT", path)

    assert (response.status_code, response.json()["message"]) == (405, "method not allowed")
    assert set(response.headers["allow"].split(", ")) == allowed


def test_look_waits_neither_for_a_thread_nor_for_a_write(http: Http) -> None:
    task_id = http.create()

    async def look() -> int:
        threads = anyio.to_thread.current_default_thread_limiter()
        for number in range(int(threads.available_tokens)):
            threads.acquire_on_behalf_of_nowait(number)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(http.app), base_url=BASE_URL) as client:
            answer = await client.get(f"/api/v1/task/{task_id}", headers=http.headers, timeout=30)
        return answer.status_code

    async def in_time() -> int:
        with anyio.fail_after(30):
            return await look()

    with http.sandbox._store._transaction():
        assert anyio.run(in_time) == 200


def test_arrivals_hold_every_request_to_the_api(http_with: HttpWith) -> None:
    http = http_with(any_key=True)
    task_id = http.create()
    for method, path in (
        ("GET", NO_SUCH_TASK),
        ("PUT", CREATE),
        ("GET", "/api/v1/x"),
        ("GET", "/"),
        ("GET", "/files/x"),
        ("GET", "/favicon.ico"),
        ("GET", "/v1/models"),
    ):
        http(method, path)
    http("DELETE", f"/api/v1/task/{task_id}", headers={})
    rows = http("GET", "/_sandbox/arrivals", headers={}).json()["arrivals"]
    key = rows[0]["key"]

    assert [list(row.values()) for row in rows] == [
        ["create_task", "POST", CREATE, key, NOW, 200],
        ["get_task", "GET", NO_SUCH_TASK, key, NOW, 404],
        [None, "PUT", CREATE, key, NOW, 405],
        [None, "GET", "/api/v1/x", key, NOW, 404],
        [None, "GET", "/v1/models", key, NOW, 404],
        ["cancel_task", "DELETE", f"/api/v1/task/{task_id}", None, NOW, 401],
    ]
    assert key == hashlib.sha256(b"sandbox").hexdigest()[:8]


def test_key_is_in_no_answer_and_no_file(http_with: HttpWith, tmp_path: Path) -> None:
    key = "a-key-that-is-easy-to-find"
    http = http_with(keys={key: 0.01}, data=tmp_path)
    http.headers = {"x-api-key": key}
    answers = [http("POST", CREATE, json=face_swap()) for _ in range(2)]
    http.sandbox.advance()
    task_id = answers[0].json()["data"]["task_id"]
    for method, path in (
        ("GET", f"/api/v1/task/{task_id}"),
        ("DELETE", TASKS),
        ("GET", "/_sandbox/arrivals"),
        ("GET", "/"),
    ):
        answers.append(http(method, path))
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]

    assert written
    assert not [text for text in (*written, *(answer.content for answer in answers)) if key.encode() in text]


def test_input_is_forgotten_when_the_task_has_ended(http_with: HttpWith, tmp_path: Path) -> None:
    http = http_with(data=tmp_path)
    http.create(target=b"the picture")
    picture = base64_of(b"the picture").encode()
    held = [path for path in tmp_path.iterdir() if path.is_file() and picture in path.read_bytes()]
    http.sandbox.advance()
    rows = http.sandbox._store._rows("SELECT COUNT(*) FROM inputs")

    assert held
    assert rows == [(0,)]


def test_spec_is_served(http: Http) -> None:
    assert http("GET", "/openapi.json", headers={}).json() == contract.document()


def test_http_fixture_rejects_an_answer_that_the_spec_forbids(http: Http) -> None:
    http.sandbox.fault(Fault("create_task", "edit", changes={"data.status": 1}))

    with pytest.raises(ValidationError):
        http("POST", CREATE, json=face_swap())
