"""The OpenAI-shaped endpoints: simulated answers in the documented form, with the quirks that clients met."""

import base64
import io
import json
from typing import Any

import pytest
from PIL import Image

from .local import Http, HttpWith

CHAT, IMAGE, EDIT = "/v1/chat/completions", "/v1/images/generations", "/v1/images/edits"
BEARER = {"authorization": "Bearer sandbox"}
HELLO = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello there"}]}


@pytest.fixture
def http(http_with: HttpWith) -> Http:
    made = http_with()
    made.headers = BEARER
    return made


def size_of(image: dict[str, str]) -> tuple[int, int]:
    return Image.open(io.BytesIO(base64.b64decode(image["b64_json"]))).size


def test_stream_has_the_quirks_of_the_provider(http: Http) -> None:
    answer = http.unchecked("POST", CHAT, json={**HELLO, "stream": True})
    events = [line.removeprefix("data: ") for line in answer.text.splitlines() if line]
    *said, last = (json.loads(event) for event in events[:-1])

    assert "\n\n\ndata: " in answer.text
    assert said[-1]["choices"][0]["finish_reason"] == "stop"
    assert (last["choices"], last["usage"]) == ([], {})


def test_chat_model_that_makes_pictures_answers_in_markdown(http: Http) -> None:
    parts = [{"type": "text", "text": "a cat"}, {"type": "image_url", "image_url": {"url": "https://me.test/a.png"}}]
    body = {"model": "gpt-4o-image", "messages": [{"role": "user", "content": parts}]}
    text = http("POST", CHAT, json=body).json()["choices"][0]["message"]["content"]
    mark, _, url = text.removesuffix(")").partition("](")

    assert mark == "![SIMULATED by the unitask sandbox"
    assert b"SIMULATED" in http("GET", url, headers={}).content


def test_odd_questions_and_numbers_are_answered(http: Http) -> None:
    for content in (None, 5, [], ["x", {"type": "image_url"}, {"text": 5}]):
        answer = http("POST", CHAT, json={"model": "m", "messages": [{"content": content}]})
        assert answer.json()["choices"][0]["message"]["content"].endswith("You asked: ")
    assert [len(http("POST", CHAT, json={**HELLO, "n": n}).json()["choices"]) for n in (-5, 3, 10**30)] == [1, 3, 10]


def test_image_has_the_requested_size(http: Http) -> None:
    for more, size, magic in (
        ({"size": "320x200", "output_format": "jpeg"}, (320, 200), b"\xff\xd8"),
        ({"size": "1x99999", "output_format": "webp"}, (16, 4096), b"\x89PNG"),
    ):
        (image,) = http("POST", IMAGE, json={"model": "m", "prompt": "an otter", **more}).json()["data"]
        data = base64.b64decode(image["b64_json"])
        assert (size_of(image), data[: len(magic)]) == (size, magic)
        assert b"SIMULATED" in data


def test_edit_takes_a_form(http: Http) -> None:
    data = {"model": "gpt-image-1", "prompt": "a höt", "n": "2", "size": "64x32"}
    for field in ("image", "image[]"):
        answer = http("POST", EDIT, data=data, files={field: ("a.png", b"\r\n--\x00\xff", "image/png")}).json()
        assert [size_of(image) for image in answer["data"]] == [(64, 32)] * 2
    urls = http("POST", IMAGE, json={**data, "n": 2.0, "response_format": "url"}).json()["data"]
    assert [http("GET", image["url"], headers={}).status_code for image in urls] == [200, 200]


FIELDS = {"model": "m", "prompt": "p"}


@pytest.mark.parametrize(
    ("path", "sent", "words"),
    [
        (CHAT, {"json": {"model": "m"}}, '"messages" is a required property'),
        (EDIT, {"json": FIELDS}, "the body is not a form"),
        (EDIT, {"data": {**FIELDS, "n": "two"}, "files": {"mask": b"x"}}, '"image" is a required property'),
        (EDIT, {"content": b"--b\r\n", "headers": {"content-type": "multipart/form-data"}}, "boundary"),
    ],
)
def test_bad_request_is_refused_in_the_form_of_openai(http: Http, path: str, sent: dict[str, Any], words: str) -> None:
    answer = http("POST", path, **{**sent, "headers": {**BEARER, **sent.get("headers", {})}})

    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]


def test_key_comes_as_a_bearer_token(http: Http) -> None:
    for path, headers in ((CHAT, {"x-api-key": "sandbox"}), (CHAT, {"authorization": "sandbox"}), (EDIT, {})):
        answer = http("POST", path, headers=headers, json=HELLO)
        assert (answer.status_code, answer.json()["error"]["message"]) == (401, "failed to verify api key")
    http("POST", CHAT, json=HELLO)
    http("GET", "/account/info", headers={"x-api-key": "sandbox"})
    chat, info = [*http.sandbox.arrivals][-2:]

    assert (chat.operation, chat.key == info.key is not None) == ("create_chat_completion", True)
