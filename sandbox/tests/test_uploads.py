"""Uploads: a file goes in as base64, can be fetched and used as an input for a day, and is gone then."""

from pathlib import Path
from typing import Any

import pytest
from unitask_sandbox.inputs import LARGEST

from .local import BASE_URL, Clock, Http, HttpWith, base64_of, encoded

UPLOAD = "/api/ephemeral_resource"
TEXT = base64_of(b"content")


def upload(http: Http, name: str = "a.png", data: str = TEXT) -> str:
    answer = http("POST", UPLOAD, json={"file_name": name, "file_data": data})
    assert answer.status_code == 200, answer.text
    url: str = answer.json()["data"]["url"]
    return url


@pytest.mark.parametrize(
    ("name", "data", "media_type"),
    [
        ("a.png", TEXT, "image/png"),
        ("../../etc/a.b.JPG", TEXT, "image/jpeg"),
        ("a.webp", f"DATA:IMAGE/WEBP;BASE64,{TEXT}", "image/webp"),
        ("a.mp4", f"data:video/mp4;codecs=avc1;base64,{TEXT}", "video/mp4"),
        ("a.wav", f"data:audio/x-wav;base64,{TEXT[:4]}\n{TEXT[4:]}", "audio/x-wav"),
        (f"{'n' * 124}.mp3", f"data:audio/mpeg;base64,{TEXT}", "audio/mpeg"),
    ],
)
def test_uploaded_file_is_served_without_a_key(http: Http, name: str, data: str, media_type: str) -> None:
    url = upload(http, name, data)
    file = http("GET", url, headers={})

    assert url.startswith(f"{BASE_URL}/files/ephemeral/")
    assert url.endswith(name[name.rindex(".") :].lower())
    assert (file.status_code, file.content, file.headers["content-type"]) == (200, b"content", media_type)


def test_upload_is_gone_after_a_day(http_with: HttpWith, clock: Clock, tmp_path: Path) -> None:
    http = http_with(data=tmp_path)
    url = upload(http)
    clock.now += 86400 - 1
    kept = http("GET", url)
    clock.now += 1
    expired = http("GET", url)
    http.sandbox.advance()

    assert (kept.status_code, expired.status_code) == (200, 404)
    assert not [path for path in (tmp_path / "files").rglob("*") if path.is_file()]


def test_idle_sandbox_wakes_up_to_remove_an_upload(http_with: HttpWith, clock: Clock) -> None:
    sandbox = http_with().sandbox
    sandbox.upload("sandbox", encoded({"file_name": "a.png", "file_data": TEXT}))
    clock.now += 400

    assert sandbox._step() == 86400 - 400


BAD: dict[str, tuple[Any, str]] = {
    "empty": ({}, "'file_name' is a required property"),
    "long-name": ({"file_name": "n" * 125 + ".png", "file_data": TEXT}, "file_name does not meet maxLength 128"),
    "no-extension": ({"file_name": "png", "file_data": TEXT}, "file_name must end in one of jpg, jpeg, png,"),
    "not-base64": ({"file_name": "a.png", "file_data": "?"}, "file_data is neither base64 nor"),
    "no-content": ({"file_name": "a.png", "file_data": "data:image/png;base64,"}, "file_data holds 0 bytes"),
    "not-a-base64-uri": (
        {"file_name": "a.png", "file_data": f"data:image/png,{TEXT}"},
        "neither base64 nor a data URI of base64",
    ),
    "other-type": ({"file_name": "a.png", "file_data": f"data:image/jpeg;base64,{TEXT}"}, "of type 'image/jpeg'"),
    "no-type": ({"file_name": "a.png", "file_data": f"data:;base64,{TEXT}"}, "does not fit the extension png"),
}


@pytest.mark.parametrize(("body", "words"), BAD.values(), ids=BAD)
def test_bad_upload_is_refused_as_documented(http: Http, body: Any, words: str) -> None:
    answer = http("POST", UPLOAD, json=body)

    assert answer.status_code == 400
    assert answer.json().keys() == {"code", "message"}
    assert answer.json()["message"].startswith("Invalid request parameters: ")
    assert words in answer.json()["message"]


def test_upload_is_at_most_10_mb(http: Http) -> None:
    url = upload(http, data=base64_of(bytes(LARGEST)))
    answer = http("POST", UPLOAD, json={"file_name": "a.png", "file_data": base64_of(bytes(LARGEST + 1))})

    assert len(http("GET", url).content) == LARGEST
    assert (answer.status_code, answer.json()["code"]) == (400, 400)
    assert f"holds {LARGEST + 1} bytes" in answer.json()["message"]


def test_uploaded_file_can_be_an_input(http_with: HttpWith) -> None:
    fetched: list[str] = []

    def fetch(url: str) -> bytes:
        fetched.append(url)
        return b"fetched"

    http = http_with(fetch=fetch)
    other = f"{BASE_URL}/files/ephemeral/nothing.png"
    task_id = http.create(input={"target_image": upload(http), "swap_image": other})
    http.sandbox.advance()

    assert http("GET", http.task(task_id)["output"]["image_url"]).content == b"<content>"
    assert fetched == [other]
