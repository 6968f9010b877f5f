"""The OpenAI-shaped endpoints: simulated answers in the documented form, with the quirks that clients met."""

import base64
import io
import json
from typing import Any

import httpx
import pytest
from PIL import Image

from .local import BASE_URL, Http, HttpWith

CHAT, IMAGE, EDIT = "/v1/chat/completions", "/v1/images/generations", "/v1/images/edits"
BEARER = {"authorization": "Bearer sandbox"}
HELLO = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello there"}]}


@pytest.fixture
def http(http_with: HttpWith) -> Http:
    made = http_with()
    made.headers = BEARER
    return made


def chunks(answer: httpx.Response) -> list[dict[str, Any]]:
    """The events of a stream, less the last."""
    events = [line.removeprefix("data: ") for line in answer.text.splitlines() if line]
    assert events.pop() == "[DONE]"
    return [json.loads(event) for event in events]


def pixels(data: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(data)) as picture:
        return picture.size


def test_chat_gives_as_many_answers_as_asked(http: Http) -> None:
    counts = [len(http("POST", CHAT, json={**HELLO, "n": n}).json()["choices"]) for n in (-5, 3, 10**30)]

    assert counts == [1, 3, 10]


def test_stream_has_the_quirks_of_the_provider(http: Http) -> None:
    answer = http.unchecked("POST", CHAT, json={**HELLO, "stream": True})
    *said, last = chunks(answer)
    plain = http("POST", CHAT, json=HELLO).json()["choices"][0]["message"]["content"]

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "\n\n\ndata: " in answer.text
    assert {chunk["object"] for chunk in (*said, last)} == {"chat.completion.chunk"}
    assert said[0]["choices"][0]["delta"]["role"] == "assistant"
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in said) == plain
    assert said[-1]["choices"][0]["finish_reason"] == "stop"
    assert (last["choices"], last["usage"]) == ([], {})


def test_chat_model_that_makes_pictures_answers_in_markdown(http: Http) -> None:
    parts = [{"type": "text", "text": "a cat"}, {"type": "image_url", "image_url": {"url": "https://me.test/a.png"}}]
    asked = {"model": "gpt-4o-image", "messages": [{"role": "user", "content": parts}]}
    text = http("POST", CHAT, json=asked).json()["choices"][0]["message"]["content"]
    mark, _, url = text.removesuffix(")").partition("](")

    assert mark == "![SIMULATED by the unitask sandbox"
    assert b"SIMULATED" in http("GET", url, headers={}).content


@pytest.mark.parametrize("content", [None, 5, [], ["x", {"type": "image_url"}, {"text": 5}]])
def test_odd_question_is_answered_all_the_same(http: Http, content: object) -> None:
    answer = http("POST", CHAT, json={"model": "m", "messages": [{"content": content}]})

    assert answer.json()["choices"][0]["message"]["content"].endswith("You asked: ")


@pytest.mark.parametrize(
    ("more", "size", "magic"),
    [
        ({}, (1024, 1024), b"\x89PNG"),
        ({"size": "320x200", "output_format": "jpeg", "quality": "low"}, (320, 200), b"\xff\xd8"),
        ({"size": "auto", "output_format": "webp"}, (1024, 1024), b"\x89PNG"),
        ({"size": "1x99999"}, (16, 1024), b"\x89PNG"),
    ],
)
def test_image_is_of_the_size_that_was_asked_for(
    http: Http, more: dict[str, Any], size: tuple[int, int], magic: bytes
) -> None:
    answer = http("POST", IMAGE, json={"model": "gpt-image-1", "prompt": "an otter", **more}).json()
    (picture,) = [base64.b64decode(image["b64_json"]) for image in answer["data"]]

    assert pixels(picture) == size
    assert picture.startswith(magic)
    assert b"SIMULATED" in picture


def test_images_can_be_addresses(http: Http) -> None:
    asked = {"model": "gpt-image-1", "prompt": "an otter", "n": 2.0, "response_format": "url"}
    urls = [image["url"] for image in http("POST", IMAGE, json=asked).json()["data"]]

    assert len(set(urls)) == 2
    assert all(url.startswith(f"{BASE_URL}/files/ephemeral/") for url in urls)
    assert [http("GET", url, headers={}).status_code for url in urls] == [200, 200]


@pytest.mark.parametrize("field", ["image", "image[]"])
def test_edit_takes_a_form(http: Http, field: str) -> None:
    data = {"model": "gpt-image-1", "prompt": "a höt", "n": "2", "size": "64x32"}
    answer = http("POST", EDIT, data=data, files={field: ("a.png", b"\r\n--\x00\xff", "image/png")})

    assert answer.status_code == 200, answer.text
    assert [pixels(base64.b64decode(image["b64_json"])) for image in answer.json()["data"]] == [(64, 32)] * 2


@pytest.mark.parametrize(
    ("path", "request_", "words"),
    [
        (CHAT, {"json": {"model": "m"}}, "'messages' is a required property"),
        (EDIT, {"json": {"model": "m", "prompt": "p"}}, "the body is no form"),
        (EDIT, {"data": {"model": "m", "prompt": "p"}, "files": {"mask": b"x"}}, "'image' is a required property"),
        (
            EDIT,
            {"data": {"model": "m", "prompt": "p", "n": "two"}, "files": {"image": b"x"}},
            "n must be of type integer",
        ),
        (EDIT, {"content": b"--b\r\n", "headers": {"content-type": "multipart/form-data"}}, "boundary"),
        (
            EDIT,
            {"content": b"--b\r\n", "headers": {"content-type": "multipart/form-data; boundary=b"}},
            "is a required property",
        ),
    ],
)
def test_bad_request_is_refused_in_the_form_of_openai(
    http: Http, path: str, request_: dict[str, Any], words: str
) -> None:
    headers = {**BEARER, **request_.pop("headers", {})}
    answer = http("POST", path, headers=headers, **request_)

    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "headers"),
    [(CHAT, {"x-api-key": "sandbox"}), (CHAT, {"authorization": "sandbox"}), (EDIT, {"authorization": "Bearer x"})],
)
def test_key_comes_as_a_bearer_token(http: Http, path: str, headers: dict[str, str]) -> None:
    answer = http("POST", path, headers=headers, json=HELLO)

    assert answer.status_code == 401
    assert answer.json()["error"]["message"] == "failed to verify api key"


def test_arrivals_show_the_bearer_key_like_any_other(http: Http) -> None:
    http("POST", CHAT, json=HELLO)
    http("GET", "/account/info", headers={"x-api-key": "sandbox"})
    chat, info = http.sandbox.arrivals

    assert (chat.operation, chat.key == info.key is not None) == ("create_chat_completion", True)
