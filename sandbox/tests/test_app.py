"""The provider over HTTP: refusals, files and uploads, arrivals, and what is written to the disk.

The client of these tests checks each answer against the spec.
"""

import hashlib
from pathlib import Path

import pytest
from unitask_sandbox.inputs import LARGEST

from .local import BASE_URL, CREATE, NOW, Clock, Http, HttpWith, base64_of, encoded, face_swap, simulated

UPLOAD = "/api/ephemeral_resource"
NO_SUCH_TASK = f"{CREATE}/00000000-0000-4000-8000-000000000000"
TEXT = base64_of(b"content")


def flux(**given: object) -> bytes:
    return encoded(simulated(**{"prompt": "a", **given}))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"model": NaN}', "the body is not JSON"),
        (encoded(face_swap(config={"x": 0})).replace(b'"x": 0', b'"x": 1e999'), "the body is not JSON"),
        (encoded(face_swap(config={"service_mode": "\ud800"})), "the body is not JSON"),
        (b'"\xff"', "the body is not JSON"),
        (b"[" * 66 + b"]" * 66, "nested more than 64 levels deep"),
        (encoded(simulated("legacy", "face_swap_v1")), "no such task type: model 'legacy'"),
        (flux(seed=2**63), "input.seed: it is not an int64"),
        (flux(prompt=7, steps="x", width=[], height=None), 'input.height: it is not of type "integer"; '),
    ],
    ids=range(8),
)
def test_bad_create_request_is_refused_with_path_and_reason(http: Http, body: bytes, words: str) -> None:
    response = http("POST", CREATE, content=body)

    assert response.status_code == 400
    assert words in response.json()["message"]
    assert len(response.content) < 400
    assert http.usd == 10.0
    assert http("POST", CREATE, content=flux(seed=2**63 - 1, height=64.0)).status_code == 200


def test_arrivals_hold_every_request_to_the_api(http: Http) -> None:
    task_id = http.create()
    others = ("GET", "/"), ("GET", "/files/x"), ("GET", "/favicon.ico"), ("GET", "/v1/none")
    for method, path in (("GET", NO_SUCH_TASK), ("PUT", CREATE), ("GET", f"/api/{'x' * 10_000}"), *others):
        http(method, path)
    http("DELETE", f"{CREATE}/{task_id}", headers={})
    rows = http("GET", "/_sandbox/arrivals", headers={}).json()["arrivals"]
    key = hashlib.sha256(b"sandbox").hexdigest()[:8]

    assert [[*row.values()][:6] for row in rows] == [
        ["create_task", "POST", CREATE, key, NOW, 200],
        ["get_task", "GET", NO_SUCH_TASK, key, NOW, 404],
        [None, "PUT", CREATE, key, NOW, 405],
        [None, "GET", f"/api/{'x' * 195}", key, NOW, 404],
        [None, "GET", "/v1/none", key, NOW, 404],
        ["cancel_task", "DELETE", f"{CREATE}/{task_id}", None, NOW, 401],
    ]


def test_wrong_method_is_refused_in_the_envelope(http: Http) -> None:
    answer = http("PUT", NO_SUCH_TASK)

    assert (answer.status_code, answer.json()) == (405, {"code": 405, "message": "method not allowed", "data": None})
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "DELETE"}


# What is kept.


def test_key_is_in_no_answer_and_no_file(http_with: HttpWith, tmp_path: Path) -> None:
    key = "a-key-that-is-easy-to-find"
    http = http_with(keys={key: 0.01}, data=tmp_path)
    http.headers = {"x-api-key": key}
    answers = [http("POST", CREATE, json=face_swap()) for _ in range(2)]
    http.sandbox.advance()
    task_id = answers[0].json()["data"]["task_id"]
    answers += [http("GET", path) for path in (f"{CREATE}/{task_id}", "/_sandbox/arrivals", "/_sandbox/tasks")]
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]

    assert written
    assert not [text for text in (*written, *(answer.content for answer in answers)) if key.encode() in text]


def test_file_is_removed_after_its_days(http_with: HttpWith, clock: Clock, tmp_path: Path) -> None:
    http = http_with(data=tmp_path)
    file = {"file_name": f"../{'n' * 121}.WAV", "file_data": f"DATA:audio/X-wav;codecs=1;BASE64,{TEXT[:4]}\n{TEXT[4:]}"}
    upload = http("POST", UPLOAD, json=file).json()["data"]["url"]
    uploaded = http("GET", upload, headers={})
    task_id = http.create()
    http.sandbox.advance()
    for url, end in ((upload, NOW + 86400), (http.task(task_id)["output"]["image_url"], NOW + 3 * 86400)):
        clock.now = end - 1
        waits, kept = http.sandbox._step(), http("GET", url)
        clock.now = end
        expired = http("GET", url)
        assert (kept.status_code, expired.status_code, waits) == (200, 404, 1)
        assert "outputs are kept for 3 days, uploads for 24 hours" in expired.json()["message"]
    http.sandbox.advance()

    assert upload.startswith(f"{BASE_URL}/files/ephemeral/")
    assert (uploaded.content, uploaded.headers["content-type"]) == (b"content", "audio/x-wav")
    assert not [path for path in (tmp_path / "files").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("n" * 125 + ".png", TEXT, "file_name: it is longer than 128 characters"),
        ("png", TEXT, "file_name must end in one of jpg, jpeg, png,"),
        ("a.png", f"data:image/png,{TEXT}", "the data URI is not base64"),
        ("a.png", base64_of(bytes(LARGEST + 1)), f"holds {LARGEST + 1} bytes"),
    ],
    ids=range(4),
)
def test_bad_upload_is_refused_as_documented(http: Http, name: str, data: str, words: str) -> None:
    answer = http("POST", UPLOAD, json={"file_name": name, "file_data": data})

    assert (answer.status_code, answer.json().keys()) == (400, {"code", "message"})
    assert answer.json()["message"].startswith("Invalid request parameters: ")
    assert words in answer.json()["message"]
